//! Channels that last, over streams in memory: the test decides what becomes of each attempt to connect.

use std::io;

use tcs::{client::ChannelOptions, framing::Framing};
use tokio::{
    io::{DuplexStream, duplex},
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{RawPeer, patiently};

/// The attempts of a channel to connect.
#[derive(Debug)]
pub struct Attempts(mpsc::UnboundedReceiver<Attempt>);

/// An attempt to connect, which waits until it is accepted or refused.
#[derive(Debug)]
pub struct Attempt {
    pub began: Instant,
    outcome: oneshot::Sender<io::Result<DuplexStream>>,
}

/// Options of a channel, and its attempts.
pub fn lasting<F: Framing>() -> (ChannelOptions<F>, Attempts) {
    let (sender, attempts) = mpsc::unbounded_channel();
    let options = ChannelOptions::over(move || {
        let (outcome, decided) = oneshot::channel();
        let began = Instant::now();
        // The test may be over.
        drop(sender.send(Attempt { began, outcome }));
        async { decided.await.unwrap_or_else(|_| Err(refused())) }
    });
    (options, Attempts(attempts))
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "refused on purpose")
}

impl Attempts {
    /// Waits for the next attempt.
    #[track_caller]
    pub fn attempt(&mut self) -> impl Future<Output = Attempt> {
        let next = patiently(self.0.recv());
        async { next.await.expect("the channel is there") }
    }

    /// Waits for the next attempt. Returns `None` once the channel and its tasks are gone.
    pub async fn try_attempt(&mut self) -> Option<Attempt> {
        self.0.recv().await
    }

    /// Accepts the next attempt, and returns the server's end.
    #[track_caller]
    pub fn accept(&mut self) -> impl Future<Output = RawPeer> {
        let next = self.attempt();
        async { next.await.accept() }
    }

    /// Returns the number of attempts that were not taken yet.
    pub fn waiting(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of attempts that were not taken yet, and refuses them.
    pub fn count(&mut self) -> usize {
        let mut count = 0;
        while let Ok(attempt) = self.0.try_recv() {
            attempt.refuse();
            count += 1;
        }
        count
    }

    /// Waits until the channel and its tasks are gone. Returns the number of attempts before that, which are refused.
    pub async fn ended(&mut self) -> usize {
        let mut count = 0;
        while let Some(attempt) = self.try_attempt().await {
            attempt.refuse();
            count += 1;
        }
        count
    }
}

impl Attempt {
    /// Connects. Returns the server's end.
    pub fn accept(self) -> RawPeer {
        self.accept_with_room(1 << 16)
    }

    /// Connects over a pipe with room for this number of bytes. Returns the server's end.
    pub fn accept_with_room(self, bytes: usize) -> RawPeer {
        let (near, far) = duplex(bytes);
        // The channel may have given up.
        drop(self.outcome.send(Ok(near)));
        RawPeer::over(far)
    }

    /// Fails the attempt.
    pub fn refuse(self) {
        drop(self.outcome.send(Err(refused())));
    }

    /// Returns `true` if the channel has given up.
    pub fn is_dropped(&self) -> bool {
        self.outcome.is_closed()
    }
}
