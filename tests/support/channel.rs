//! Callers of a channel, each in a task of its own.

use std::{convert::Infallible, marker::PhantomData};

use tcs::{
    Channel, Error, Peer, Result,
    format::{Decode, DecodeError, Encode, EncodeError, Frame, Plain, Writer},
    framing::{Framing, LengthPrefixed},
    protocol::{ClientProtocol, Contract, Pushes},
};
use tokio::task::JoinHandle;

use crate::{patiently, within};

/// Texts both ways, which the caller gets for itself.
#[derive(Debug)]
pub struct Owned<F = LengthPrefixed>(PhantomData<F>);

impl<F: Framing> Contract for Owned<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

impl<F: Framing> Pushes for Owned<F> {
    type Format = Plain;
    type Event<'a> = &'a str;
}

/// Lets all tasks run until they wait, on a current-thread runtime.
pub async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// A call in a task.
#[derive(Debug)]
pub struct Call(JoinHandle<Result<String>>);

/// Calls with `request`.
pub fn call(channel: &Channel, request: &str) -> Call {
    let (channel, request) = (channel.clone(), request.to_owned());
    Call(tokio::spawn(async move {
        channel.call::<Owned>(&request).await
    }))
}

impl Call {
    /// Returns the reply.
    pub async fn reply(self) -> String {
        let result = within(self.0).await.expect("no panic");
        result.expect("a reply")
    }

    /// Returns the error.
    pub async fn error(self) -> Error {
        let result = within(self.0).await.expect("no panic");
        result.expect_err("no reply")
    }

    /// Returns the reply or the error, however long that takes on a paused clock.
    pub async fn outcome(self) -> Result<String> {
        patiently(self.0).await.expect("no panic")
    }

    /// Returns `true` if the call is over.
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Drops the future of the call.
    pub async fn drop(self) {
        self.0.abort();
        let ended = within(self.0).await.expect_err("it was cut");
        assert!(ended.is_cancelled(), "{ended}");
    }
}

/// A protocol that panics.
#[derive(Debug)]
pub struct Shout {
    panics_in_request: bool,
}

impl Shout {
    pub const fn panics_in_request() -> Self {
        Self {
            panics_in_request: true,
        }
    }

    pub const fn panics_in_reply() -> Self {
        Self {
            panics_in_request: false,
        }
    }
}

/// A request that may panic when half of it is written.
struct Shouted(bool);

impl Encode<Plain> for Shouted {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"SHO");
        assert!(!self.0, "on purpose");
        out.put(b"UT");
        Ok(())
    }
}

/// A reply that panics.
#[derive(Debug)]
pub struct Heard(Infallible);

impl Decode<'_, Plain> for Heard {
    fn decode(_frame: Frame<'_>) -> Result<Self, DecodeError> {
        panic!("on purpose")
    }
}

impl ClientProtocol for Shout {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Reply<'a> = Heard;
    type Output = ();

    fn prepare_request(&self) -> impl Encode<Plain> {
        Shouted(self.panics_in_request)
    }

    async fn process_reply(self, _peer: &Peer, reply: Heard) {
        match reply.0 {}
    }
}
