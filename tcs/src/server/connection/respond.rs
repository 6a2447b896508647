//! Writes to a peer: replies, and rejections for each occasion.

use std::{
    fmt,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use super::{
    super::{
        report::{Tally, Unsent},
        shared::Shared,
    },
    io::{Interrupt, WaitEnd, frame_limit},
};
use crate::{
    Rejection, RejectionKind,
    buffer::{ReadBuffer, Unusual, WriteBuffer},
    format::{Encode, EncodeError, Writer},
    framing::{FirstFrame, FrameError, Framing, Side, seems_other_protocol},
    panics::{Payload, panic_text},
    protocol::ServerProtocol,
    rejection::Escaped,
};

/// Whether the connection goes on (`Continue`) or closes (`Break`).
pub(super) type Flow = ControlFlow<()>;

/// Encodes and frames what is sent to a peer, and counts the responses that are not sent yet.
///
/// The framing is here, although it also parses requests: while a function runs it borrows the
/// [`Callee`], and its reply needs the framing. The write buffer is not here, because a connection that
/// waits for a request has none.
///
/// [`Callee`]: super::dispatch::Callee
pub(super) struct Responder<P: ServerProtocol> {
    shared: Arc<Shared<P>>,
    framing: FirstFrame<P::Framing>,
    unsent: Unsent,
}

/// Why a rejection is written. It decides how the rejection is encoded and counted.
///
/// A rejection is written as the framing's rejection frame. Where the framing has none, it is written as
/// the protocol's message for it (`ServerProtocol::reject_with`), if there is one:
///
/// | occasion | the protocol's message | counts as a response | the connection |
/// |---|---|---|---|
/// | `Request` | yes | by its kind | goes on if something was written, unless the kind is final |
/// | `Closing` | to peers of ours | no | closes |
/// | `LastReply` | no: the peer would take it for one more reply | no | closes |
#[derive(Debug)]
pub(super) enum Occasion {
    /// A request is rejected, or its function failed.
    Request(Rejection),
    /// The server closes the connection.
    Closing(Rejection, PeerKind),
    /// The server closes the connection after the reply just written.
    LastReply(&'static str),
}

/// Whether a peer understands messages of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerKind {
    Ours,
    /// All that it has sent looks like another protocol.
    Other,
}

/// The result of writing a rejection as the protocol's message for it.
#[derive(Debug, PartialEq, Eq)]
enum ProtocolRejection {
    /// The protocol has no message for it.
    None,
    /// It is written, or the protocol chose to send nothing.
    Written,
    /// It is written, and the connection closes after it.
    Last,
    /// It cannot be sent.
    Failed,
}

impl<P: ServerProtocol> Responder<P> {
    pub(super) fn new(shared: Arc<Shared<P>>) -> Self {
        Self {
            framing: FirstFrame::new(shared.protocol.framing()),
            shared,
            unsent: Unsent::default(),
        }
    }

    /// Returns the responses that are written and not sent.
    #[inline]
    pub(super) fn unsent(&mut self) -> &mut Unsent {
        &mut self.unsent
    }

    #[inline]
    pub(super) fn frame_len(&self) -> usize {
        self.shared.limits.frame_len
    }

    #[inline]
    pub(super) fn framing(&mut self) -> &mut FirstFrame<P::Framing> {
        &mut self.framing
    }

    /// Writes the greeting.
    pub(super) fn write_greeting<Format>(
        &mut self,
        write: &mut WriteBuffer,
        greeting: impl Encode<Format>,
    ) -> Flow {
        write.prepare();
        let written = write.message(&mut self.framing, self.shared.limits.frame_len, |out| {
            greeting.encode(out)
        });
        let why = match written {
            Ok(()) | Err(Unusual::Nothing { closes: false }) => return Flow::Continue(()),
            Err(Unusual::Last | Unusual::Nothing { closes: true }) => return Flow::Break(()),
            Err(Unusual::Error { text, .. }) => text,
            Err(Unusual::Encode { error, .. }) => cannot_encode("greeting", &error),
            Err(Unusual::Frame { error, .. }) => cannot_send::<P::Framing>("greeting", &error),
        };
        self.write_rejection(write, Occasion::Closing(going_away(&why), PeerKind::Ours))
    }

    /// Writes the response to a request.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a fifth more"
    )]
    pub(super) fn respond<Format>(
        &mut self,
        write: &mut WriteBuffer,
        result: Result<impl Encode<Format>, Rejection>,
    ) -> Flow {
        let reply = match result {
            Ok(reply) => reply,
            Err(rejection) => return self.write_rejection(write, Occasion::Request(rejection)),
        };
        let written = write.message(&mut self.framing, self.shared.limits.frame_len, |out| {
            reply.encode(out)
        });
        match written {
            Ok(()) => {
                self.unsent.served += 1;
                after_response::<P::Framing>()
            }
            Err(unusual) => self.respond_unusual(write, unusual),
        }
    }

    /// Responds to a request with something other than one ordinary reply.
    #[cold]
    fn respond_unusual(&mut self, write: &mut WriteBuffer, unusual: Unusual) -> Flow {
        let failed = |why| Rejection::new(RejectionKind::Failed, why);
        let last = Occasion::LastReply("this was the last reply");
        let (rejection, closes) = match unusual {
            Unusual::Nothing { closes: false } => {
                self.unsent.served += 1;
                return after_response::<P::Framing>();
            }
            // A final rejection would say that this request was not executed.
            Unusual::Nothing { closes: true } => {
                self.unsent.served += 1;
                return Flow::Break(());
            }
            Unusual::Last => {
                self.unsent.served += 1;
                return self.write_rejection(write, last);
            }
            Unusual::Error { text, closes } => (Rejection::error(text), closes),
            Unusual::Encode { error, closes } => (failed(cannot_encode("reply", &error)), closes),
            Unusual::Frame { error, closes } => {
                (failed(cannot_send::<P::Framing>("reply", &error)), closes)
            }
        };
        let flow = self.write_rejection(write, Occasion::Request(rejection));
        if !closes || flow.is_break() {
            return flow;
        }
        self.write_rejection(write, last)
    }

    /// Writes a rejection as its [`Occasion`] requires.
    #[cold]
    pub(super) fn write_rejection(&mut self, write: &mut WriteBuffer, occasion: Occasion) -> Flow {
        let (rejection, may_use_message) = match occasion {
            Occasion::Request(rejection) if !rejection.kind().is_final() => {
                return self.reject_request(write, &rejection);
            }
            Occasion::Request(rejection) => {
                self.unsent.count(rejection.kind());
                (rejection, true)
            }
            Occasion::Closing(rejection, peer) => (rejection, peer == PeerKind::Ours),
            Occasion::LastReply(why) => (going_away(why), false),
        };
        tracing::debug!(reason = %rejection, "closing the connection");
        if !write.append(|out| self.framing.reject(out, &rejection)) && may_use_message {
            self.write_protocol_rejection(write, &rejection);
        }
        Flow::Break(())
    }

    /// Responds to a request with a rejection. Closes the connection if there is no frame or message for it.
    fn reject_request(&mut self, write: &mut WriteBuffer, rejection: &Rejection) -> Flow {
        let written = if write.append(|out| self.framing.reject(out, rejection)) {
            ProtocolRejection::Written
        } else {
            self.write_protocol_rejection(write, rejection)
        };
        match (&written, rejection.kind()) {
            (ProtocolRejection::None, RejectionKind::Error) => {
                return self.error_as_reply(write, rejection);
            }
            (ProtocolRejection::Failed, RejectionKind::Error) => {
                self.unsent.count(RejectionKind::Failed);
            }
            (_, kind) => self.unsent.count(kind),
        }
        match written {
            ProtocolRejection::Written => {
                tracing::debug!(reason = %rejection, "answered without a reply");
                after_response::<P::Framing>()
            }
            // If this request got no response, the peer would match the next reply to it.
            ProtocolRejection::None => {
                log_unsent(rejection);
                Flow::Break(())
            }
            ProtocolRejection::Last | ProtocolRejection::Failed => Flow::Break(()),
        }
    }

    /// Writes a rejection as the protocol's message for it. Catches a panic of the protocol.
    fn write_protocol_rejection(
        &mut self,
        write: &mut WriteBuffer,
        rejection: &Rejection,
    ) -> ProtocolRejection {
        let Self {
            shared, framing, ..
        } = self;
        let written = catch_unwind(AssertUnwindSafe(|| {
            write.prepare();
            let message = shared.protocol.reject_with(rejection)?;
            Some(write.message(framing, shared.limits.frame_len, |out| message.encode(out)))
        }));
        if written.is_err() {
            write.prepare();
        }
        ProtocolRejection::of(written, rejection)
    }

    /// Sends the text of a function's error as its reply, where the framing has no rejection frames.
    fn error_as_reply(&mut self, write: &mut WriteBuffer, rejection: &Rejection) -> Flow {
        if P::Framing::TYPED {
            log_unsent(rejection);
            self.unsent.failed += 1;
            return Flow::Break(());
        }
        let mut write_text = |text: &dyn Fn(&mut Writer<'_>)| {
            write.message(&mut self.framing, self.shared.limits.frame_len, |out| {
                text(out);
                Ok(())
            })
        };
        let text = rejection.text().as_bytes();
        let sent = write_text(&|out| out.put(text)).or_else(|_| {
            // It has bytes that the framing cannot carry, such as a line feed.
            write_text(&|out| {
                let _: Result<_, _> =
                    fmt::Write::write_fmt(out, format_args!("{}", Escaped(text, text.len())));
            })
        });
        if sent.is_err() {
            tracing::error!(reason = %rejection, "this framing cannot carry the text of an error; return a message for it from `reject_with`");
            self.unsent.failed += 1;
            return Flow::Break(());
        }
        self.unsent.served += 1;
        after_response::<P::Framing>()
    }

    /// Counts a received request, or a bad frame in its place. Closes the listener of a once server.
    #[inline]
    pub(super) fn begin_request(&self, tally: &Tally) {
        tally.count_received();
        if self.shared.is_once {
            self.shared.listener.close();
        }
    }

    /// Closes the connection after the first response, if the server gives only one.
    #[inline]
    pub(super) fn close_after_first(&mut self, write: &mut WriteBuffer, flow: Flow) -> Flow {
        if flow.is_continue() && self.shared.is_once {
            let last = Occasion::LastReply("this server answers one request");
            return self.write_rejection(write, last);
        }
        flow
    }

    /// Answers bytes that are not a frame: another protocol in its own terms, a peer of ours as for any
    /// other rejection. The connection then closes.
    #[cold]
    pub(super) fn bad_frame(
        &mut self,
        tally: &Tally,
        write: &mut WriteBuffer,
        error: &FrameError,
        unread: &[u8],
    ) {
        self.begin_request(tally);
        self.unsent.rejected += 1;
        let is_ours = !error.is_other_protocol() && peer_kind(tally, unread) == PeerKind::Ours;
        let is_written = write.append(|out| self.framing.answer_error(out, error))
            || is_ours
                && self.write_protocol_rejection(write, &error.rejection())
                    != ProtocolRejection::None;
        if is_written {
            tracing::debug!(reason = %error, "the peer sent no valid frame");
        } else {
            log_unsent(error);
        }
    }

    /// Responds to a request whose function was dropped while it waited.
    #[cold]
    pub(super) fn interrupted(&mut self, write: &mut WriteBuffer, interrupt: Interrupt) -> Flow {
        let limits = &self.shared.limits;
        match interrupt {
            Interrupt::TimedOut => {
                let text = format!("no reply within {} (`request_timeout`)", limits.request);
                self.write_rejection(write, failed_request(RejectionKind::TimedOut, text))?;
                self.close_if_session_poisoned(write)
            }
            Interrupt::HalfClosed => {
                let limit = limits.half_close;
                let text = format!(
                    "no reply within {limit} after the end of the input (`half_close_timeout`)"
                );
                let _: Flow =
                    self.write_rejection(write, failed_request(RejectionKind::TimedOut, text));
                // *Timed out* is not final.
                let closes = "the time after the end of the input is over";
                self.write_rejection(write, Occasion::LastReply(closes))
            }
            // Not counted: it is among the requests that were aborted.
            Interrupt::Aborted => {
                let failed = "the server ended before the reply";
                let failed = Rejection::new(RejectionKind::Failed, failed);
                let _: Flow =
                    self.write_rejection(write, Occasion::Closing(failed, PeerKind::Ours));
                // The frame above is not final, so framings with rejection frames send a final one as well.
                self.write_rejection(write, Occasion::LastReply("the server ended"))
            }
        }
    }

    /// Writes why a connection stops waiting for a request, or for the rest of one.
    #[cold]
    pub(super) fn wait_ended(
        &mut self,
        tally: &Tally,
        read: &ReadBuffer,
        why: WaitEnd,
        write: &mut WriteBuffer,
    ) {
        let is_idle = !read.has_started();
        // A message that is being skipped was rejected before.
        let is_request = !is_idle && !read.is_skipping();
        if is_request {
            self.begin_request(tally);
            self.unsent.rejected += 1;
        }
        let idle = |text| Rejection::new(RejectionKind::Idle, text);
        let rejection = match why {
            WaitEnd::Draining if is_idle => going_away("the server is stopping"),
            WaitEnd::Draining => {
                going_away("the server is stopping, and the frame was not complete")
            }
            WaitEnd::OutOfMemory => {
                Rejection::busy("the server has no memory for a frame of this size")
            }
            WaitEnd::TimedOut if is_idle => {
                let limit = self.shared.limits.idle;
                idle(format!("nothing arrived for {limit} (`idle_timeout`)"))
            }
            WaitEnd::TimedOut => {
                let limit = frame_limit(&self.shared.limits, read);
                idle(format!(
                    "the frame was not complete after {limit} (`frame_timeout`)"
                ))
            }
        };
        let unread = read.input(self.frame_len(), Side::Server);
        let peer = peer_kind(tally, unread.bytes());
        let _: Flow = self.write_rejection(write, Occasion::Closing(rejection, peer));
        if why == WaitEnd::OutOfMemory {
            // *Busy* is not final.
            let closes = Occasion::LastReply("the rest of the frame was not read");
            let _: Flow = self.write_rejection(write, closes);
        }
    }

    /// Responds to a request whose function panicked.
    #[cold]
    pub(super) fn panicked(&mut self, tally: &Tally, write: &mut WriteBuffer) -> Flow {
        write.prepare();
        if self.unsent.sum() == tally.unanswered() {
            // No request was being processed: it was the framing, which would panic again.
            let failed = going_away("the server failed");
            return self.write_rejection(write, Occasion::Closing(failed, PeerKind::Ours));
        }
        self.write_rejection(
            write,
            failed_request(RejectionKind::Failed, "the function panicked"),
        )?;
        self.close_if_session_poisoned(write)?;
        self.close_after_first(write, Flow::Continue(()))
    }

    /// Responds to a request whose function waits although its protocol says that it never does.
    #[cold]
    pub(super) fn must_not_wait(&mut self, write: &mut WriteBuffer) -> Flow {
        let text = "the function waits, and its protocol says that it does not (`WAITS`)";
        self.write_rejection(write, failed_request(RejectionKind::Failed, text))?;
        self.close_if_session_poisoned(write)
    }

    /// Closes the connection if it has a session, which may be half changed by a function that did not
    /// end.
    fn close_if_session_poisoned(&mut self, write: &mut WriteBuffer) -> Flow {
        if size_of::<P::Session>() == 0 {
            return Flow::Continue(());
        }
        let lost = going_away("the session was lost with the failed request");
        self.write_rejection(write, Occasion::Closing(lost, PeerKind::Ours))
    }
}

/// Judges by its `unread` bytes whether a peer speaks our protocol.
fn peer_kind(tally: &Tally, unread: &[u8]) -> PeerKind {
    let is_first = tally.requests().received <= 1;
    if is_first && seems_other_protocol(unread) {
        return PeerKind::Other;
    }
    PeerKind::Ours
}

fn failed_request(kind: RejectionKind, text: impl Into<String>) -> Occasion {
    Occasion::Request(Rejection::new(kind, text))
}

impl ProtocolRejection {
    /// Classifies the result of encoding the message, or the panic it ended in.
    fn of(written: thread::Result<Option<Result<(), Unusual>>>, rejection: &Rejection) -> Self {
        let why = match written {
            Ok(None) => return Self::None,
            Ok(Some(Ok(()) | Err(Unusual::Nothing { closes: false }))) => return Self::Written,
            Ok(Some(Err(Unusual::Last | Unusual::Nothing { closes: true }))) => return Self::Last,
            Ok(Some(Err(Unusual::Error { text, .. }))) => text,
            Ok(Some(Err(Unusual::Encode { error, .. }))) => error.to_string(),
            Ok(Some(Err(Unusual::Frame { error, .. }))) => error.to_string(),
            Err(payload) => format!("panic: {}", panic_text(payload)),
        };
        let why = Escaped(why.as_bytes(), why.len());
        tracing::error!(reason = %rejection, %why, "`reject_with` did not produce a message that can be sent");
        Self::Failed
    }
}

/// Returns whether a connection of this framing goes on after a response.
#[inline]
fn after_response<F: Framing>() -> Flow {
    if F::PERSISTENT {
        Flow::Continue(())
    } else {
        Flow::Break(())
    }
}

/// Returns the final rejection of a server that closes the connection.
pub(super) fn going_away(text: &str) -> Rejection {
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

/// Logs a panic. Its text may quote other peers, so they do not receive it.
pub(super) fn log_panic(payload: Payload) {
    let text = panic_text(payload);
    let text = Escaped(text.as_bytes(), text.len());
    tracing::error!(panic = %text, "a protocol function panicked");
}

/// Logs why the connection closes where the framing has no rejection frames, and the protocol no message for
/// it.
fn log_unsent(reason: &dyn fmt::Display) {
    tracing::info!(%reason, "closing the connection without a message");
}
