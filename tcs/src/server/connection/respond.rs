//! Writes rejections, and replies after which the connection does not simply continue. The drivers write ordinary replies.
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
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    end::End,
    io::{Io, Running},
    rejections::{TLS_BESIDE_OTHERS, going_away},
};
use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{EncodedMessage, ReadBuffer, WriteBuffer},
    format::{After, Encode, EncodeError, EncodeOutcome, Writer},
    framing::{ConnectionFraming, FrameError, Framing, OtherProtocol, Side},
    panics::{Payload, panic_text},
    protocol::{ServerProtocol, has_one_exchange, is_concurrent},
    server::{
        log_limiter::{LogLimiter, log_limited, log_panic},
        metrics::count_rejection,
        registry::AbortReason,
        shared::Shared,
    },
    text::{Escaped, MAX_SHOWN},
    transport::is_over_tls,
};

/// The outgoing side of a connection: what it needs to write and count responses.
pub(super) struct Responder<'a, P: ServerProtocol> {
    pub(super) shared: &'a Shared<P>,
    pub(super) info: &'a ConnectionInfo,
    pub(super) framing: &'a mut ConnectionFraming<P::Framing>,
    pub(super) write: &'a mut WriteBuffer,
    pub(super) io: &'a mut Io,
}

impl<P: ServerProtocol> Responder<'_, P> {
    /// Writes the greeting.
    pub(super) fn greet(&mut self, greeting: impl Encode<P::Format>) -> Result<(), End> {
        self.write.prepare();
        let Err(EncodedMessage { outcome, after }) = self.message(|out| greeting.encode(out))
        else {
            return Ok(());
        };
        let why = match outcome {
            EncodeOutcome::Written(_) => "this was the greeting of a server that closes".to_owned(),
            EncodeOutcome::Nothing if after == After::Continue => return Ok(()),
            EncodeOutcome::Nothing => return Err(End::Closed),
            EncodeOutcome::Error(text) => text,
            EncodeOutcome::Unencodable(error) => self.cannot_encode("greeting", &error),
            EncodeOutcome::Unsendable(error) => {
                self.unsendable("greeting", error).text().to_owned()
            }
        };
        self.close_with(&going_away(&why));
        Err(End::Closed)
    }

    /// Responds to a request whose reply is not an ordinary message. `is_last`: nothing has arrived after the request.
    #[cold]
    pub(super) fn exceptional_reply(
        &mut self,
        reply: EncodedMessage,
        is_last: bool,
    ) -> Result<(), End> {
        let EncodedMessage { outcome, after } = reply;
        let failed = |why| Rejection::new(RejectionKind::Failed, why);
        let rejection = match outcome {
            EncodeOutcome::Written(start) if after == After::StartTls => {
                return self.start_tls_after_reply(start, is_last);
            }
            EncodeOutcome::Written(_) => {
                self.io.unsent.served += 1;
                return self.close_after_reply();
            }
            EncodeOutcome::Nothing => {
                self.io.unsent.served += 1;
                if after != After::Continue {
                    // A final rejection would say that this request was not executed.
                    return Err(End::Closed);
                }
                return self.after_response();
            }
            EncodeOutcome::Error(text) => Rejection::error(text),
            EncodeOutcome::Unencodable(error) => failed(self.cannot_encode("reply", &error)),
            EncodeOutcome::Unsendable(error) => self.unsendable("reply", error),
        };
        self.reject(&rejection)?;
        if after == After::Close {
            return self.close_after_reply();
        }
        Ok(())
    }

    /// Continues over TLS after the reply at `start` of the write buffer, or rejects its request and closes.
    fn start_tls_after_reply(&mut self, start: usize, is_last: bool) -> Result<(), End> {
        let why = if P::Framing::HAS_IDS && !is_last {
            // Requests that have arrived after it are dropped, and the client would wait for their replies.
            TLS_BESIDE_OTHERS
        } else if self.shared.start_tls.is_none() {
            "the server has no TLS to start; it is set with `start_tls`"
        } else if is_over_tls(self.info.peer()) {
            "the connection is over TLS already"
        } else if self.shared.is_once || has_one_exchange::<P>() {
            "the connection has one exchange"
        } else if self.io.registration.tally().received()
            >= self.shared.limits.max_requests_per_connection
        {
            "this is the last request of the connection (`max_requests_per_connection`)"
        } else {
            self.io.unsent.served += 1;
            return Err(End::StartTls);
        };
        log_limited!(self.log_limiter(), error, { reason = why, }, "TLS cannot start");
        // The peer would begin its handshake after this reply.
        self.write.remove_from(start);
        self.reject(&Rejection::new(RejectionKind::Failed, why))?;
        self.close_with_frame(&going_away("TLS did not start"));
        Err(End::Closed)
    }

    /// Responds to a request with a rejection.
    #[cold]
    pub(super) fn reject(&mut self, rejection: &Rejection) -> Result<(), End> {
        let kind = rejection.kind();
        count_rejection(kind);
        // A final frame answers this request and all after it, so nothing else is written.
        if kind.is_final() {
            self.io.unsent.count(kind);
            self.close_with(rejection);
            return Err(End::Closed);
        }
        let written = self.write_rejection(rejection);
        let is_error = kind == RejectionKind::Error;
        let Some(EncodedMessage { outcome, after }) = written else {
            if is_error {
                return self.error_as_reply(rejection);
            }
            self.io.unsent.count(kind);
            self.log_unsent(rejection);
            // Without a response to this request, the peer would match the next reply to it.
            return Err(End::Closed);
        };
        let is_told = matches!(outcome, EncodeOutcome::Written(_) | EncodeOutcome::Nothing);
        let counted = if is_error && !is_told {
            RejectionKind::Failed
        } else {
            kind
        };
        self.io.unsent.count(counted);
        match outcome {
            _ if is_told && after == After::Continue => {
                tracing::debug!(reason = %rejection, "answered with a rejection");
                self.after_response()
            }
            EncodeOutcome::Written(_) => self.close_after_reply(),
            _ => Err(End::Closed),
        }
    }

    /// Sends the text of a function's error as its reply, where the framing has no control frames.
    fn error_as_reply(&mut self, rejection: &Rejection) -> Result<(), End> {
        if P::Framing::HAS_VALUES {
            self.log_unsent(rejection);
            self.io.unsent.failed += 1;
            return Err(End::Closed);
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
            log_limited!(self.log_limiter(), error, { reason = %rejection, }, "this framing cannot carry the text of an error; return a message for it from `reject_with`");
            self.io.unsent.failed += 1;
            return Err(End::Closed);
        }
        self.io.unsent.served += 1;
        self.after_response()
    }

    /// Writes why the server closes the connection.
    fn close_with(&mut self, rejection: &Rejection) {
        tracing::debug!(reason = %rejection, "closing the connection");
        self.write_rejection(rejection);
    }

    /// Writes why the server closes the connection, if the framing has a frame for it.
    pub(super) fn close_with_frame(&mut self, rejection: &Rejection) {
        tracing::debug!(reason = %rejection, "closing the connection");
        self.write.append(|out| self.framing.reject(out, rejection));
    }

    /// Returns an error if the connection closes after a response: in a once server, and after the last request that a
    /// connection may have.
    #[cold]
    pub(super) fn after_response(&mut self) -> Result<(), End> {
        if is_concurrent::<P>() && self.io.unsent.sum() < self.io.registration.tally().unanswered()
        {
            // Other requests are in flight, and the last of them decides.
            return Ok(());
        }
        if has_one_exchange::<P>() {
            return Err(End::Closed);
        }
        if self.shared.is_once {
            self.close_with_frame(&going_away("this server answers one request"));
            return Err(End::Closed);
        }
        let most = self.shared.limits.max_requests_per_connection;
        if self.io.registration.tally().received() >= most {
            let text =
                format!("the connection had {most} requests (`max_requests_per_connection`)");
            self.close_with_frame(&going_away(&text));
            return Err(End::Closed);
        }
        Ok(())
    }

    /// Closes the connection, as the protocol function or its reply asks.
    pub(super) fn close_after_reply(&mut self) -> Result<(), End> {
        // The frames of other framings are messages of the protocol, which has sent its last one.
        if P::Framing::HAS_REJECTION_FRAME {
            self.close_with_frame(&going_away("this was the last reply"));
        }
        Err(End::Closed)
    }

    /// Closes the connection if it has a session: a function that did not return may have changed a part of it.
    fn close_if_session_poisoned(&mut self) -> Result<(), End> {
        if size_of::<P::Session>() == 0 {
            return Ok(());
        }
        self.close_with(&going_away("the session was lost with the failed request"));
        Err(End::Closed)
    }
}

/// Responses to events.
impl<P: ServerProtocol> Responder<'_, P> {
    /// Responds to bytes that are not a frame, in the terms of the protocol that the peer speaks. The connection then closes.
    #[cold]
    pub(super) fn bad_frame(&mut self, error: &FrameError, unread: &[u8]) {
        self.set_no_id();
        let rejection = error.rejection().of_request::<P::Framing>(unread);
        self.io.unsent.count(rejection.kind());
        count_rejection(rejection.kind());
        // The server's framing has failed, or has no memory.
        let is_ours = !rejection.kind().is_final();
        // A peer of another protocol would take the protocol's message for a reply.
        let is_other = !is_ours && (error.is_other_protocol() || self.seems_other(unread));
        let is_written = self
            .write
            .append(|out| self.framing.answer_error(out, error))
            || !is_other && self.write_rejection(&rejection).is_some();
        if is_ours {
            log_limited!(self.log_limiter(), error, { reason = %error, }, "the framing failed");
            self.close_with_frame(&going_away("the server failed"));
        } else if is_written {
            tracing::debug!(reason = %error, "the peer sent no valid frame");
        } else {
            self.log_unsent(error);
        }
    }

    /// Responds to a request whose function was dropped because the server ends the connection at once. Not counted: the
    /// request is among those that were aborted.
    #[cold]
    pub(super) fn aborted(&mut self, reason: AbortReason) -> Result<(), End> {
        self.function_dropped(reason.text());
        // The frame above is not final, so framings with control frames send a final one as well.
        self.close_with_frame(&going_away(reason.text()));
        Err(End::Closed)
    }

    /// Rejects a request whose function was dropped. The rejection is not final: a final one says that no other request was
    /// executed.
    #[cold]
    pub(super) fn function_dropped(&mut self, why: &str) {
        let text = format!("{why} before the reply");
        self.close_with(&Rejection::new(RejectionKind::Failed, text));
    }

    /// Rejects a request whose function was dropped. Without a session, the connection continues.
    pub(super) fn reject_dropped(&mut self, rejection: &Rejection) -> Result<(), End> {
        self.reject(rejection)?;
        self.close_if_session_poisoned()
    }

    /// Writes why the connection stops waiting for a request, or for the rest of one, which is in `read`.
    #[cold]
    pub(super) fn wait_ended(&mut self, read: &ReadBuffer, why: Rejection) {
        self.set_no_id();
        count_rejection(why.kind());
        let unread = read.input(self.shared.limits.max_frame_len, Side::Server);
        let rejection = why.of_request::<P::Framing>(unread.bytes());
        if self.seems_other(unread.bytes()) {
            self.close_with_frame(&rejection);
        } else {
            self.close_with(&rejection);
        }
        if !rejection.kind().is_final() {
            self.close_with_frame(&going_away("the rest of the frame was not read"));
        }
    }

    /// Clears the id of the frames written from now on. Otherwise, it is the id of the last response.
    fn set_no_id(&mut self) {
        if P::Framing::HAS_IDS {
            self.framing.get_mut().set_id(0);
        }
    }

    /// Responds to the request whose processing panicked.
    #[cold]
    pub(super) fn panicked(&mut self, payload: Payload) -> Result<(), End> {
        let after = self.write.after();
        self.write.prepare();
        let is_idle = self.io.unsent.sum() == self.io.registration.tally().unanswered();
        // The panics of functions that run side by side were caught one by one.
        if self.io.running == Running::Concurrent || is_idle {
            // No request was being processed, so the framing has panicked, and would panic again.
            log_panic(self.log_limiter(), "the framing", payload);
            if is_idle {
                self.close_with(&going_away("the server failed"));
            }
            return Err(End::Closed);
        }
        let rejection = self.function_panicked(payload);
        self.reject(&rejection)?;
        if after != After::Continue {
            return self.close_after_reply();
        }
        self.close_if_session_poisoned()
    }

    /// Responds to a request whose function waits although its protocol says that it never does.
    #[cold]
    pub(super) fn must_not_wait(&mut self) -> Result<(), End> {
        let text = "the function waits, and its protocol says that it does not (`WAITS`)";
        self.reject(&Rejection::new(RejectionKind::Failed, text))?;
        self.close_if_session_poisoned()
    }

    /// Returns `true` if the peer has sent nothing but bytes that look like another protocol.
    fn seems_other(&self, unread: &[u8]) -> bool {
        // A framing without detection may be for that very protocol, unless it is a codec.
        (P::Framing::DETECTION.is_on || P::Framing::HAS_VALUES)
            && self.io.registration.tally().received() <= 1
            && OtherProtocol::guess(unread).is_some()
    }
}

/// Writing frames.
impl<P: ServerProtocol> Responder<'_, P> {
    /// Frames the message that `encode` writes.
    fn message(
        &mut self,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodedMessage> {
        let limit = self.shared.limits.reply_len();
        self.write.message(self.framing.get_mut(), limit, encode)
    }

    /// Writes a rejection. Returns `None` if there is no frame or message for it.
    fn write_rejection(&mut self, rejection: &Rejection) -> Option<EncodedMessage> {
        let log_limiter = self.io.registration.log_limiter();
        write_rejection(
            self.shared,
            self.framing,
            self.write,
            log_limiter,
            rejection,
        )
    }
}

/// Logging. Peers can cause these lines, so they are limited.
impl<P: ServerProtocol> Responder<'_, P> {
    pub(super) fn log_limiter(&self) -> &LogLimiter {
        self.io.registration.log_limiter()
    }

    /// Logs why a value cannot be encoded. Returns a text for the peer, without the cause.
    fn cannot_encode(&self, what: &'static str, error: &EncodeError) -> String {
        log_limited!(self.log_limiter(), error, what, { %error, }, "a {what} cannot be encoded");
        format!("the {what} cannot be encoded")
    }

    /// Logs why a message cannot be sent, and what can carry it. Returns the rejection of its request.
    pub(super) fn unsendable(&self, what: &str, error: FrameError) -> Rejection {
        let text = format!("the {what} cannot be sent: {}", error.of_reply());
        let advice = if P::Framing::HAS_REJECTION_FRAME {
            ""
        } else {
            "; `LengthPrefixed` carries any bytes, `CrlfText` text of many lines, and `reject_with` tells the peer"
        };
        log_limited!(self.log_limiter(), error, {}, "{text}{advice}");
        Rejection::new(RejectionKind::Failed, text)
    }

    /// Logs the panic of a function. Returns the rejection of its request.
    pub(super) fn function_panicked(&self, payload: Payload) -> Rejection {
        log_panic(self.log_limiter(), "the processing of a request", payload);
        Rejection::new(RejectionKind::Failed, "the function panicked")
    }

    /// Logs why the connection closes where the framing has no control frames, and the protocol no message for
    /// it.
    fn log_unsent(&self, reason: &dyn fmt::Display) {
        log_limited!(self.log_limiter(), info, { %reason, }, "closing the connection without a message");
    }
}

/// Writes a rejection as the framing's frame for it, or as the protocol's message. Returns `None` if there is neither.
/// Catches a panic of the protocol.
fn write_rejection<P: ServerProtocol>(
    shared: &Shared<P>,
    framing: &mut ConnectionFraming<P::Framing>,
    write: &mut WriteBuffer,
    log_limiter: &LogLimiter,
    rejection: &Rejection,
) -> Option<EncodedMessage> {
    let start = write.end();
    if write.append(|out| framing.reject(out, rejection)) {
        return Some(EncodedMessage::written(start));
    }
    let written = catch_unwind(AssertUnwindSafe(|| {
        write.prepare();
        let message = shared.protocol.reject_with(rejection)?;
        let limit = shared.limits.reply_len();
        let encoded = write.message(framing.get_mut(), limit, |out| message.encode(out));
        Some(encoded.err().unwrap_or(EncodedMessage::written(start)))
    }));
    let encoded = written.unwrap_or_else(|payload| {
        write.prepare();
        let text = format!("panic: {}", panic_text(payload));
        Some(EncodedMessage {
            outcome: EncodeOutcome::Error(text),
            after: After::Continue,
        })
    })?;
    let why = match &encoded.outcome {
        EncodeOutcome::Written(_) | EncodeOutcome::Nothing => return Some(encoded),
        EncodeOutcome::Error(text) => text.clone(),
        EncodeOutcome::Unencodable(error) => error.to_string(),
        EncodeOutcome::Unsendable(error) => error.clone().of_reply().to_string(),
    };
    let why = Escaped::up_to(why.as_bytes(), MAX_SHOWN);
    log_limited!(log_limiter, error, { reason = %rejection, %why, }, "`reject_with` did not produce a message that can be sent");
    Some(encoded)
}

/// Returns the frames that reject a connection before it is served.
///
/// Catches a panic of the protocol, because the accept loop of all connections calls it.
#[cold]
pub(in crate::server) fn rejection_frames<P: ServerProtocol>(
    shared: &Shared<P>,
    rejection: &Rejection,
    log_limiter: &LogLimiter,
) -> WriteBuffer {
    let frames = catch_unwind(AssertUnwindSafe(|| {
        let mut write = WriteBuffer::default();
        let mut framing = ConnectionFraming::new(shared.protocol.framing());
        write_rejection(shared, &mut framing, &mut write, log_limiter, rejection);
        write
    }));
    frames.unwrap_or_else(|payload| {
        log_panic(log_limiter, "the framing", payload);
        WriteBuffer::default()
    })
}
