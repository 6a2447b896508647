//! A chat server for the clients of IRC (RFC 2812).
//!
//! ```text
//! cargo run --example irc
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: messages from one person to another, names that are
//! taken, lists of members, the end of a channel without members, topics, modes, operators, `QUIT` as others see it, and other servers.
//!
//! Try: in two terminals, run `nc localhost 1234` and type `NICK ann`, `USER ann`, `JOIN #tea` and `PRIVMSG #tea :hello`, with
//! another name in each.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tcs::protocol::{Lossy, Push, PushGroup};
use tcs::{ConcurrentServer, Rejection, Response, framing::CrlfText, server_protocol};

type Channels = Mutex<HashMap<String, PushGroup<Irc>>>;

#[derive(Default)]
struct Member {
    nick: String,
    user: String,
}

#[server_protocol(framing = CrlfText, push = &str, reject_with = in_words)]
fn irc(
    line: Lossy<'_>,
    #[session] me: &mut Member,
    #[state] channels: &Channels,
    push: Push<Irc>,
) -> Response<String> {
    // A client that takes it for a line end would read what follows as a message of its own.
    if line.contains('\r') {
        return closed("a carriage return in a line");
    }
    // Who a client says that it is has no meaning.
    let source = line.starts_with(':').then(|| line.split_once(' '));
    let line = source.map_or(&*line, |source| source.map_or("", |(_, rest)| rest));
    // What follows ` :` may contain spaces.
    let (words, text) = line.split_once(" :").unwrap_or((line, ""));
    let mut words: Vec<&str> = words.split_ascii_whitespace().collect();
    words.extend(Some(text).filter(|text| !text.is_empty()));
    let was_known = !me.nick.is_empty() && !me.user.is_empty();
    let [nick, source] = [me.nick.clone(), format!(":{}!{}@tcs", me.nick, me.user)];
    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
    // Only who joins a channel makes it.
    let nobody = PushGroup::new();
    let channel = words.get(1).and_then(|name| channels.get(*name));
    let channel = channel.unwrap_or(&nobody);
    match *words.as_slice() {
        ["NICK", nick] if is_name(nick) => nick.clone_into(&mut me.nick),
        ["NICK", ..] => return Response::Reply(":tcs 432 * :this is no nickname".to_owned()),
        ["USER", user, ..] if is_name(user) => user.clone_into(&mut me.user),
        ["USER", ..] => return Response::Reply(":tcs 468 * :this is no name of a user".to_owned()),
        ["PING", token, ..] => return Response::Reply(format!(":tcs PONG tcs :{token}")),
        ["QUIT", ..] => return closed("goodbye"),
        ["CAP" | "PONG", ..] | [] => {}
        _ if !was_known => {
            return Response::Reply(":tcs 451 * :say NICK and USER first".to_owned());
        }
        ["JOIN", name, ..] if name.starts_with('#') && !name.contains(' ') => {
            let joined = format!("{source} JOIN {name}");
            let channel = channels.entry(name.to_owned()).or_default();
            // A member that takes too little is not told. The reply tells this one.
            drop(channel.send_to_others(&push, &joined));
            channel.join(&push);
            return Response::Reply(format!("{joined}\n:tcs 366 {nick} {name} :end of names"));
        }
        ["PART", name, ..] => {
            let parted = format!("{source} PART {name}");
            channel.leave(&push);
            drop(channel.send(&parted));
            return Response::Reply(parted);
        }
        ["PRIVMSG", name, text] => {
            let message = format!("{source} PRIVMSG {name} :{text}");
            drop(channel.send_to_others(&push, &message));
        }
        [command, ..] => {
            return Response::Reply(format!(":tcs 421 {nick} {command} :unknown command"));
        }
    }
    if was_known || me.nick.is_empty() || me.user.is_empty() {
        return Response::NoReply;
    }
    let nick = &me.nick;
    Response::Reply(format!(
        ":tcs 001 {nick} :welcome\n:tcs 422 {nick} :no message of the day"
    ))
}

/// Returns `true` for a word that can be a part of `:nick!user@host`, which precedes messages to others.
fn is_name(word: &str) -> bool {
    !word.starts_with([':', '#']) && !word.contains([' ', '!', '@'])
}

fn in_words(rejection: &Rejection) -> Response<String> {
    closed(rejection.text())
}

fn closed(reason: &str) -> Response<String> {
    Response::ReplyAndClose(format!("ERROR :{reason}"))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Irc::new(Channels::default())).run()
}
