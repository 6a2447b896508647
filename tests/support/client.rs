//! What the tests of the client ask, and what they hear.

use std::{marker::PhantomData, net::SocketAddr};

use tcs::{
    Connection, Error, ErrorKind, Execution, Peer,
    client::ConnectOptions,
    format::{Encode, Plain},
    framing::{Framing, LengthPrefixed},
    protocol::{ClientProtocol, Contract, Pushes, Receives, Streams},
};

use crate::{
    Heard, RawPeer, control, frame,
    script::{Script, Step, serve},
    within,
};

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

/// Connects to a raw server that goes through these steps.
#[track_caller]
pub fn connected<F: Framing>(
    steps: impl IntoIterator<Item = Step>,
) -> impl Future<Output = (Connection<F>, Script)> {
    let serving = serve(steps);
    async {
        let (addr, server) = serving.await;
        (connect(addr).await, server)
    }
}

/// Like [`connected`], with options.
#[track_caller]
pub fn connected_with<F: Framing>(
    options: &ConnectOptions,
    steps: impl IntoIterator<Item = Step>,
) -> impl Future<Output = (Connection<F>, Script)> {
    let serving = serve(steps);
    async {
        let (addr, server) = serving.await;
        (connect_with(options, addr).await, server)
    }
}

/// Connects to a server that listens.
pub async fn connect<F: Framing>(addr: SocketAddr) -> Connection<F> {
    connect_with(&ConnectOptions::new(), addr).await
}

async fn connect_with<F: Framing>(options: &ConnectOptions, addr: SocketAddr) -> Connection<F> {
    within(options.connect(addr)).await.expect("it listens")
}

/// What an error says of a request.
pub fn told(error: &Error) -> (ErrorKind, Execution) {
    (error.kind(), error.execution())
}

/// Fails unless this is the next request.
pub async fn hears(peer: &mut RawPeer, text: &str) {
    assert_eq!(within(peer.hear()).await, Heard::message(text));
}

/// Messages after a notice that says what they are: items of a streamed reply.
pub fn items(messages: &[&str]) -> Vec<u8> {
    announced(0x81, messages)
}

/// Messages after a notice that says what they are: events.
pub fn events(messages: &[&str]) -> Vec<u8> {
    announced(0x82, messages)
}

/// What an upload sends: a request, its chunks, each after a notice, and their end.
pub fn uploaded(request: &str, chunks: &[&str]) -> Vec<u8> {
    let chunks = chunks.iter().flat_map(|chunk| announced(0x83, &[chunk]));
    [
        frame(request),
        announced(0x83, &[]),
        chunks.collect(),
        control(0x84, ""),
    ]
    .concat()
}

fn announced(kind: u8, messages: &[&str]) -> Vec<u8> {
    let count = u8::try_from(messages.len()).expect("tests are small");
    // Fewer than 128, so they are text.
    let count = String::from_utf8_lossy(&[0, 0, 0, count]).into_owned();
    let frames: Vec<u8> = messages.iter().flat_map(frame).collect();
    [control(kind, &count), frames].concat()
}

impl<F: Framing> Streams for Text<F> {
    type Format = Plain;
    type Item<'a> = &'a str;
}

impl<F: Framing> Receives for Text<F> {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

/// A message that begins with `*` is an event.
impl<F: Framing> Pushes for Text<F> {
    type Format = Plain;
    type Event<'a> = &'a str;

    fn is_push(message: &[u8]) -> bool {
        message.starts_with(b"*")
    }
}
