//! The three classes of errors of accept(2).

use std::io;

/// The source of an accept error, which decides how to continue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The connection, which was gone before it was accepted. The next connection may be fine.
    Connection,
    /// The process or the machine: an immediate retry would spin.
    Exhausted,
    /// The listener: a retry does not help.
    Listener,
}

impl AcceptError {
    /// Classifies an error of accept(2), which on Linux also reports errors of the new socket.
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match (error.kind(), error.raw_os_error()) {
            // EINVAL: the socket does not listen. Without a number, the error is from a listener of the user's own and
            // means something else. Such a listener returns `NotConnected`, which accept(2) does not, when it is
            // closed.
            (Kind::InvalidInput, Some(_)) | (Kind::NotConnected, _) => Self::Listener,
            // EBADF, and ENOSYS of Linux or ENOTSOCK of macOS and the BSDs.
            (_, Some(9 | 38)) if cfg!(unix) => Self::Listener,
            // ENOTSOCK.
            (_, Some(88)) if cfg!(target_os = "linux") => Self::Listener,
            (
                Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::Interrupted
                | Kind::NetworkDown
                | Kind::NetworkUnreachable,
                _,
            )
            // Without a number, a listener of the user's own may return the same error again at once.
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
