//! Stdin and stdout.

use std::io;

use tokio::io::{join, stdin, stdout};

use super::{Incoming, Listener};
use crate::Peer;

/// A listener whose only connection is stdin and stdout, as under inetd(8) and in `ssh HOST PROGRAM`.
///
/// The server returns when that connection has ended. The log must not go to stdout. tokio reads stdin on a thread
/// that cannot be interrupted, so leave `main` or call [`std::process::exit`] when the server returns; a
/// runtime that is dropped waits for that thread.
#[derive(Debug, Default)]
pub struct Stdio {
    is_taken: bool,
}

impl Stdio {
    /// Creates the listener.
    pub const fn new() -> Self {
        Self { is_taken: false }
    }
}

impl Listener for Stdio {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        if std::mem::replace(&mut self.is_taken, true) {
            return Ok(None);
        }
        Ok(Some(Incoming::new(
            join(stdin(), stdout()),
            Peer::unnamed(),
        )))
    }

    fn name(&self) -> String {
        "stdio".to_owned()
    }
}
