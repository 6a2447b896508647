//! Why requests are not answered.

use std::{fmt, io};

use tcs::RejectionKind;

use crate::failure::Exit;

/// Why a request has no reply, or a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RequestError {
    NotConnected,
    /// It was due, and was not sent.
    NotSent,
    /// It could not be sent, because the server did not speak first.
    NoGreeting,
    /// The reply has not come in time.
    TimedOut,
    NoFrame,
    /// A reply came, and there was no request.
    Unexpected,
    TooLargeReply,
    /// The reply does not begin as `--expect` says.
    WrongReply,
    Closed,
    Reset,
    /// The connection was lost in another way.
    Broken,
    Rejected(RejectionKind),
}

/// Its name in the result. Rejections have those of `WIRE.md`.
impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "not connected",
            Self::NotSent => "not sent",
            Self::NoGreeting => "no greeting",
            Self::TimedOut => "timed out",
            Self::NoFrame => "no frame",
            Self::Unexpected => "unexpected",
            Self::TooLargeReply => "too large reply",
            Self::WrongReply => "wrong reply",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Broken => "broken",
            // The bench has a time limit of its own.
            Self::Rejected(RejectionKind::TimedOut) => "timed out by the server",
            Self::Rejected(kind) => return kind.fmt(f),
        })
    }
}

impl RequestError {
    pub(super) const fn exit(self) -> Exit {
        match self {
            Self::NotConnected => Exit::Connect,
            Self::TimedOut | Self::NoGreeting | Self::NotSent => Exit::Timeout,
            Self::NoFrame | Self::Unexpected | Self::TooLargeReply => Exit::Protocol,
            Self::Closed | Self::Reset | Self::Broken => Exit::Closed,
            Self::WrongReply | Self::Rejected(_) => Exit::Rejected,
        }
    }

    /// Returns what to do about it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::NoFrame | Self::Unexpected | Self::Rejected(RejectionKind::ProtocolError) => {
                "choose the --framing of the server, and --greeting if it speaks first"
            }
            Self::Rejected(
                RejectionKind::Error | RejectionKind::BadRequest | RejectionKind::TooLarge,
            ) => "try the request with `tcs call`, which shows the reply",
            Self::Rejected(RejectionKind::Busy | RejectionKind::TooManyConnections) => {
                "ask for fewer --connections or a lower --rate, or raise the server's limits"
            }
            Self::NotSent => {
                "the server is slower than the --rate, or was not there: lower it, or add --connections or --pipeline"
            }
            Self::NoGreeting => {
                "the server did not speak first in time: leave out --greeting, or raise --timeout"
            }
            Self::WrongReply => "see the replies with `tcs call`, or change --expect",
            Self::TimedOut => {
                "the server did not reply in time: raise --timeout, or look at the server"
            }
            Self::NotConnected
            | Self::TooLargeReply
            | Self::Closed
            | Self::Reset
            | Self::Broken
            | Self::Rejected(_) => {
                "the server has ended connections: its log or its report may say why"
            }
        }
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken,
        }
    }
}
