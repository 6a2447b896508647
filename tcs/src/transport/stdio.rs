//! Stdin and stdout.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf, Stdin, join, stdin, stdout},
    sync::oneshot,
};

use super::{Incoming, Listener};
use crate::Peer;

/// A listener whose only connection is stdin and stdout, as under inetd(8) and in `ssh HOST PROGRAM`.
///
/// The server returns when that connection has ended. The log must not go to stdout.
///
/// A client calls such a program with [`Connection::over`](crate::Connection::over) a [`join`] of its stdout and stdin.
///
/// tokio reads stdin on a thread that cannot be interrupted. [`run()`](crate::server::Server::run) does not wait for
/// that thread. A runtime of your own waits for it when you drop it, so after a signal call
/// [`shutdown_background`](tokio::runtime::Runtime::shutdown_background) or [`std::process::exit`].
#[derive(Debug, Default)]
pub struct StdioListener {
    /// Resolves when the connection has ended.
    ended: Option<oneshot::Receiver<()>>,
}

impl StdioListener {
    /// Creates the listener.
    pub const fn new() -> Self {
        Self { ended: None }
    }
}

impl Listener for StdioListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        if let Some(ended) = &mut self.ended {
            // `None` drains the server, so it must not come before the end of the connection. The sender is only
            // dropped, so the result is an error.
            ended.await.ok();
            return Ok(None);
        }
        let (end, ended) = oneshot::channel();
        self.ended = Some(ended);
        let input = Input {
            stdin: stdin(),
            _end: end,
        };
        Ok(Some(Incoming::new(join(input, stdout()), Peer::unnamed())))
    }

    fn name(&self) -> String {
        "stdio".to_owned()
    }
}

/// Stdin, and a sender that is dropped with the connection.
struct Input {
    stdin: Stdin,
    _end: oneshot::Sender<()>,
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_read(cx, buffer)
    }
}
