//! What the tests of the client ask, and what they hear.

use std::marker::PhantomData;

use tcs::{
    Error, Peer,
    format::{Encode, Plain},
    framing::{Framing, LengthPrefixed},
    protocol::{ClientProtocol, Contract},
};

use crate::{Heard, RawPeer, within};

/// Asks something and returns the reply.
#[derive(Debug)]
pub struct Ask<F> {
    request: String,
    marker: PhantomData<F>,
}

/// Asks `request`.
pub fn ask<F>(request: &str) -> Ask<F> {
    Ask {
        request: request.to_owned(),
        marker: PhantomData,
    }
}

impl<F: Framing> ClientProtocol for Ask<F> {
    type Framing = F;
    type Format = Plain;
    type Reply<'a> = &'a str;
    type Output = String;

    fn prepare_request(&self) -> impl Encode<Plain> {
        &self.request
    }

    async fn process_reply(self, _peer: &Peer, reply: &str) -> String {
        reply.to_owned()
    }
}

/// Texts both ways.
#[derive(Debug)]
pub struct Text<F>(PhantomData<F>);

impl<F: Framing> Contract for Text<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
}

/// Texts with their lengths before them.
pub type Prefixed = Text<LengthPrefixed>;

/// Returns the messages of an error and its causes, each on its own level.
pub fn chain(error: &Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        messages.push(cause.to_string());
        source = cause.source();
    }
    messages
}

/// Fails unless this is the next request.
pub async fn hears(peer: &mut RawPeer, text: &str) {
    assert_eq!(within(peer.hear()).await, Heard::message(text));
}
