//! What an [`Error`](super::Error) is inside: what happened, what it says, and what caused it.

use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};

use crate::{DecodeError, EncodeError, FrameError, Peer, Rejection, RejectionKind};

#[derive(Debug)]
pub(crate) enum Repr {
    Setting {
        setting: &'static str,
        reason: String,
    },
    Address {
        address: String,
        reason: &'static str,
    },
    Resolve {
        host: String,
        source: io::Error,
    },
    Listen {
        addr: SocketAddr,
        source: io::Error,
    },
    Accept {
        source: io::Error,
    },
    Start {
        source: io::Error,
    },
    Signals {
        source: io::Error,
    },
    OutsideRuntime {
        called: &'static str,
        instead: &'static str,
    },
    InsideRuntime {
        called: &'static str,
        instead: &'static str,
    },
    Interrupted {
        cut: u64,
    },
    Connect {
        addr: SocketAddr,
        source: io::Error,
    },
    ConnectTimedOut {
        host: String,
        limit: Duration,
    },
    ReplyTimedOut {
        peer: Peer,
        limit: Duration,
    },
    SaidNothing {
        peer: Peer,
        limit: Duration,
    },
    Closed {
        peer: Peer,
    },
    Gone {
        peer: Peer,
        source: Option<io::Error>,
    },
    Refused {
        peer: Peer,
        source: Rejection,
    },
    Encode {
        source: EncodeError,
    },
    Unsendable {
        source: FrameError,
    },
    Full {
        limit: usize,
    },
    NoRoom {
        peer: Peer,
        limit: Duration,
    },
    Decode {
        peer: Peer,
        source: DecodeError,
    },
    Frame {
        peer: Peer,
        is_sent: bool,
        source: FrameError,
    },
    Broken {
        peer: Peer,
        reason: &'static str,
    },
    Lost {
        peer: Peer,
        reason: &'static str,
    },
    Ended {
        peer: Peer,
        source: Rejection,
    },
    Write {
        peer: Peer,
        source: io::Error,
    },
    Read {
        peer: Peer,
        source: io::Error,
    },
}

impl fmt::Display for Repr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { setting, reason } => write!(f, "{setting} {reason}"),
            Self::Address { address, reason } => {
                write!(f, "cannot read the address `{address}`: {reason}")
            }
            Self::Resolve { host, .. } => write!(f, "cannot resolve {host}"),
            Self::Listen { addr, .. } => write!(f, "cannot listen on {addr}"),
            Self::Accept { .. } => f.write_str("cannot accept connections any more"),
            Self::Start { .. } => f.write_str("cannot start a tokio runtime"),
            Self::Signals { .. } => f.write_str("cannot wait for signals"),
            Self::OutsideRuntime { called, instead } => {
                write!(
                    f,
                    "`{called}` was called outside of a tokio runtime{instead}"
                )
            }
            Self::InsideRuntime { called, instead } => write!(
                f,
                "`{called}` was called inside of a tokio runtime: call `{instead}` and `.await` it"
            ),
            Self::Interrupted { cut } => write!(f, "ended at once; requests cut: {cut}"),
            Self::Connect { addr, .. } => write!(f, "cannot connect to {addr}"),
            Self::ConnectTimedOut { host, limit } => {
                write!(
                    f,
                    "cannot connect to {host} within {limit:?} (`connect_timeout`)"
                )
            }
            Self::ReplyTimedOut { peer, limit } => {
                write!(f, "no reply from {peer} within {limit:?} (`reply_timeout`)")
            }
            Self::SaidNothing { peer, limit } => {
                write!(f, "{peer} said nothing within {limit:?} (`reply_timeout`)")
            }
            Self::Closed { peer } => write!(f, "{peer} closed the connection before it replied"),
            Self::Gone { peer, .. } => {
                write!(
                    f,
                    "{peer} closed the connection before the request was sent"
                )
            }
            // An error of the function is an answer; only the other kinds turn a request away.
            Self::Refused { peer, source } if source.kind() == RejectionKind::Error => {
                write!(f, "{peer} answered with an error")
            }
            Self::Refused { peer, .. } => write!(f, "{peer} refused the request"),
            Self::Encode { .. } => f.write_str("cannot encode the request"),
            Self::Unsendable { .. } => f.write_str("cannot send the request"),
            Self::Full { limit } => write!(
                f,
                "the pipeline is full (at most {limit} in flight, `max_in_flight`): receive a \
                 reply before the next request"
            ),
            Self::NoRoom { peer, limit } => write!(
                f,
                "no room for a request to {peer} within {limit:?} (`reply_timeout`): too many are \
                 in flight (`max_in_flight`) or too large"
            ),
            Self::Decode { peer, .. } => write!(f, "cannot read the reply of {peer}"),
            Self::Frame { peer, .. } => write!(f, "{peer} sent no valid frame"),
            Self::Broken { peer, reason } => {
                write!(f, "the connection to {peer} is closed: {reason}")
            }
            Self::Lost { peer, reason } => {
                write!(f, "the connection to {peer} was lost: {reason}")
            }
            Self::Ended { peer, .. } => write!(f, "{peer} ended the connection"),
            Self::Write { peer, .. } => write!(f, "cannot send to {peer}"),
            Self::Read { peer, .. } => write!(f, "cannot receive from {peer}"),
        }
    }
}

impl Repr {
    /// Returns what caused this, if that is an error by itself.
    pub(super) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve { source, .. }
            | Self::Listen { source, .. }
            | Self::Accept { source }
            | Self::Start { source }
            | Self::Signals { source }
            | Self::Connect { source, .. }
            | Self::Write { source, .. }
            | Self::Read { source, .. } => Some(source),
            Self::Gone { source, .. } => source.as_ref().map(|source| source as _),
            Self::Refused { source, .. } | Self::Ended { source, .. } => Some(source),
            Self::Encode { source } => Some(source),
            Self::Unsendable { source } | Self::Frame { source, .. } => Some(source),
            Self::Decode { source, .. } => Some(source),
            Self::Setting { .. }
            | Self::Address { .. }
            | Self::OutsideRuntime { .. }
            | Self::InsideRuntime { .. }
            | Self::Interrupted { .. }
            | Self::ConnectTimedOut { .. }
            | Self::ReplyTimedOut { .. }
            | Self::SaidNothing { .. }
            | Self::Closed { .. }
            | Self::Full { .. }
            | Self::NoRoom { .. }
            | Self::Broken { .. }
            | Self::Lost { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Debug` of the whole shows what it says, and its causes behind that.
    fn shown(error: Repr) -> String {
        format!("{:?}", crate::Error::from(error))
    }

    #[test]
    fn errors_of_servers_say_what_happened_and_why() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        let source = || io::Error::other("cause");
        let (host, address) = ("nowhere:1".to_owned(), ":1".to_owned());
        let (setting, reason) = ("linger", "is odd".to_owned());
        let (called, instead) = ("bind()", ": call `run()`");
        let errors = [
            Repr::Setting { setting, reason },
            Repr::Address {
                address,
                reason: "no host",
            },
            Repr::Resolve {
                host,
                source: source(),
            },
            Repr::Listen {
                addr,
                source: source(),
            },
            Repr::Accept { source: source() },
            Repr::Start { source: source() },
            Repr::Signals { source: source() },
            Repr::OutsideRuntime { called, instead },
            Repr::InsideRuntime {
                called: "run()",
                instead: "listen()",
            },
            Repr::Interrupted { cut: 7 },
        ];
        let texts = [
            "linger is odd",
            "cannot read the address `:1`: no host",
            "cannot resolve nowhere:1: cause",
            "cannot listen on 127.0.0.1:80: cause",
            "cannot accept connections any more: cause",
            "cannot start a tokio runtime: cause",
            "cannot wait for signals: cause",
            "`bind()` was called outside of a tokio runtime: call `run()`",
            "`run()` was called inside of a tokio runtime: call `listen()` and `.await` it",
            "ended at once; requests cut: 7",
        ];
        assert_eq!(errors.map(shown), texts);
    }

    #[test]
    fn errors_of_requests_say_what_happened_and_why() {
        let source = || io::Error::other("cause");
        let refused = |source| Repr::Refused {
            peer: Peer::unnamed(),
            source,
        };
        let (addr, peer) = (SocketAddr::from(([127, 0, 0, 1], 80)), Peer::unnamed);
        let limit = Duration::from_secs(3);
        let errors = [
            Repr::Connect {
                addr,
                source: source(),
            },
            Repr::ConnectTimedOut {
                host: "far:1".to_owned(),
                limit,
            },
            Repr::Gone {
                peer: peer(),
                source: Some(source()),
            },
            Repr::Gone {
                peer: peer(),
                source: None,
            },
            Repr::Encode {
                source: EncodeError::new("cause"),
            },
            Repr::Unsendable {
                source: FrameError::unsendable("cause"),
            },
            Repr::Full { limit: 2 },
            Repr::NoRoom {
                peer: peer(),
                limit,
            },
            Repr::Write {
                peer: peer(),
                source: source(),
            },
            refused(Rejection::busy("cause")),
            refused(Rejection::error("cause")),
        ];
        let texts = [
            "cannot connect to 127.0.0.1:80: cause",
            "cannot connect to far:1 within 3s (`connect_timeout`)",
            "unnamed peer closed the connection before the request was sent: cause",
            "unnamed peer closed the connection before the request was sent",
            "cannot encode the request: cause",
            "cannot send the request: cause",
            "the pipeline is full (at most 2 in flight, `max_in_flight`): receive a reply before \
             the next request",
            "no room for a request to unnamed peer within 3s (`reply_timeout`): too many are in \
             flight (`max_in_flight`) or too large",
            "cannot send to unnamed peer: cause",
            "unnamed peer refused the request: busy: cause",
            "unnamed peer answered with an error: error: cause",
        ];
        assert_eq!(errors.map(shown), texts);
    }

    #[test]
    fn errors_of_replies_say_what_happened_and_why() {
        let (peer, reason) = (Peer::unnamed, "why");
        let limit = Duration::from_millis(1_500);
        let errors = [
            Repr::ReplyTimedOut {
                peer: peer(),
                limit,
            },
            Repr::Closed { peer: peer() },
            Repr::Decode {
                peer: peer(),
                source: DecodeError::new("cause"),
            },
            Repr::Frame {
                peer: peer(),
                is_sent: true,
                source: FrameError::malformed("cause"),
            },
            Repr::Broken {
                peer: peer(),
                reason,
            },
            Repr::Lost {
                peer: peer(),
                reason,
            },
            Repr::Ended {
                peer: peer(),
                source: Rejection::busy("cause"),
            },
            Repr::Read {
                peer: peer(),
                source: io::Error::other("cause"),
            },
        ];
        let texts = [
            "no reply from unnamed peer within 1.5s (`reply_timeout`)",
            "unnamed peer closed the connection before it replied",
            "cannot read the reply of unnamed peer: cause",
            "unnamed peer sent no valid frame: cause",
            "the connection to unnamed peer is closed: why",
            "the connection to unnamed peer was lost: why",
            "unnamed peer ended the connection: busy: cause",
            "cannot receive from unnamed peer: cause",
        ];
        assert_eq!(errors.map(shown), texts);
    }
}
