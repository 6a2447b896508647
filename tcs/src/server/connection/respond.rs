//! Writes everything but ordinary replies, which [`Batch`](super::dispatch::Batch) writes: rejections for each
//! occasion, and replies that close the connection.
//!
//! A rejection is written as the framing's control frame. Where the framing has none, it is written as the
//! protocol's message for it (`ServerProtocol::reject_with`), if there is one:
//!
//! | method | when | the protocol's message | counts as a response | the connection |
//! |---|---|---|---|---|
//! | `reject` | in place of a reply | yes | by its kind | goes on if something was written, unless the kind is final |
//! | `close_with` | the server closes the connection | yes | no | closes |
//! | `close_with_frame` | the same, after a reply or for a peer of another protocol | no: it would be taken for a reply | no | closes |

use std::{
    fmt::{self, Write as _},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use super::{
    super::{
        config::Limits,
        report::{Tally, Unsent},
        shared::Shared,
    },
    clocks::frame_limit,
    io::{Interrupt, Io, WaitEnd},
};
use crate::{
    Rejection, RejectionKind,
    buffer::{EncodeOutcome, Encoded, ReadBuffer, WriteBuffer},
    format::{Encode, EncodeError, Writer},
    framing::{ConnectionFraming, FrameError, Framing, OtherProtocol, Side},
    panics::{Payload, panic_text},
    protocol::ServerProtocol,
    text::Escaped,
};

/// Whether the connection goes on (`Continue`) or closes (`Break`).
pub(super) type Flow = ControlFlow<()>;

/// Writes and counts responses other than ordinary replies. A connection makes one whenever it has something to
/// write.
pub(super) struct Responder<'a, P: ServerProtocol> {
    shared: &'a Shared<P>,
    framing: &'a mut ConnectionFraming<P::Framing>,
    write: &'a mut WriteBuffer,
    tally: &'a Tally,
    unsent: &'a mut Unsent,
}

/// The result of writing a rejection.
#[derive(Debug, PartialEq, Eq)]
enum WrittenRejection {
    /// There is neither a frame nor a message for it.
    Unavailable,
    Written {
        closes: bool,
    },
    /// The protocol chose to send nothing.
    Nothing {
        closes: bool,
    },
    /// The protocol's message cannot be sent.
    Failed,
}

impl<'a, P: ServerProtocol> Responder<'a, P> {
    #[inline]
    pub(super) fn new<S>(
        shared: &'a Shared<P>,
        framing: &'a mut ConnectionFraming<P::Framing>,
        write: &'a mut WriteBuffer,
        io: &'a mut Io<S>,
    ) -> Self {
        let (tally, unsent) = io.counters();
        Self {
            shared,
            framing,
            write,
            tally,
            unsent,
        }
    }

    /// Writes the greeting.
    pub(super) fn greet(&mut self, greeting: impl Encode<P::Format>) -> Flow {
        self.write.prepare();
        let Err(Encoded { outcome, closes }) = self.message(|out| greeting.encode(out)) else {
            return Flow::Continue(());
        };
        let why = match outcome {
            EncodeOutcome::Written => "this was the greeting of a server that closes".to_owned(),
            EncodeOutcome::Nothing if closes => return Flow::Break(()),
            EncodeOutcome::Nothing => return Flow::Continue(()),
            EncodeOutcome::Error(text) => text,
            EncodeOutcome::Unencodable(error) => cannot_encode("greeting", &error),
            EncodeOutcome::Unsendable(error) => cannot_send::<P::Framing>("greeting", &error),
        };
        self.close_with(&going_away(&why));
        Flow::Break(())
    }

    /// Responds to a request whose reply is not an ordinary message.
    #[cold]
    pub(super) fn unusual_reply(&mut self, Encoded { outcome, closes }: Encoded) -> Flow {
        let failed = |why| Rejection::new(RejectionKind::Failed, why);
        let rejection = match outcome {
            EncodeOutcome::Written => {
                self.unsent.served += 1;
                return self.close_after_reply();
            }
            EncodeOutcome::Nothing => {
                self.unsent.served += 1;
                if closes {
                    // A final rejection would say that this request was not executed.
                    return Flow::Break(());
                }
                return self.after_response();
            }
            EncodeOutcome::Error(text) => Rejection::error(text),
            EncodeOutcome::Unencodable(error) => failed(cannot_encode("reply", &error)),
            EncodeOutcome::Unsendable(error) => failed(cannot_send::<P::Framing>("reply", &error)),
        };
        self.reject(&rejection)?;
        if closes {
            return self.close_after_reply();
        }
        Flow::Continue(())
    }

    /// Responds to a request with a rejection.
    #[cold]
    pub(super) fn reject(&mut self, rejection: &Rejection) -> Flow {
        let kind = rejection.kind();
        if kind.is_final() {
            self.unsent.count(kind);
            self.close_with(rejection);
            return Flow::Break(());
        }
        let written = self.write_rejection(rejection);
        let is_error = kind == RejectionKind::Error;
        if is_error && written == WrittenRejection::Unavailable {
            return self.error_as_reply(rejection);
        }
        let is_lost = is_error && written == WrittenRejection::Failed;
        let counted = if is_lost { RejectionKind::Failed } else { kind };
        self.unsent.count(counted);
        match written {
            WrittenRejection::Written { closes: false }
            | WrittenRejection::Nothing { closes: false } => {
                tracing::debug!(reason = %rejection, "answered without a reply");
                self.after_response()
            }
            // If this request got no response, the peer would match the next reply to it.
            WrittenRejection::Unavailable => {
                log_unsent(rejection);
                Flow::Break(())
            }
            WrittenRejection::Written { .. } => self.close_after_reply(),
            WrittenRejection::Nothing { .. } | WrittenRejection::Failed => Flow::Break(()),
        }
    }

    /// Sends the text of a function's error as its reply, where the framing has no control frames.
    fn error_as_reply(&mut self, rejection: &Rejection) -> Flow {
        if P::Framing::HAS_VALUES {
            log_unsent(rejection);
            self.unsent.failed += 1;
            return Flow::Break(());
        }
        let text = rejection.text().as_bytes();
        let sent = self.message(|out| {
            out.put(text);
            Ok(())
        });
        // Escaped if the framing cannot carry its bytes, such as a line feed.
        let text = Escaped::all(text);
        let sent =
            sent.or_else(|_| self.message(|out| write!(out, "{text}").map_err(EncodeError::new)));
        if sent.is_err() {
            tracing::error!(reason = %rejection, "this framing cannot carry the text of an error; return a message for it from `reject_with`");
            self.unsent.failed += 1;
            return Flow::Break(());
        }
        self.unsent.served += 1;
        self.after_response()
    }

    /// Writes why the server closes the connection.
    fn close_with(&mut self, rejection: &Rejection) {
        tracing::debug!(reason = %rejection, "closing the connection");
        self.write_rejection(rejection);
    }

    /// Writes why the server closes the connection, if the framing has a frame for it.
    fn close_with_frame(&mut self, rejection: &Rejection) {
        tracing::debug!(reason = %rejection, "closing the connection");
        self.write_frame(rejection);
    }

    /// Returns whether the connection goes on after a response. Closes that of a once server.
    #[cold]
    pub(super) fn after_response(&mut self) -> Flow {
        if !P::Framing::EXCHANGES.are_many() {
            return Flow::Break(());
        }
        if self.shared.is_once {
            self.close_with_frame(&going_away("this server answers one request"));
            return Flow::Break(());
        }
        Flow::Continue(())
    }

    /// Closes the connection, as the protocol function or its reply asks.
    fn close_after_reply(&mut self) -> Flow {
        self.close_with_frame(&going_away("this was the last reply"));
        Flow::Break(())
    }

    /// Closes the connection if it has a session, which may be half changed by a function that did not
    /// end.
    fn close_if_session_poisoned(&mut self) -> Flow {
        if size_of::<P::Session>() == 0 {
            return Flow::Continue(());
        }
        self.close_with(&going_away("the session was lost with the failed request"));
        Flow::Break(())
    }
}

/// Responses to events.
impl<P: ServerProtocol> Responder<'_, P> {
    /// Answers bytes that are not a frame: another protocol in its own terms, a peer of ours as for any
    /// other rejection. The connection then closes.
    #[cold]
    pub(super) fn bad_frame(&mut self, error: &FrameError, unread: &[u8]) {
        let rejection = error.rejection();
        self.unsent.count(rejection.kind());
        // The framing is wrong, or has no memory. The peer did nothing wrong.
        let is_ours = !rejection.kind().is_final();
        // A peer of another protocol would take the protocol's message for a reply.
        let is_other = !is_ours && (error.is_other_protocol() || self.seems_other(unread));
        let is_answered = self
            .write
            .append(|out| self.framing.answer_error(out, error));
        let is_written = is_answered
            || (!is_other
                && self.write_protocol_rejection(&rejection) != WrittenRejection::Unavailable);
        if is_ours {
            tracing::error!(reason = %error, "the framing failed");
            self.close_with_frame(&going_away("the server failed"));
        } else if is_written {
            tracing::debug!(reason = %error, "the peer sent no valid frame");
        } else {
            log_unsent(error);
        }
    }

    /// Responds to a request whose function was dropped while it waited.
    #[cold]
    pub(super) fn interrupted(&mut self, interrupt: Interrupt) -> Flow {
        let limits = self.shared.limits;
        match interrupt {
            Interrupt::TimedOut => {
                let text = format!("no reply within {} (`request_timeout`)", limits.request);
                self.reject(&Rejection::new(RejectionKind::TimedOut, text))?;
                return self.close_if_session_poisoned();
            }
            Interrupt::HalfClosed => {
                let text = format!(
                    "no reply within {} after the end of the input (`half_close_timeout`)",
                    limits.half_close
                );
                self.reject(&Rejection::new(RejectionKind::TimedOut, text))?;
                // *Timed out* is not final.
                let text = "the time after the end of the input is over";
                self.close_with_frame(&going_away(text));
            }
            // Not counted: it is among the requests that were aborted.
            Interrupt::Aborted => {
                let text = "the server ended before the reply";
                self.close_with(&Rejection::new(RejectionKind::Failed, text));
                // The frame above is not final, so framings with control frames send a final one as well.
                self.close_with_frame(&going_away("the server ended"));
            }
        }
        Flow::Break(())
    }

    /// Writes why the connection stops waiting for a request, or for the rest of one.
    #[cold]
    pub(super) fn wait_ended(&mut self, read: &ReadBuffer, why: WaitEnd) {
        let limits = &self.shared.limits;
        let rejection = wait_end_rejection(limits, read, why);
        let unread = read.input(limits.frame_len, Side::Server);
        if self.seems_other(unread.bytes()) {
            self.close_with_frame(&rejection);
        } else {
            self.close_with(&rejection);
        }
        if !rejection.kind().is_final() {
            self.close_with_frame(&going_away("the rest of the frame was not read"));
        }
    }

    /// Responds to the request whose processing panicked.
    #[cold]
    pub(super) fn panicked(&mut self, payload: Payload) -> Flow {
        let closes = self.write.closes();
        self.write.prepare();
        if self.unsent.sum() == self.tally.unanswered() {
            // No request was being processed: it was the framing, which would panic again.
            log_panic("the framing", payload);
            self.close_with(&going_away("the server failed"));
            return Flow::Break(());
        }
        log_panic("the processing of a request", payload);
        let text = "the function panicked";
        self.reject(&Rejection::new(RejectionKind::Failed, text))?;
        if closes {
            return self.close_after_reply();
        }
        self.close_if_session_poisoned()
    }

    /// Responds to a request whose function waits although its protocol says that it never does.
    #[cold]
    pub(super) fn must_not_wait(&mut self) -> Flow {
        let text = "the function waits, and its protocol says that it does not (`WAITS`)";
        self.reject(&Rejection::new(RejectionKind::Failed, text))?;
        self.close_if_session_poisoned()
    }

    /// Returns `true` if the peer has sent nothing but bytes that look like another protocol.
    fn seems_other(&self, unread: &[u8]) -> bool {
        self.tally.requests().received <= 1 && OtherProtocol::guess(unread).is_some()
    }
}

/// Writing frames.
impl<P: ServerProtocol> Responder<'_, P> {
    /// Frames the message that `encode` writes.
    fn message(
        &mut self,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), Encoded> {
        let limit = self.shared.limits.frame_len;
        self.write.message(self.framing.get_mut(), limit, encode)
    }

    /// Writes a rejection as the framing's frame for it, or as the protocol's message.
    fn write_rejection(&mut self, rejection: &Rejection) -> WrittenRejection {
        if self.write_frame(rejection) {
            return WrittenRejection::Written { closes: false };
        }
        self.write_protocol_rejection(rejection)
    }

    /// Writes a rejection as the framing's frame for it. Returns `false` if it has none.
    fn write_frame(&mut self, rejection: &Rejection) -> bool {
        self.write.append(|out| self.framing.reject(out, rejection))
    }

    /// Writes a rejection as the protocol's message for it. Catches a panic of the protocol.
    fn write_protocol_rejection(&mut self, rejection: &Rejection) -> WrittenRejection {
        let written = catch_unwind(AssertUnwindSafe(|| {
            self.write.prepare();
            let message = self.shared.protocol.reject_with(rejection)?;
            Some(self.message(|out| message.encode(out)))
        }));
        if written.is_err() {
            self.write.prepare();
        }
        WrittenRejection::of(written, rejection)
    }
}

impl WrittenRejection {
    /// Classifies the result of encoding the protocol's message, or the panic it ended in.
    fn of(written: thread::Result<Option<Result<(), Encoded>>>, rejection: &Rejection) -> Self {
        let why = match written {
            Ok(None) => return Self::Unavailable,
            Ok(Some(Ok(()))) => return Self::Written { closes: false },
            Ok(Some(Err(Encoded { outcome, closes }))) => match outcome {
                EncodeOutcome::Written => return Self::Written { closes },
                EncodeOutcome::Nothing => return Self::Nothing { closes },
                EncodeOutcome::Error(text) => text,
                EncodeOutcome::Unencodable(error) => error.to_string(),
                EncodeOutcome::Unsendable(error) => error.to_string(),
            },
            Err(payload) => format!("panic: {}", panic_text(payload)),
        };
        let why = Escaped::all(why.as_bytes());
        tracing::error!(reason = %rejection, %why, "`reject_with` did not produce a message that can be sent");
        Self::Failed
    }
}

/// Returns what a peer is told when its connection stops waiting.
fn wait_end_rejection(limits: &Limits, read: &ReadBuffer, why: WaitEnd) -> Rejection {
    let idle = |text| Rejection::new(RejectionKind::Idle, text);
    match why {
        WaitEnd::Draining if read.has_started() => {
            going_away("the server is stopping, and the frame was not complete")
        }
        WaitEnd::Draining => going_away("the server is stopping"),
        WaitEnd::OutOfMemory => {
            Rejection::busy("the server has no memory for a frame of this size")
        }
        WaitEnd::TimedOut if read.has_started() => {
            let limit = frame_limit(limits, read.arrived_of_frame());
            idle(format!(
                "the frame was not complete after {limit} (`frame_timeout`)"
            ))
        }
        WaitEnd::TimedOut => {
            let limit = limits.idle;
            idle(format!("no request arrived for {limit} (`idle_timeout`)"))
        }
    }
}

/// Returns the final rejection of a server that closes the connection.
fn going_away(text: &str) -> Rejection {
    Rejection::new(RejectionKind::GoingAway, text)
}

/// Logs why a value cannot be encoded. Returns a text for the peer, without the cause.
fn cannot_encode(what: &str, error: &EncodeError) -> String {
    tracing::error!(%error, "a {what} cannot be encoded");
    format!("the {what} cannot be encoded")
}

/// Logs why a message cannot be sent, and what can carry it. Returns the text for the peer.
fn cannot_send<F: Framing>(what: &str, error: &FrameError) -> String {
    let text = format!("the {what} cannot be sent: {error}");
    if F::HAS_REJECTION_FRAME {
        tracing::error!("{text}");
    } else {
        tracing::error!(
            "{text}; `LengthPrefixed` carries any bytes, and `reject_with` tells the peer"
        );
    }
    text
}

/// Logs a panic of `what`. Its text may quote other peers, so they do not receive it.
pub(super) fn log_panic(what: &str, payload: Payload) {
    let text = panic_text(payload);
    let text = Escaped::all(text.as_bytes());
    tracing::error!(panic = %text, "{what} panicked");
}

/// Logs why the connection closes where the framing has no control frames, and the protocol no message for
/// it.
fn log_unsent(reason: &dyn fmt::Display) {
    tracing::info!(%reason, "closing the connection without a message");
}
