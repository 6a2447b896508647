//! Why a command ends, for people and for scripts.

use std::{error::Error as StdError, fmt, process::ExitCode};

use tcs::{ErrorKind, RejectionKind};

use crate::escape::escaped;

/// The exit codes, which `--help` documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The server rejected a request, or replied with an error; or a script was not followed.
    Rejected = 1,
    /// The command line or an input is wrong. `clap` uses the same code.
    Usage = 2,
    /// There is no connection, or no socket to listen on.
    Connect = 3,
    /// Something took longer than its limit.
    Timeout = 4,
    /// The bytes that arrived are not of the framing or the format.
    Protocol = 5,
    /// The connection ended before the reply.
    Closed = 6,
    /// Ctrl-C has ended it. Shells use the same code.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a command: what happened, and what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// A rejection by the server. `what` says what was rejected.
    pub(crate) fn rejected(what: &str, kind: RejectionKind, text: &[u8]) -> Self {
        let text = match text {
            [] => String::new(),
            text => format!(": {}", escaped(text)),
        };
        let failure = Self::new(Exit::Rejected, format_args!("{what} ({kind}){text}"));
        let hint = match kind {
            RejectionKind::BadRequest => "check --format and the request",
            RejectionKind::TooLarge => "send less at once, or raise `max_frame_len` of the server",
            RejectionKind::Busy | RejectionKind::TooManyConnections | RejectionKind::GoingAway => {
                "call again later"
            }
            RejectionKind::ProtocolError => "check --framing and the port",
            _ => return failure,
        };
        failure.hint(hint)
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds where it has happened, in front of the message.
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}{}", self.message);
        self
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<tcs::Error> for Failure {
    fn from(error: tcs::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let exit = match error.kind() {
            ErrorKind::Connect | ErrorKind::Resolve | ErrorKind::Listen => Exit::Connect,
            ErrorKind::TimedOut => Exit::Timeout,
            ErrorKind::Rejected => Exit::Rejected,
            ErrorKind::Reply => Exit::Protocol,
            ErrorKind::Closed | ErrorKind::Broken | ErrorKind::Io => Exit::Closed,
            _ => Exit::Usage,
        };
        let is_file = error.kind() == ErrorKind::Setting && message.starts_with("TLS: ");
        let failure = Self::new(exit, message);
        if is_file {
            return failure
                .hint("name files in PEM that can be read, and a key that is of the certificate");
        }
        failure
    }
}
