//! From bytes to a function and its reply: the next request is parsed, decoded and processed.
//!
//! Also what is said when there is no reply: for frames that are not requests, functions that are
//! dropped, and panics.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{config::Limit, shared::Shared},
    io::{Gone, Interrupt, Io},
    respond::{Flow, Occasion, PeerKind, Responder, going_away},
};
use crate::{
    ConnectionInfo, Context, FrameError, Framing, Rejection, RejectionKind, ServerProtocol, Side,
    buffer::{Frames, ReadAhead, ReadBuffer, WriteBuffer},
    format,
    framing::{FrameKind, seems_other_protocol, too_large},
    panics::{Payload, panic_text},
    rejection::Escaped,
};

/// What a function borrows of its connection.
pub(super) struct Exchange<P: ServerProtocol> {
    pub(super) shared: Arc<Shared<P>>,
    info: ConnectionInfo,
    session: P::Session,
}

/// Why no more requests are processed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// More bytes are needed.
    NeedMore,
    /// So much is written that it should be sent.
    Full,
    /// The time of this poll is over.
    Spent,
    /// The connection closes.
    Close,
}

/// What is to be done for the next request.
enum Step<F> {
    /// The function is called.
    Call(F),
    /// It was rejected.
    Said(Flow),
    /// There is none.
    Pause(Pause),
}

/// Processes requests with a function that may wait.
///
/// Meanwhile the replies before its own are sent, and the peer is watched.
pub(super) async fn process<P, S>(
    exchange: &mut Exchange<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'_>,
    ahead: &mut ReadAhead,
    write: &mut WriteBuffer,
) -> Result<Pause, Gone>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let has_ended = frames.has_ended();
    loop {
        let processed = match step(exchange, responder, io, frames, write) {
            Step::Call(function) => {
                let mut function = pin!(function);
                poll_fn(|cx| match function.as_mut().poll(cx) {
                    Poll::Ready(result) => Poll::Ready(Ok(Ok(responder.respond(write, result)))),
                    Poll::Pending => io
                        .poll_meanwhile(has_ended, ahead, write, responder.unsent(), cx)
                        .map_ok(Err),
                })
                .await?
            }
            Step::Said(flow) => Ok(flow),
            Step::Pause(pause) => return Ok(pause),
        };
        io.function_ended();
        // A function that is interrupted is dropped before it is answered for: were its drop to
        // panic later, its request would be answered twice.
        let flow = match processed {
            Ok(flow) => flow,
            Err(interrupt) => exchange.interrupted(responder, write, interrupt),
        };
        if let Some(pause) = exchange.after(responder, write, flow) {
            return Ok(pause);
        }
    }
}

/// Processes requests with a function that never waits, without room for its future.
#[inline(never)]
pub(super) fn process_ready<P: ServerProtocol, S>(
    exchange: &mut Exchange<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'_>,
    write: &mut WriteBuffer,
) -> Pause {
    loop {
        let flow = match step(exchange, responder, io, frames, write) {
            Step::Call(function) => {
                let mut cx = TaskContext::from_waker(Waker::noop());
                match pin!(function).poll(&mut cx) {
                    Poll::Ready(result) => responder.respond(write, result),
                    Poll::Pending => responder.say(write, must_not_wait()),
                }
            }
            Step::Said(flow) => flow,
            Step::Pause(pause) => return pause,
        };
        if let Some(pause) = exchange.after(responder, write, flow) {
            return pause;
        }
    }
}

/// Takes the next request off the bytes that have arrived, and begins to process it.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is the loop; outlined, it costs a sixth more"
)]
fn step<'a, 'b: 'a, P: ServerProtocol, S>(
    exchange: &'a mut Exchange<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'b>,
    write: &mut WriteBuffer,
) -> Step<impl Future<Output = Result<P::Reply<'a>, Rejection>> + Send + use<'a, 'b, P, S>> {
    // A typed framing can find messages that need no bytes of their own.
    let may_follow = P::Framing::TYPED || !frames.is_empty();
    if io.budget.is_due() && may_follow && io.is_budget_spent() {
        return Step::Pause(Pause::Spent);
    }
    let frame = match exchange.next_request(io, responder, frames, write) {
        Ok(frame) => frame,
        Err(pause) => return Step::Pause(pause),
    };
    io.budget.count(!frames.is_empty());
    match format::read::<P::Format, P::Request<'a>, _>(frame, responder.framing()) {
        Ok(request) => {
            let Exchange {
                shared,
                info,
                session,
            } = exchange;
            let context = Context::new(info, session);
            Step::Call(shared.protocol.process_request(context, request))
        }
        Err(error) => {
            let rejection = Rejection::bad_request(error.to_string());
            Step::Said(responder.say(write, Occasion::Request(rejection)))
        }
    }
}

impl<P: ServerProtocol> Exchange<P> {
    pub(super) fn new(shared: Arc<Shared<P>>, info: ConnectionInfo) -> Self {
        Self {
            session: shared.protocol.open_session(info.peer()),
            shared,
            info,
        }
    }

    /// Writes the greeting, if the protocol has one.
    pub(super) fn greet(&mut self, responder: &mut Responder<P>, write: &mut WriteBuffer) -> Flow {
        let Self {
            shared,
            info,
            session,
        } = self;
        match shared.protocol.greeting(info.peer(), session) {
            Some(greeting) => responder.greet(write, greeting),
            None => Flow::Continue(()),
        }
    }

    /// Takes the next request off the bytes that have arrived.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a sixth more"
    )]
    fn next_request<'b, S>(
        &self,
        io: &Io<S>,
        responder: &mut Responder<P>,
        frames: &mut Frames<'b>,
        write: &mut WriteBuffer,
    ) -> Result<&'b [u8], Pause> {
        loop {
            let input = frames.input(self.shared.limits.frame_len, Side::Server);
            // Messages come first and by themselves, so that what their framing has found out about
            // them is not looked at again.
            let parsed = match responder.framing().parse(input) {
                Ok(Some(parsed))
                    if parsed.kind == FrameKind::Message
                        && (parsed.consumed > 0 || P::Framing::TYPED) =>
                {
                    let frame = frames.take(input, parsed);
                    self.receive(io);
                    return Ok(frame);
                }
                Ok(None) if frames.has_ended() => return Err(Pause::Close),
                Ok(None) => return Err(Pause::NeedMore),
                Ok(Some(parsed)) if parsed.consumed > 0 || P::Framing::TYPED => parsed,
                Ok(Some(_)) => {
                    return Err(self.reject(
                        io,
                        responder,
                        write,
                        &nothing_parsed(),
                        input.bytes(),
                    ));
                }
                Err(error) => {
                    return Err(self.reject(io, responder, write, &error, input.bytes()));
                }
            };
            let (kind, length) = (parsed.kind, parsed.frame.len());
            frames.take(input, parsed);
            if self
                .handle_unusual(io, responder, write, kind, length)
                .is_break()
            {
                return Err(Pause::Close);
            }
        }
    }

    /// Handles a frame that is not a message within the limit: a control frame or an oversized
    /// message.
    #[cold]
    fn handle_unusual<S>(
        &self,
        io: &Io<S>,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        kind: FrameKind,
        length: usize,
    ) -> Flow {
        let occasion = match kind {
            FrameKind::Message | FrameKind::Control(0x80..) => return Flow::Continue(()),
            FrameKind::TooLarge => {
                let text = too_large(length, self.shared.limits.frame_len);
                Occasion::Request(Rejection::new(RejectionKind::TooLarge, text))
            }
            FrameKind::Control(code) => {
                self.reject(io, responder, write, &control_frame_of_a_client(code), &[]);
                return Flow::Break(());
            }
        };
        self.receive(io);
        let flow = responder.say(write, occasion);
        self.close_after_first(responder, write, flow)
    }

    /// Closes a connection whose bytes are not frames.
    #[cold]
    fn reject<S>(
        &self,
        io: &Io<S>,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        error: &FrameError,
        unread: &[u8],
    ) -> Pause {
        self.receive(io);
        let peer = if error.is_other_protocol() {
            PeerKind::Other
        } else {
            peer_kind(io, unread)
        };
        let _: Flow = responder.say(write, Occasion::BadFrame(error, peer));
        Pause::Close
    }

    /// Counts a request, or what arrived in its place.
    #[inline]
    fn receive<S>(&self, io: &Io<S>) {
        io.tally().receive();
        if self.shared.is_once() {
            self.shared.listener().close();
        }
    }

    /// Returns why no more requests are processed after a response, if so.
    #[inline]
    fn after(
        &self,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        flow: Flow,
    ) -> Option<Pause> {
        if self.close_after_first(responder, write, flow).is_break() {
            Some(Pause::Close)
        } else if write.is_full() {
            Some(Pause::Full)
        } else {
            None
        }
    }

    /// Closes the connection after the first response, if the server gives only one.
    #[inline]
    fn close_after_first(
        &self,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        flow: Flow,
    ) -> Flow {
        if flow.is_continue() && self.shared.is_once() {
            return responder.say(
                write,
                Occasion::LastReply("this server answers one request"),
            );
        }
        flow
    }

    /// Answers for a function that was dropped while it waited.
    #[cold]
    fn interrupted(
        &self,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        interrupt: Interrupt,
    ) -> Flow {
        let limits = &self.shared.limits;
        match interrupt {
            Interrupt::TimedOut => {
                let text = format!("no reply within {} (`request_timeout`)", limits.request);
                responder.say(write, timed_out(text))?;
                close_if_session_poisoned(responder, write)
            }
            Interrupt::HalfClosed => {
                let limit = limits.half_close;
                let text = format!(
                    "no reply within {limit} after the end of the input (`half_close_timeout`)"
                );
                responder.say(write, timed_out(text))?;
                Flow::Break(())
            }
            // Not counted: it is among the requests that were cut.
            Interrupt::Aborted => {
                let failed = "the server ended before the reply";
                let failed = Rejection::new(RejectionKind::Failed, failed);
                let _: Flow = responder.say(write, Occasion::Closing(failed, PeerKind::Ours));
                // Without rejection frames that was the last word.
                responder.say(write, Occasion::LastReply("the server ended"))
            }
        }
    }

    /// Ends the wait for a request, or for the rest of one.
    #[cold]
    pub(super) fn expired<S>(
        &self,
        io: &Io<S>,
        responder: &mut Responder<P>,
        read: &ReadBuffer,
        write: &mut WriteBuffer,
    ) -> Flow {
        let is_idle = !read.has_started();
        // The rest of a message that is skipped is not a request of its own.
        let is_request = !is_idle && !read.is_skipping();
        if is_request {
            self.receive(io);
        }
        let unread = read.input(self.shared.limits.frame_len, Side::Server);
        let peer = peer_kind(io, unread.bytes());
        let occasion = if is_idle {
            Occasion::Closing(idle(self.shared.limits.idle), peer)
        } else {
            let unfinished = unfinished(io.frame_limit(read), io.is_draining());
            if is_request {
                Occasion::Unfinished(unfinished, peer)
            } else {
                Occasion::Closing(unfinished, peer)
            }
        };
        responder.say(write, occasion)
    }

    /// Answers for a function that panicked.
    #[cold]
    pub(super) fn recover_from_panic<S>(
        &self,
        io: &Io<S>,
        responder: &mut Responder<P>,
        write: &mut WriteBuffer,
        payload: Payload,
    ) -> Flow {
        log_panic(payload);
        write.prepare();
        if responder.unsent().sum() == io.tally().unanswered() {
            // No request was being processed: it was the framing, which would panic again.
            let failed = going_away("the server failed");
            return responder.say(write, Occasion::Closing(failed, PeerKind::Ours));
        }
        let failed = Rejection::new(RejectionKind::Failed, "the function panicked");
        responder.say(write, Occasion::Request(failed))?;
        close_if_session_poisoned(responder, write)?;
        self.close_after_first(responder, write, Flow::Continue(()))
    }
}

fn must_not_wait() -> Occasion<'static> {
    let text = "the function waits, and its protocol says that it does not (`WAITS`)";
    Occasion::Request(Rejection::new(RejectionKind::Failed, text))
}

/// Closes the connection after a function that did not end, if it has a session: that may be half
/// changed.
fn close_if_session_poisoned<P: ServerProtocol>(
    responder: &mut Responder<P>,
    write: &mut WriteBuffer,
) -> Flow {
    if size_of::<P::Session>() == 0 {
        return Flow::Continue(());
    }
    let lost = going_away("the session was lost with the failed request");
    responder.say(write, Occasion::Closing(lost, PeerKind::Ours))
}

/// Returns what kind of peer sent `unread`, for which its connection closes.
fn peer_kind<S>(io: &Io<S>, unread: &[u8]) -> PeerKind {
    let is_first = io.tally().requests().received <= 1;
    if is_first && seems_other_protocol(unread) {
        return PeerKind::Other;
    }
    PeerKind::Ours
}

fn timed_out(text: String) -> Occasion<'static> {
    Occasion::Request(Rejection::new(RejectionKind::TimedOut, text))
}

fn idle(limit: Limit) -> Rejection {
    let text = format!("nothing arrived for {limit} (`idle_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}

fn unfinished(limit: Limit, is_draining: bool) -> Rejection {
    if is_draining {
        return going_away("the server is stopping, and the frame was not complete");
    }
    let text = format!("the frame was not complete after {limit} (`frame_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}

fn control_frame_of_a_client(code: u8) -> FrameError {
    FrameError::malformed(format_args!(
        "a control frame of kind {code:#04x}, which clients do not send"
    ))
}

/// Such a framing would find the same frame for ever.
#[cold]
fn nothing_parsed() -> FrameError {
    FrameError::malformed("a frame of no bytes, found by the server's framing")
}

/// Logs what a panic says. It may quote the peer, so it is not sent.
fn log_panic(payload: Payload) {
    let text = panic_text(payload);
    let text = Escaped(text.as_bytes(), text.len());
    tracing::error!(panic = %text, "a protocol function panicked");
}
