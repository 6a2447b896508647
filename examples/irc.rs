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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tcs::{
    ConcurrentServer, Rejection, Response,
    framing::CrlfText,
    protocol::{Push, PushGroup},
    server_protocol,
};

#[derive(Default)]
struct Channels(Mutex<HashMap<String, Arc<PushGroup<Irc>>>>);

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<PushGroup<Irc>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only who joins a channel makes it.
    fn open(&self, name: &str) -> Arc<PushGroup<Irc>> {
        Arc::clone(self.lock().entry(name.to_owned()).or_default())
    }

    fn get(&self, name: &str) -> Option<Arc<PushGroup<Irc>>> {
        self.lock().get(name).cloned()
    }
}

#[derive(Default)]
struct Member {
    nick: String,
    user: String,
}

#[server_protocol(framing = CrlfText, push = &str, reject_with = in_words)]
fn irc(
    line: &str,
    #[session] me: &mut Member,
    #[state] channels: &Channels,
    push: Push<Irc>,
) -> Response<String> {
    // A client that takes it for a line end would read what follows as a message of its own.
    if line.contains('\r') {
        return Response::ReplyAndClose("ERROR :a carriage return in a line".to_owned());
    }
    // What follows ` :` may contain spaces.
    let (words, text) = line.split_once(" :").unwrap_or((line, ""));
    let words: Vec<&str> = words
        .split_ascii_whitespace()
        .chain([text])
        .filter(|it| !it.is_empty())
        .collect();
    let was_known = !me.nick.is_empty() && !me.user.is_empty();
    let [nick, source] = [me.nick.clone(), format!(":{}!{}@tcs", me.nick, me.user)];
    match *words.as_slice() {
        ["NICK", nick] => nick.clone_into(&mut me.nick),
        ["USER", user, ..] => user.clone_into(&mut me.user),
        ["PING", token, ..] => return Response::Reply(format!(":tcs PONG tcs :{token}")),
        ["QUIT", ..] => return Response::ReplyAndClose("ERROR :goodbye".to_owned()),
        ["CAP" | "PONG", ..] | [] => {}
        _ if !was_known => {
            return Response::Reply(":tcs 451 * :say NICK and USER first".to_owned());
        }
        ["JOIN", name, ..] if name.starts_with('#') => {
            let (channel, joined) = (channels.open(name), format!("{source} JOIN {name}"));
            // A member that takes too little is not told. The reply tells this one.
            drop(channel.send(&joined));
            channel.join(&push);
            return Response::Reply(format!("{joined}\n:tcs 366 {nick} {name} :end of names"));
        }
        ["PART", name, ..] => {
            let parted = format!("{source} PART {name}");
            if let Some(channel) = channels.get(name) {
                channel.leave(&push);
                drop(channel.send(&parted));
            }
            return Response::Reply(parted);
        }
        ["PRIVMSG", name, text] => {
            let message = format!("{source} PRIVMSG {name} :{text}");
            if let Some(channel) = channels.get(name) {
                drop(channel.send_to_others(&push, &message));
            }
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

fn in_words(rejection: &Rejection) -> String {
    format!("ERROR :{}", rejection.text())
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Irc::new(Channels::default())).run()
}
