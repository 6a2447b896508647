//! A protocol that does as it is told.

use std::{marker::PhantomData, panic::panic_any, sync::Arc};

use tcs::{
    ConnectionInfo, Rejection, Response,
    format::{Encode, EncodeError, Plain, Writer},
    framing::Framing,
    protocol::{Context, ServerProtocol},
};

use crate::{Act, Gate, Kind, ReadyFn};

/// Does what its requests say:
///
/// | request | what happens |
/// |---|---|
/// | `panic TEXT` | it panics with the text |
/// | `bomb` | it panics with a [`Bomb`] |
/// | `error TEXT` | the function's `Err` |
/// | `busy TEXT` | a rejection of that kind |
/// | `size N` | a reply of this many bytes |
/// | `last TEXT`, `nothing`, `close` | as `Response` |
/// | `wait TEXT` | waits at the gate, as its [`Kind`] can, then replies with the text |
/// | `wait-panic` | waits at the gate, as its [`Kind`] can, then panics |
/// | `count` | the number of requests in this session |
/// | anything else | itself |
#[derive(Debug)]
pub struct Tester<F, S = (), K = ReadyFn> {
    gate: Gate,
    marker: Types<F, S, K>,
}

/// The types that a tester is made for.
type Types<F, S, K> = PhantomData<fn() -> (F, S, K)>;

/// A tester without sessions, whose function is ready at once unless it waits at the gate.
pub fn tester<F>(gate: &Gate) -> Tester<F> {
    tester_of(gate)
}

/// A tester without sessions whose function is of a kind.
pub fn tester_of<K, F>(gate: &Gate) -> Tester<F, (), K> {
    Tester {
        gate: gate.clone(),
        marker: PhantomData,
    }
}

/// A session that counts.
#[derive(Debug, Default)]
pub struct Counting(u32);

impl<F, K> Tester<F, (), K> {
    /// Gives the tester a session that counts.
    pub fn counting(self) -> Tester<F, Counting, K> {
        self.session()
    }

    /// Gives the tester a session.
    pub fn session<S>(self) -> Tester<F, S, K> {
        Tester {
            gate: self.gate,
            marker: PhantomData,
        }
    }
}

/// A payload of a panic that panics when it is dropped.
#[derive(Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload of a panic");
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
    Ordinary(Response<String>),
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

impl<F: Framing, S: Count, K: Kind> ServerProtocol for Tester<F, S, K> {
    type Framing = F;
    type Format = Plain;
    type Session = S;
    type Request<'a> = &'a str;
    type Reply<'a> = Reply;

    fn open_session(&self, _info: &ConnectionInfo) -> S {
        S::default()
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, S>,
        request: &'a str,
    ) -> impl Future<Output = Result<Reply, Rejection>> + Send {
        let Context { info, session, .. } = context;
        K::process(info, &self.gate, move || act(session.count(), request))
    }
}

/// Does what a request says.
fn act(count: u32, request: &str) -> Act<Result<Reply, Rejection>> {
    let (command, rest) = request.split_once(' ').unwrap_or((request, ""));
    let text = rest.to_owned();
    let answer = match command {
        "panic" => panic!("{text}"),
        "bomb" => panic_any(Bomb),
        "error" => return Act::Return(Ok(Reply::Error(text))),
        "busy" => return Act::Return(Err(Rejection::busy(text))),
        "size" => Response::Reply("x".repeat(rest.parse().expect("a size"))),
        "last" => Response::ReplyAndClose(text),
        "nothing" => Response::NoReply,
        "close" => Response::Close,
        "count" => Response::Reply(count.to_string()),
        "wait" => return Act::Wait(Ok(Reply::Ordinary(Response::Reply(text)))),
        "wait-panic" => return Act::WaitAndPanic,
        _ => Response::Reply(request.to_owned()),
    };
    Act::Return(Ok(Reply::Ordinary(answer)))
}

/// So that a server can be made again for each connection in memory.
impl<F, S, K> Tester<F, S, K> {
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
