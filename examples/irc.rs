//! A chat server for the clients of IRC (RFC 2812).
//!
//! ```text
//! cargo run --example irc
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: messages from one person to another, names that are
//! taken, lists of members, the end of a channel without members, topics, modes, operators, `QUIT` as others see it, sources
//! in what clients send, and other servers. `USER` comes after `NICK`.
//!
//! Try: in two terminals, run `nc localhost 1234` and type `NICK ann`, `USER ann`, `JOIN #tea` and `PRIVMSG #tea :hello`, with
//! another name in each.

use tcs::Response::{NoReply, Reply, ReplyAndClose};
use tcs::protocol::{Lossy, Push, PushGroups};
use tcs::{ConcurrentServer, Rejection, Response, framing::CrlfText, server_protocol};

#[server_protocol(framing = CrlfText, push = &str, reject_with = in_words)]
fn irc(
    line: Lossy<'_>,
    #[session] (nick, user): &mut (String, String),
    #[state] channels: &PushGroups<String, Irc>,
    push: Push<Irc>,
) -> Response<String> {
    // A client that takes a carriage return for a line end would read what follows as a message of its own.
    let line = line.replace('\r', " ");
    // What follows ` :` may contain spaces.
    let (words, text) = line.split_once(" :").unwrap_or((&line, ""));
    let mut words: Vec<&str> = words.split_ascii_whitespace().collect();
    words.extend(Some(text).filter(|text| !text.is_empty()));
    let source = format!(":{nick}!{user}@tcs");
    Reply(match *words.as_slice() {
        // In `:nick!user@host`, which precedes messages to others, these have a meaning.
        ["NICK" | "USER", name, ..] if name.contains([' ', ':', '!', '@', '#']) => {
            ":tcs 432 * :this is no name".to_owned()
        }
        ["NICK", name] => {
            name.clone_into(nick);
            return NoReply;
        }
        ["USER", name, ..] if !nick.is_empty() => {
            name.clone_into(user);
            format!(":tcs 001 {nick} :welcome\n:tcs 422 {nick} :no message of the day")
        }
        ["PING", token, ..] => format!(":tcs PONG tcs :{token}"),
        ["QUIT", ..] => return ReplyAndClose("ERROR :goodbye".to_owned()),
        ["CAP" | "PONG", ..] | [] => return NoReply,
        _ if user.is_empty() => ":tcs 451 * :say NICK and USER first".to_owned(),
        ["JOIN", name] if name.starts_with('#') && !name.contains(' ') => {
            channels.join(name.to_owned(), &push);
            let joined = format!("{source} JOIN {name}");
            // A member that takes too little is not told. The reply tells this one.
            drop(channels.send_to_others(name, &push, &joined));
            format!("{joined}\n:tcs 366 {nick} {name} :end of names")
        }
        ["PART", name, ..] => {
            let parted = format!("{source} PART {name}");
            channels.leave(name, &push);
            drop(channels.send(name, &parted));
            parted
        }
        ["PRIVMSG", name, text] => {
            let message = format!("{source} PRIVMSG {name} :{text}");
            drop(channels.send_to_others(name, &push, &message));
            return NoReply;
        }
        [command, ..] => format!(":tcs 421 {nick} {command} :unknown command"),
    })
}

fn in_words(rejection: &Rejection) -> Response<String> {
    ReplyAndClose(format!("ERROR :{}", rejection.text()))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Irc::new(PushGroups::new())).run()
}
