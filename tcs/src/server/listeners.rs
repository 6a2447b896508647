//! The listeners of a server, of any type, and the three classes of their errors.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use super::{
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
    /// Accepts one connection, after a pause. The future owns the listener and returns it, so it lives as long as
    /// the accept takes, and a listener need not be cancel safe.
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

/// The pause before a listener is asked again after descriptors or memory ran out.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The listeners of a server. A connection can close them.
pub(super) struct Listeners(Mutex<Open>);

/// Those that still listen.
#[derive(Default)]
struct Open {
    queue: VecDeque<OpenListener>,
    /// The error of the last listener that has failed.
    failure: Option<io::Error>,
    reserve: ReservedDescriptor,
}

struct OpenListener {
    name: String,
    accepting: Accepting,
    /// Whether descriptors or memory ran out. It is logged once, until there are enough again.
    is_exhausted: bool,
}

impl Listeners {
    /// Creates a value without listeners, for a server that does not listen yet.
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn start(&self, listeners: Vec<Box<dyn DynListener>>) {
        let opened = listeners.into_iter().map(|listener| OpenListener {
            name: listener.name(),
            accepting: listener.accept_owned(Duration::ZERO),
            is_exhausted: false,
        });
        self.set(Open {
            queue: opened.collect(),
            ..Open::default()
        });
        self.restore_descriptor();
    }

    /// Takes a descriptor into reserve, unless it is there. Returns `false` if the process has none left. The
    /// connection that was accepted last then has what was in reserve.
    pub(super) fn restore_descriptor(&self) -> bool {
        lock(&self.0).reserve.restore()
    }

    /// Stops listening. Peers that wait in a backlog are reset.
    ///
    /// It need not wake a task in [`poll_accept`](Self::poll_accept). A once server has one permit, so it
    /// does not accept while a connection closes the listeners, and others stop accepting before they
    /// close them.
    pub(super) fn close(&self) {
        self.set(Open::default());
    }

    /// Accepts a connection from any listener. The one that was asked longest ago is asked first.
    ///
    /// Returns `None` when the listeners were closed or no more connections come, and an error if one of them has
    /// failed and none is left.
    pub(super) fn poll_accept(
        &self,
        log_limiter: &LogLimiter,
        cx: &mut Context<'_>,
    ) -> Poll<AcceptResult> {
        // Taken out, because no lock is held while foreign code runs.
        let mut open = self.set(Open::default());
        let result = open.poll_accept(log_limiter, cx);
        self.set(open);
        result
    }

    /// Replaces the listeners. Returns the earlier ones, so that they are dropped without the lock.
    fn set(&self, open: Open) -> Open {
        std::mem::replace(&mut *lock(&self.0), open)
    }
}

impl Open {
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
                // It is dropped.
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

/// The source of an accept error, which decides how to continue.
#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// The connection: it was gone before it was accepted. The next one may be fine.
    Connection,
    /// The process or the machine: an immediate retry would spin.
    Exhausted,
    /// The listener: a retry does not help.
    Listener,
}

impl AcceptError {
    /// Classifies an error of accept(2), which on Linux also reports errors of the new socket.
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match (error.kind(), error.raw_os_error()) {
            // EINVAL: it does not listen. Without a number, a listener of the user's own has another reason.
            // With `NotConnected`, which accept(2) does not return, it says that it is closed.
            (Kind::InvalidInput, Some(_)) | (Kind::NotConnected, _) => Self::Listener,
            // EBADF, ENOSYS and ENOTSOCK.
            (_, Some(9 | 38 | 88)) if cfg!(target_os = "linux") => Self::Listener,
            (
                Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::Interrupted
                | Kind::NetworkDown
                | Kind::NetworkUnreachable,
                _,
            )
            // Without a number, a listener of the user's own may return it again at once.
            | (Kind::TimedOut | Kind::Unsupported, Some(_)) => Self::Connection,
            // ENONET, EPROTO, ENOPROTOOPT and EHOSTDOWN.
            (_, Some(64 | 71 | 92 | 112)) if cfg!(target_os = "linux") => Self::Connection,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, and EACCES of a security policy, which leaves the
            // connection in the backlog. Unknown errors are included, because a retry without a pause
            // could spin.
            _ => Self::Exhausted,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_listener_of_ones_own_is_retried_after_a_pause_unless_it_is_of_a_connection() {
        for (kind, class) in [
            (io::ErrorKind::ConnectionAborted, AcceptError::Connection),
            (io::ErrorKind::TimedOut, AcceptError::Exhausted),
            (io::ErrorKind::Unsupported, AcceptError::Exhausted),
            (io::ErrorKind::InvalidInput, AcceptError::Exhausted),
            (io::ErrorKind::Other, AcceptError::Exhausted),
        ] {
            assert_eq!(AcceptError::of(&kind.into()), class, "{kind}");
        }
    }

    #[test]
    fn accept_errors_come_in_three_classes() {
        for (name, code, class) in [
            ("ECONNABORTED", 103, AcceptError::Connection),
            ("ECONNRESET", 104, AcceptError::Connection),
            ("EINTR", 4, AcceptError::Connection),
            ("EPROTO", 71, AcceptError::Connection),
            ("EHOSTUNREACH", 113, AcceptError::Connection),
            ("EOPNOTSUPP", 95, AcceptError::Connection),
            ("ENFILE", 23, AcceptError::Exhausted),
            ("EMFILE", 24, AcceptError::Exhausted),
            ("ENOMEM", 12, AcceptError::Exhausted),
            ("ENOBUFS", 105, AcceptError::Exhausted),
            ("EPERM", 1, AcceptError::Exhausted),
            ("EACCES", 13, AcceptError::Exhausted),
            ("EIO", 5, AcceptError::Exhausted),
            ("EBADF", 9, AcceptError::Listener),
            ("EINVAL", 22, AcceptError::Listener),
            ("ENOTSOCK", 88, AcceptError::Listener),
            ("ENOSYS", 38, AcceptError::Listener),
            ("ENOTCONN", 107, AcceptError::Listener),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(AcceptError::of(&error), class, "{name}");
        }
    }
}
