//! Why a connection ends, or one of its waits.

use std::{fmt, io};

use crate::{Rejection, server::registry::AbortReason, text::Text};

/// Why a connection or its loop of requests ends: the error of every function that can end one.
///
/// The reason decides what happens first, in the order of the variants below. `serve` has the order of these steps.
#[derive(Debug)]
pub(super) enum End {
    // The rest of the write buffer is sent.
    /// The connection waited for a request, no byte of which has arrived.
    Idle,
    /// The server closes.
    Closed,
    /// The peer has closed its sending half, and all requests are answered.
    Eof,
    /// A function that took the connection over has ended.
    Upgraded,
    /// The loop ends. The connection goes on over TLS, with another loop.
    StartTls,

    // The rest of the write buffer is dropped: the peer is gone, does not read, or must not hold up the end of the server.
    /// The transport reported an error, such as a reset.
    Error(io::Error),
    /// The peer did not read fast enough.
    Stalled,
    /// The peer does not read, and there is no memory for what it does not read.
    StalledOverBudget,
    /// The queue has no room for an event, which ends the connection (`PushOverflow::Close`).
    PushOverflow,
    /// The peer closed its sending half, which ends the connection.
    HalfClosed,
    /// The server ends the connection at once, for this reason.
    Aborted(AbortReason),
    /// The drop of a function panicked. The panic is logged.
    DropPanicked,
    /// The function that took the connection over panicked. The panic is logged.
    UpgradePanicked,
    /// The handshake failed. The error is logged.
    TlsFailed,
}

impl End {
    /// Returns `true` if the rest of the write buffer is sent before the connection closes.
    pub(super) const fn sends_rest(&self) -> bool {
        matches!(self, Self::Idle | Self::Closed | Self::Eof | Self::Upgraded)
    }
}

impl From<AbortReason> for End {
    fn from(reason: AbortReason) -> Self {
        Self::Aborted(reason)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // The stream may be the user's, and its error may quote the peer.
            Self::Error(error) => return Text::new(error).fmt(f),
            Self::Eof => "the peer has closed",
            Self::Upgraded => "the function that took it over has ended",
            Self::Stalled => "the peer does not read (`write_timeout`)",
            Self::StalledOverBudget => {
                "the peer does not read, and the memory for large replies is in use (`memory_budget`)"
            }
            Self::PushOverflow => {
                "its queue has no room for an event (`max_push_queue`, or `memory_budget`)"
            }
            Self::HalfClosed => "the peer has closed its sending half",
            Self::Aborted(reason) => reason.text(),
            Self::DropPanicked => "a function panicked as it was dropped",
            Self::UpgradePanicked => "the function that took it over panicked",
            Self::TlsFailed => "TLS did not start",
            Self::Idle | Self::Closed | Self::StartTls => "the server has closed",
        })
    }
}

/// Why a wait ends before a request has arrived, or before a function has returned.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// There is no memory for the rest of a frame. The connection may wait for it.
    NeedsMemory,
    /// The request is rejected. Where none has arrived, the connection closes.
    Rejected(Rejection),
    /// The request is rejected, and then the connection closes for this reason. Boxed, because the task of each connection
    /// has room for an interrupt.
    Closing(Box<(Rejection, &'static str)>),
    /// The connection ends. The peer is told only of a request that the server aborts.
    Ended(End),
}

impl From<End> for Interrupt {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}
