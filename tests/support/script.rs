//! Raw servers for tests of the client: lists of what they expect and what they send.

use std::{net::SocketAddr, panic::Location, time::Duration};

use tokio::{
    net::TcpListener,
    task::{JoinHandle, yield_now},
    time::timeout,
};

use crate::{RawPeer, within};

/// What a raw server does next.
#[derive(Clone, Debug)]
pub enum Step {
    Expect(Vec<u8>),
    ExpectEnd,
    Receive(usize),
    Send(Vec<u8>),
    Finish,
    Close,
    Reset,
}

/// Fails unless the client sends these bytes next.
pub fn expects(bytes: impl AsRef<[u8]>) -> Step {
    Step::Expect(bytes.as_ref().to_vec())
}

/// Fails unless the client closes its sending half next.
pub const fn expects_end() -> Step {
    Step::ExpectEnd
}

/// Receives this number of bytes, whatever they are.
pub const fn receives(count: usize) -> Step {
    Step::Receive(count)
}

/// Sends these bytes.
pub fn sends(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// Closes the sending half.
pub const fn finishes() -> Step {
    Step::Finish
}

/// Closes the connection; for the last step.
pub const fn closes() -> Step {
    Step::Close
}

/// Resets the connection; for the last step.
pub const fn resets() -> Step {
    Step::Reset
}

/// A raw server that goes through its steps.
///
/// The connection stays open until this is dropped, unless the last step closes or resets it.
#[derive(Debug)]
#[must_use = "a step that failed is seen by `finished`"]
pub struct Script(JoinHandle<Option<RawPeer>>);

impl Script {
    /// Waits for the last step, and closes the connection.
    ///
    /// # Panics
    ///
    /// When a step failed.
    #[track_caller]
    pub fn finished(self) -> impl Future<Output = ()> {
        let peer = within(self.0);
        async { drop(peer.await.expect("each step of the server succeeds")) }
    }

    /// Waits for the last step, which leaves the connection open, and returns the server's end.
    ///
    /// # Panics
    ///
    /// When a step failed, or closed the connection.
    #[track_caller]
    pub fn peer(self) -> impl Future<Output = RawPeer> {
        let peer = within(self.0);
        async {
            let peer = peer.await.expect("each step of the server succeeds");
            peer.expect("the connection is open")
        }
    }
}

/// Listens at a free port, and goes through the steps with the first client that connects.
///
/// ```ignore
/// let (addr, server) = serve([
///     expects(frame("Ann")),
///     sends(frame("Hello, Ann!")),
///     expects_end(),
/// ])
/// .await;
/// // … a client of `addr`
/// server.finished().await;
/// ```
#[track_caller]
pub fn serve(steps: impl IntoIterator<Item = Step>) -> impl Future<Output = (SocketAddr, Script)> {
    let steps = Steps::of(steps);
    async {
        let (addr, task) = serve_with(|peer| steps.play(peer)).await;
        (addr, Script(task))
    }
}

/// Goes through the steps with the other end of a stream.
#[track_caller]
pub fn play(peer: RawPeer, steps: impl IntoIterator<Item = Step>) -> Script {
    Script(tokio::spawn(Steps::of(steps).play(peer)))
}

/// Listens at a free port, and runs `server` with the first client that connects: for what is no list of
/// steps.
pub async fn serve_with<F>(
    server: impl FnOnce(RawPeer) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let task = tokio::spawn(async move {
        let (stream, _) = within(listener.accept()).await.expect("it listens");
        server(RawPeer::of(stream)).await
    });
    (addr, task)
}

/// The steps, and the line of the test that lists them.
struct Steps {
    steps: Vec<Step>,
    caller: &'static Location<'static>,
}

impl Steps {
    #[track_caller]
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            caller: Location::caller(),
        }
    }

    async fn play(self, mut peer: RawPeer) -> Option<RawPeer> {
        for (number, step) in self.steps.into_iter().enumerate() {
            let place = format!("step {} of the server at {}", number + 1, self.caller);
            let done = timeout(LIMIT, step.done(peer, &place)).await;
            peer = done.unwrap_or_else(|_| panic!("{place}: nothing happened"))?;
        }
        Some(peer)
    }
}

/// No step takes longer.
const LIMIT: Duration = Duration::from_secs(20);

impl Step {
    /// Does this with a peer; returns it, unless it was closed.
    async fn done(self, mut peer: RawPeer, place: &str) -> Option<RawPeer> {
        match self {
            Self::Expect(bytes) => {
                let received = peer.receive_up_to(bytes.len()).await;
                assert!(
                    received == bytes,
                    "{place}: `{}` instead of `{}`",
                    received.escape_ascii(),
                    bytes.escape_ascii()
                );
            }
            Self::ExpectEnd => {
                let received = peer.receive_up_to(1).await;
                assert!(received.is_empty(), "{place}: {received:?} before the end");
            }
            Self::Receive(count) => {
                let received = peer.receive_up_to(count).await.len();
                assert_eq!(received, count, "{place}");
            }
            Self::Send(bytes) => {
                peer.send(bytes).await;
                // A client in the same thread reads it before the next step.
                yield_now().await;
            }
            Self::Finish => peer.finish().await,
            Self::Close => return None,
            Self::Reset => {
                peer.reset();
                return None;
            }
        }
        Some(peer)
    }
}
