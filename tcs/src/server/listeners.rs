//! The listeners of a server, of any type.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    accept_error::AcceptError,
    descriptors::ReservedDescriptor,
    log_limiter::{LogLimiter, log_limited},
};
use crate::{
    panics::{lock, panic_text, poll_caught},
    runtime::wake_after_others,
    sync::Mutex,
    text::Text,
    transport::{Incoming, Listener},
};

/// A [`Listener`] of any type.
pub(super) trait DynListener: Send {
    /// Accepts one connection, after a pause. The future owns the listener and returns it, so the future can live as
    /// long as the accept takes, and a listener need not be cancel safe.
    fn accept_owned(self: Box<Self>, pause: Duration) -> Accepting;

    fn name(&self) -> String;

    fn local_addr(&self) -> Option<SocketAddr>;
}

type Accepting = Pin<Box<dyn Future<Output = (AcceptResult, Box<dyn DynListener>)> + Send>>;

type AcceptResult = io::Result<Option<Incoming>>;

impl<L: Listener> DynListener for L {
    fn accept_owned(mut self: Box<Self>, pause: Duration) -> Accepting {
        Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let accepted = self.accept().await;
            (accepted, self as Box<dyn DynListener>)
        })
    }

    fn name(&self) -> String {
        Text::new(Listener::name(self)).to_string()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Listener::local_addr(self)
    }
}

/// The pause of a listener after descriptors or memory ran out.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The listeners of a server: none before it listens. A connection can close them.
#[derive(Default)]
pub(super) struct Listeners(Mutex<OpenListeners>);

/// The listeners that still listen.
#[derive(Default)]
struct OpenListeners {
    queue: VecDeque<OpenListener>,
    /// The error of the last listener that has failed.
    failure: Option<io::Error>,
    reserve: ReservedDescriptor,
}

struct OpenListener {
    name: String,
    accepting: Accepting,
    /// Whether descriptors or memory ran out. The server logs this once, until there are enough again.
    is_exhausted: bool,
}

impl Listeners {
    pub(super) fn start(&self, listeners: Vec<Box<dyn DynListener>>) {
        let opened = listeners.into_iter().map(|listener| OpenListener {
            name: listener.name(),
            accepting: listener.accept_owned(Duration::ZERO),
            is_exhausted: false,
        });
        self.set(OpenListeners {
            queue: opened.collect(),
            ..OpenListeners::default()
        });
        self.restore_descriptor();
    }

    /// Takes a descriptor into reserve, unless there is one. Returns `false` if the process has none left. The last
    /// accepted connection then has the descriptor that was in reserve.
    pub(super) fn restore_descriptor(&self) -> bool {
        lock(&self.0).reserve.restore()
    }

    /// Stops listening. Peers that wait in a backlog are reset.
    ///
    /// This method need not wake a task in [`poll_accept`](Self::poll_accept). A once server has one permit, so it does
    /// not accept while a connection closes the listeners. Other servers stop accepting before they close them.
    pub(super) fn close(&self) {
        self.set(OpenListeners::default());
    }

    /// Accepts a connection from any listener, and asks the listener first that was asked longest ago.
    ///
    /// Returns `None` when the listeners were closed or no more connections come, and an error if one of them has
    /// failed and none is left.
    pub(super) fn poll_accept(
        &self,
        log_limiter: &LogLimiter,
        cx: &mut Context<'_>,
    ) -> Poll<AcceptResult> {
        // The listeners are taken out, because no lock is held while foreign code runs.
        let mut open = self.set(OpenListeners::default());
        let result = open.poll_accept(log_limiter, cx);
        self.set(open);
        result
    }

    /// Replaces the listeners. Returns the earlier ones, so that they are dropped without the lock.
    fn set(&self, open: OpenListeners) -> OpenListeners {
        std::mem::replace(&mut *lock(&self.0), open)
    }
}

impl OpenListeners {
    fn poll_accept(
        &mut self,
        log_limiter: &LogLimiter,
        cx: &mut Context<'_>,
    ) -> Poll<AcceptResult> {
        for _ in 0..self.queue.len() {
            let Some(mut listener) = self.queue.pop_front() else {
                break;
            };
            let (accepted, idle) = match poll_caught(listener.accepting.as_mut(), cx) {
                Poll::Pending => {
                    self.queue.push_back(listener);
                    continue;
                }
                Poll::Ready(Ok(ready)) => ready,
                Poll::Ready(Err(payload)) => {
                    self.failed(&listener, io::Error::other(panic_text(payload)));
                    continue;
                }
            };
            let accepted =
                accepted.map_err(|error| self.pause_after(&mut listener, error, log_limiter));
            let pause = match &accepted {
                Ok(Some(_)) => Duration::ZERO,
                Err(Some(pause)) => *pause,
                // The listener is dropped.
                Ok(None) | Err(None) => continue,
            };
            listener.accepting = idle.accept_owned(pause);
            if let Ok(incoming) = accepted {
                listener.is_exhausted &= !self.reserve.is_held();
                self.queue.push_back(listener);
                return Poll::Ready(Ok(incoming));
            }
            self.queue.push_back(listener);
            // Other tasks run first, because a listener could always return an error.
            wake_after_others(cx);
        }
        if self.queue.is_empty() {
            return Poll::Ready(self.failure.take().map_or(Ok(None), Err));
        }
        Poll::Pending
    }

    /// Logs an error. Returns the pause before the listener is asked again, or `None` if it has failed.
    fn pause_after(
        &mut self,
        listener: &mut OpenListener,
        error: io::Error,
        log_limiter: &LogLimiter,
    ) -> Option<Duration> {
        let (name, text) = (&listener.name, Text::new(&error));
        match AcceptError::of(&error) {
            AcceptError::Connection => {
                tracing::debug!(listener = %name, error = %text, "a connection was gone before it was accepted");
                Some(Duration::ZERO)
            }
            AcceptError::Exhausted => {
                let is_released = self.reserve.release(&error);
                if !listener.is_exhausted {
                    // Peers that come and go could begin many episodes.
                    log_limited!(log_limiter, error, { listener = %name, error = %text, }, "cannot accept connections now");
                }
                listener.is_exhausted = true;
                Some(if is_released {
                    Duration::ZERO
                } else {
                    RETRY_DELAY
                })
            }
            AcceptError::Listener => {
                self.failed(listener, error);
                None
            }
        }
    }

    fn failed(&mut self, listener: &OpenListener, error: io::Error) {
        tracing::error!(listener = %listener.name, error = %Text::new(&error), "a listener has failed");
        self.failure = Some(error);
    }
}
