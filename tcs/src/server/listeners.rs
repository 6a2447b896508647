//! The listeners of a server, of any type, and the three classes of their errors.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use crate::{
    panics::{panic_text, poll_caught},
    text::Text,
    transport::{Incoming, Listener},
};

/// A [`Listener`] of any type.
pub(super) trait DynListener: Send {
    /// Accepts one connection. The future owns the listener and returns it, so it lives as long as the accept
    /// takes, and a listener need not be cancel safe.
    fn accept_owned(self: Box<Self>) -> Accepting;

    fn name(&self) -> String;

    fn local_addr(&self) -> Option<SocketAddr>;
}

type Accepting = Pin<Box<dyn Future<Output = (Accepted, Box<dyn DynListener>)> + Send>>;

type Accepted = io::Result<Option<Incoming>>;

impl<L: Listener> DynListener for L {
    fn accept_owned(mut self: Box<Self>) -> Accepting {
        Box::pin(async move {
            let accepted = self.accept().await;
            (accepted, self as Box<dyn DynListener>)
        })
    }

    fn name(&self) -> String {
        Listener::name(self)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Listener::local_addr(self)
    }
}

/// The open listeners of a server. A connection can close them.
pub(super) struct Listeners(Mutex<VecDeque<Open>>);

struct Open {
    name: String,
    accepting: Accepting,
}

/// The result of waiting for a connection.
#[derive(Debug)]
pub(super) enum AcceptResult {
    Connection(Box<Incoming>),
    /// The process or the machine lacks something: an immediate retry would spin.
    Exhausted(io::Error),
    /// No listener is left: they were closed, no more connections come, or the last one has failed.
    Closed(io::Result<()>),
}

impl Listeners {
    /// Creates a value without listeners, for a server that does not listen yet.
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn open(&self, listeners: Vec<Box<dyn DynListener>>) {
        let opened = listeners.into_iter().map(|listener| Open {
            name: listener.name(),
            accepting: listener.accept_owned(),
        });
        self.set(opened.collect());
    }

    /// Stops listening. Peers that wait in a backlog are reset.
    ///
    /// It need not wake a task in [`poll_accept`](Self::poll_accept). A once server has one permit, so it
    /// does not accept while a connection closes the listeners, and others stop accepting before they
    /// close them.
    pub(super) fn close(&self) {
        self.set(VecDeque::new());
    }

    /// Accepts a connection from any listener. The one that was asked longest ago is asked first.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<AcceptResult> {
        // Taken out, because no lock is held while foreign code runs.
        let mut open = self.set(VecDeque::new());
        let result = poll_each(&mut open, cx);
        self.set(open);
        result
    }

    /// Replaces the listeners. Returns the earlier ones, so that they are dropped without the lock.
    fn set(&self, listeners: VecDeque<Open>) -> VecDeque<Open> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *open, listeners)
    }
}

fn poll_each(open: &mut VecDeque<Open>, cx: &mut Context<'_>) -> Poll<AcceptResult> {
    let mut closed = Ok(());
    for _ in 0..open.len() {
        let Some(mut listener) = open.pop_front() else {
            break;
        };
        let (accepted, idle) = match poll_caught(listener.accepting.as_mut(), cx) {
            Poll::Pending => {
                open.push_back(listener);
                continue;
            }
            Poll::Ready(Ok(ready)) => ready,
            Poll::Ready(Err(payload)) => {
                let error = io::Error::other(panic_text(payload));
                listener.failed(&error);
                closed = Err(error);
                continue;
            }
        };
        let error = match accepted {
            Ok(Some(incoming)) => {
                listener.accepting = idle.accept_owned();
                open.push_back(listener);
                return Poll::Ready(AcceptResult::Connection(Box::new(incoming)));
            }
            Ok(None) => continue,
            Err(error) => error,
        };
        let class = AcceptError::of(&error);
        if class == AcceptError::Listener {
            listener.failed(&error);
            closed = Err(error);
            continue;
        }
        listener.accepting = idle.accept_owned();
        open.push_back(listener);
        match class {
            // Other tasks run first, because a listener could always return this.
            AcceptError::Connection => cx.waker().wake_by_ref(),
            _ => return Poll::Ready(AcceptResult::Exhausted(error)),
        }
    }
    if open.is_empty() {
        return Poll::Ready(AcceptResult::Closed(closed));
    }
    Poll::Pending
}

impl Open {
    fn failed(&self, error: &io::Error) {
        tracing::error!(listener = %self.name, error = %Text::new(error), "a listener has failed");
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
            (Kind::InvalidInput, Some(_)) => Self::Listener,
            // EBADF and ENOTSOCK.
            (_, Some(9 | 88)) if cfg!(target_os = "linux") => Self::Listener,
            (
                Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::Interrupted
                | Kind::NetworkDown
                | Kind::NetworkUnreachable
                | Kind::TimedOut
                | Kind::Unsupported,
                _,
            ) => Self::Connection,
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
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(AcceptError::of(&error), class, "{name}");
        }
    }
}
