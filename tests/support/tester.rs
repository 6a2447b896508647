//! A protocol that does as it is told.

use std::{marker::PhantomData, sync::Arc};

use tcs::{
    Answer, Context, Encode, EncodeError, Framing, Peer, Plain, Rejection, ServerProtocol, Writer,
};

use crate::Gate;

/// Does what its requests say:
///
/// | request | what happens |
/// |---|---|
/// | `panic TEXT` | it panics with the text |
/// | `error TEXT` | the function's `Err` |
/// | `busy TEXT` | a refusal of that kind |
/// | `size N` | a reply of so many bytes |
/// | `last TEXT`, `nothing` | as `Answer` |
/// | `wait TEXT` | waits at the gate, then replies with the text |
/// | `count` | the number of requests in this session |
/// | anything else | itself |
#[derive(Debug)]
pub struct Tester<F, S = ()> {
    gate: Gate,
    marker: PhantomData<fn() -> (F, S)>,
}

/// A tester without sessions.
pub fn tester<F>(gate: &Gate) -> Tester<F> {
    Tester {
        gate: gate.clone(),
        marker: PhantomData,
    }
}

/// A session that counts.
#[derive(Debug, Default)]
pub struct Counting(u32);

impl<F> Tester<F> {
    /// Gives the tester a session.
    pub fn counting(self) -> Tester<F, Counting> {
        Tester {
            gate: self.gate,
            marker: PhantomData,
        }
    }
}

/// What a session of the tester can do.
pub trait Count: Default + Send + 'static {
    fn count(&mut self) -> u32;
}

impl Count for () {
    fn count(&mut self) -> u32 {
        0
    }
}

impl Count for Counting {
    fn count(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

/// Any of the tester's replies.
#[derive(Debug)]
pub enum Reply {
    Ordinary(Answer<String>),
    Error(String),
}

impl Encode<Plain> for Reply {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Ordinary(answer) => Encode::<Plain>::encode(answer, out),
            Self::Error(text) => Encode::<Plain>::encode(Err::<String, _>(text), out),
        }
    }
}

impl<F: Framing, S: Count> ServerProtocol for Tester<F, S> {
    type Framing = F;
    type Format = Plain;
    type Session = S;
    type Request<'a> = &'a str;
    type Reply<'a> = Reply;

    fn open_session(&self, _peer: &Peer) -> S {
        S::default()
    }

    async fn process_request(
        &self,
        context: Context<'_, S>,
        request: &str,
    ) -> Result<Reply, Rejection> {
        let count = context.session.count();
        let (command, rest) = request.split_once(' ').unwrap_or((request, ""));
        let text = rest.to_owned();
        Ok(Reply::Ordinary(match command {
            "panic" => panic!("{text}"),
            "error" => return Ok(Reply::Error(text)),
            "busy" => return Err(Rejection::busy(text)),
            "size" => Answer::Reply("x".repeat(rest.parse().expect("a size"))),
            "last" => Answer::Last(text),
            "nothing" => Answer::Nothing,
            "count" => Answer::Reply(count.to_string()),
            "wait" => {
                self.gate.pass().await;
                Answer::Reply(text)
            }
            _ => Answer::Reply(request.to_owned()),
        }))
    }
}

/// So that a server can be made again for each connection in memory.
impl<F, S> Tester<F, S> {
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
