//! Raw servers for tests of the client: lists of what they expect and what they send.

use std::net::SocketAddr;

use tcs::testing::{Player, Script as Steps};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    RawPeer,
    peer::{Io, Stream},
    within,
};

/// What a raw server does next.
pub type Step = Steps;

/// Fails unless the client sends these bytes next.
#[track_caller]
pub fn expects(bytes: impl AsRef<[u8]>) -> Step {
    Steps::new().receive(bytes)
}

/// Fails unless the client closes its sending half next.
#[track_caller]
pub fn expects_end() -> Step {
    Steps::new().receive_eof()
}

/// Receives this number of bytes, whatever they are.
#[track_caller]
pub fn receives(count: usize) -> Step {
    Steps::new().receive_any(count)
}

/// Sends these bytes.
#[track_caller]
pub fn sends(bytes: impl AsRef<[u8]>) -> Step {
    Steps::new().send(bytes)
}

/// Closes the sending half.
#[track_caller]
pub fn finishes() -> Step {
    Steps::new().shut_down()
}

/// Closes the connection; for the last step.
#[track_caller]
pub fn closes() -> Step {
    Steps::new().close()
}

/// Resets the connection; for the last step.
#[track_caller]
pub fn resets() -> Step {
    Steps::new().reset()
}

/// A raw server that goes through its steps.
///
/// The connection stays open until this is dropped, unless the last step closes or resets it.
#[derive(Debug)]
#[must_use = "a step that failed is seen by `finished`"]
pub enum Script {
    Tcp(Player<TcpStream>),
    Other(Player<Box<dyn Io>>),
}

impl Script {
    /// Waits for the last step, and closes the connection.
    pub async fn finished(self) {
        match self {
            Self::Tcp(player) => player.finish().await,
            Self::Other(player) => player.finish().await,
        }
    }

    /// Waits for the last step, which leaves the connection open, and returns the server's end.
    pub async fn peer(self) -> RawPeer {
        match self {
            Self::Tcp(player) => RawPeer::of(player.stream().await),
            Self::Other(player) => RawPeer::over(player.stream().await),
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
pub async fn serve(steps: impl IntoIterator<Item = Step>) -> (SocketAddr, Script) {
    let (addr, player) = steps.into_iter().collect::<Steps>().listen().await;
    (addr, Script::Tcp(player))
}

/// Goes through the steps with the other end of a stream.
pub fn play(peer: RawPeer, steps: impl IntoIterator<Item = Step>) -> Script {
    let steps: Steps = steps.into_iter().collect();
    match peer.stream {
        Stream::Tcp(stream) => Script::Tcp(steps.over(stream)),
        Stream::Other(stream) => Script::Other(steps.over(stream)),
    }
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
