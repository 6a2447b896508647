//! Names, visibility and places.

#![deny(warnings)]

use tcs::{client_protocol, protocol::{Push, PushGroup}, server_protocol};

#[server_protocol(Loud)]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[server_protocol]
fn r#type(r#in: &str, #[state] r#struct: &u8, #[session] r#mod: &mut u8) -> usize {
    *r#mod += r#struct;
    r#in.len()
}

#[client_protocol(request = |r#fn: u8| r#fn)]
fn r#match(r#in: &str, r#use: u8) -> usize {
    r#in.len() + usize::from(r#use)
}

#[server_protocol]
const fn constant(text: &str) -> usize {
    text.len()
}

mod inner {
    use tcs::server_protocol;

    #[server_protocol]
    pub(super) fn shared_inside(text: &str, #[state] more: &u8) -> usize {
        text.len() + usize::from(*more)
    }

    #[server_protocol]
    pub(crate) async fn shared(text: &str) -> &str {
        text
    }
}

// Parameters and functions with the names that an expansion uses.
#[server_protocol]
fn request(context: &str, #[state] request: &u8, #[session] info: &mut u8, out: &tcs::Peer) -> String {
    format!("{context} {request} {info} {out}")
}

#[server_protocol(session = *reply, greeting = *this + *peer)]
fn session(_: (), #[state] peer: &u8, #[state] reply: &u8, #[session] this: &mut u8) -> u8 {
    peer + reply + *this
}

#[client_protocol(request = |out: u8, context: u8| out + context)]
fn reply(reply: u8, request: u8, peer: u8) -> u8 {
    reply + request + peer
}

// The variant of an operation with the name of a constant that an expansion uses.
#[server_protocol(format = tcs::format::Json)]
mod operations {
    pub fn n_a_m_e() -> u8 {
        1
    }
}

// A group of another protocol, which is named like the module.
#[server_protocol(push = &str)]
async fn chat(line: &str, push: Push<Chat>, #[state] all: &PushGroup<Chat>) -> usize {
    all.join(&push);
    line.len()
}

#[server_protocol(format = tcs::format::Json, push = &str)]
mod chat {
    use super::*;

    pub fn say(text: &str, #[state] all: &PushGroup<super::Chat>, push: Push<Protocol>) -> bool {
        all.send(text).is_ok() && push.try_send(text).is_ok()
    }
}

fn main() {
    let _ = (operations::Protocol, Chat::new(PushGroup::new()), chat::Protocol::new(PushGroup::new()));

    #[server_protocol]
    fn local(text: &str) -> &str {
        text
    }

    #[client_protocol(server = Local, request = "text")]
    fn print_local(reply: &str) -> usize {
        reply.len()
    }

    let kind = Type::new(1);
    assert_eq!((format!("{kind:?}"), kind.r#struct), ("Type".to_owned(), 1));
    const _: usize = constant("text");
    let _ = (Constant, Loud, Match { r#fn: 1, r#use: 2 }, inner::SharedInside::new(1), inner::Shared);
    let _ = (Request::new(1), Session::new(1, 2), Reply::new(1, 2, 3, 4), Local, PrintLocal);
    assert_eq!((shout("a"), local("b"), print_local("c")), ("A".to_owned(), "b", 1));
    assert_eq!((r#type("in", &1, &mut 2), r#match("in", 1), inner::shared_inside("a", &1)), (2, 3, 2));
    let _ = (inner::shared("a"), request("", &1, &mut 2, &tcs::Peer::unnamed()), reply(1, 2, 3));
    let _ = session((), &1, &2, &mut 3);
}
