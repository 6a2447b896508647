//! Parses and decodes the next request, and calls the function.
//!
//! There are two drivers, because only the future of a function that may wait needs a place in the task.
//! What they share is [`step`].

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{report::Tally, shared::Shared},
    io::{Gone, Interrupt, Io},
    respond::{Flow, Occasion, Responder},
};
use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{Frames, ReadAhead, WriteBuffer},
    format,
    framing::{FrameError, FrameKind, Framing, Side, too_large},
    protocol::{Context, ServerProtocol},
};

/// The protocol whose function is called, and what the function borrows from its connection.
pub(super) struct Callee<P: ServerProtocol> {
    shared: Arc<Shared<P>>,
    info: ConnectionInfo,
    session: P::Session,
}

/// Why no more requests are processed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// More bytes are needed.
    NeedMore,
    /// The write buffer is full and should be flushed.
    Full,
    /// The budget of this poll is spent.
    Spent,
    /// The connection closes.
    Close,
}

/// The outcome of taking the next request.
enum Step<F> {
    /// The future of the function that was called.
    Call(F),
    /// The request was rejected.
    Rejected(Flow),
    /// There is no request to process now.
    Pause(Pause),
}

/// Processes requests with a function that never waits. Its future lives on the stack, so the task
/// needs no room for it.
#[inline(never)]
pub(super) fn process_ready<P: ServerProtocol, S>(
    callee: &mut Callee<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'_>,
    write: &mut WriteBuffer,
) -> Pause {
    loop {
        // Each request has its own, so that a large one does not outlive its request.
        let mut scratch = Vec::new();
        let flow = match step(callee, responder, io, frames, write, &mut scratch) {
            Step::Call(function) => {
                let mut cx = TaskContext::from_waker(Waker::noop());
                // The function is dropped before its request is answered.
                let polled = pin!(function).poll(&mut cx);
                match polled {
                    Poll::Ready(result) => responder.respond(write, result),
                    Poll::Pending => responder.must_not_wait(write),
                }
            }
            Step::Rejected(flow) => flow,
            Step::Pause(pause) => return pause,
        };
        if let Some(pause) = pause_after(responder, write, flow) {
            return pause;
        }
    }
}

/// Processes requests with a function that may wait. While it waits, earlier replies are sent and bytes
/// are read ahead.
pub(super) async fn process_waiting<P: ServerProtocol, S: AsyncRead + AsyncWrite + Unpin>(
    callee: &mut Callee<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'_>,
    ahead: &mut ReadAhead,
    write: &mut WriteBuffer,
) -> Result<Pause, Gone> {
    let has_ended = frames.has_ended();
    loop {
        let mut scratch = Vec::new();
        let result = {
            // Nothing else may hold the future, or the task would have room for two.
            let mut function = pin!(
                match step(callee, responder, io, frames, write, &mut scratch) {
                    Step::Call(function) => function,
                    Step::Rejected(flow) => match pause_after(responder, write, flow) {
                        Some(pause) => return Ok(pause),
                        None => continue,
                    },
                    Step::Pause(pause) => return Ok(pause),
                }
            );
            poll_fn(|cx| match function.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Ok(Ok(result))),
                Poll::Pending => {
                    let unsent = responder.unsent();
                    let interrupt =
                        ready!(io.poll_while_function_waits(has_ended, ahead, write, unsent, cx));
                    io.is_over = !matches!(interrupt, Ok(Interrupt::TimedOut));
                    Poll::Ready(interrupt.map(Err))
                }
            })
            .await?
        };
        io.function_ended();
        // The function is dropped before its request is answered. Its drop may panic, and a panic is
        // answered, too.
        let flow = match result {
            Ok(result) => responder.respond(write, result),
            Err(interrupt) => responder.interrupted(write, interrupt),
        };
        if let Some(pause) = pause_after(responder, write, flow) {
            return Ok(pause);
        }
    }
}

/// Returns why the loop pauses after a response, if it does.
#[inline]
fn pause_after<P: ServerProtocol>(
    responder: &mut Responder<P>,
    write: &mut WriteBuffer,
    flow: Flow,
) -> Option<Pause> {
    if responder.close_after_first(write, flow).is_break() {
        Some(Pause::Close)
    } else {
        write.is_full().then_some(Pause::Full)
    }
}

/// Takes the next request off the read buffer, decodes it and calls the function. The request may also
/// borrow text that its format had to rewrite into `scratch`.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "it is the loop; outlined, it costs a sixth more"
)]
fn step<'a, 'b: 'a, P: ServerProtocol, S>(
    callee: &'a mut Callee<P>,
    responder: &mut Responder<P>,
    io: &mut Io<S>,
    frames: &mut Frames<'b>,
    write: &mut WriteBuffer,
    scratch: &'a mut Vec<u8>,
) -> Step<impl Future<Output = Result<P::Reply<'a>, Rejection>> + Send + use<'a, 'b, P, S>> {
    let frame = match responder.next_request(io, frames, write) {
        Ok(frame) => frame,
        Err(pause) => return Step::Pause(pause),
    };
    match format::read::<P::Format, P::Request<'a>, _>(frame, scratch, responder.framing()) {
        Ok(request) => {
            let Callee {
                shared,
                info,
                session,
            } = callee;
            let context = Context::new(info, session);
            Step::Call(shared.protocol.process_request(context, request))
        }
        Err(error) => {
            let rejection = Rejection::bad_request(error.to_string());
            Step::Rejected(responder.write_rejection(write, Occasion::Request(rejection)))
        }
    }
}

impl<P: ServerProtocol> Callee<P> {
    pub(super) fn new(shared: Arc<Shared<P>>, info: ConnectionInfo) -> Self {
        Self {
            session: shared.protocol.open_session(info.peer()),
            shared,
            info,
        }
    }

    /// Writes the greeting, if the protocol has one.
    pub(super) fn greet(&mut self, responder: &mut Responder<P>, write: &mut WriteBuffer) -> Flow {
        let protocol = &self.shared.protocol;
        match protocol.greeting(self.info.peer(), &mut self.session) {
            Some(greeting) => responder.write_greeting(write, greeting),
            None => Flow::Continue(()),
        }
    }
}

impl<P: ServerProtocol> Responder<P> {
    /// Takes the next request off the read buffer. Handles other frames on the way.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a sixth more"
    )]
    fn next_request<'b, S>(
        &mut self,
        io: &mut Io<S>,
        frames: &mut Frames<'b>,
        write: &mut WriteBuffer,
    ) -> Result<&'b [u8], Pause> {
        loop {
            // A typed framing can find messages without bytes. Others are asked only about bytes, or
            // about the end of the input.
            if !frames.has_started() && !frames.has_ended() && !P::Framing::TYPED {
                return Err(Pause::NeedMore);
            }
            if io.must_yield(|| P::Framing::TYPED || frames.has_started()) {
                return Err(Pause::Spent);
            }
            let input = frames.input(self.frame_len(), Side::Server);
            let parsed = match self.framing().parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if frames.has_ended() => return Err(Pause::Close),
                Ok(None) => {
                    // The part of a frame counts as well: a stream may always have another one.
                    if frames.has_started() {
                        io.count_frame(|| true);
                    }
                    return Err(Pause::NeedMore);
                }
                Err(error) => {
                    self.bad_frame(io.tally(), write, &error, input.bytes());
                    return Err(Pause::Close);
                }
            };
            if parsed.kind == FrameKind::Message {
                let frame = frames.take(input, parsed);
                io.count_frame(|| !frames.is_empty());
                self.begin_request(io.tally());
                return Ok(frame);
            }
            let (kind, length) = (parsed.kind, parsed.payload.len());
            frames.skip(parsed.consumed);
            io.count_frame(|| true);
            if let Some(pause) = self.handle_other_frame(io.tally(), write, kind, length) {
                return Err(pause);
            }
        }
    }

    /// Handles a frame that is not a message within the limit: a control frame or an oversized
    /// message.
    #[cold]
    fn handle_other_frame(
        &mut self,
        tally: &Tally,
        write: &mut WriteBuffer,
        kind: FrameKind,
        length: usize,
    ) -> Option<Pause> {
        match kind {
            FrameKind::TooLarge => {
                self.begin_request(tally);
                let text = too_large(length, self.frame_len());
                let rejection = Rejection::new(RejectionKind::TooLarge, text);
                let flow = self.write_rejection(write, Occasion::Request(rejection));
                pause_after(self, write, flow)
            }
            FrameKind::Control(code @ ..0x80) => {
                let error = FrameError::malformed(format_args!(
                    "a control frame of kind {code:#04x}, which clients do not send"
                ));
                self.bad_frame(tally, write, &error, &[]);
                Some(Pause::Close)
            }
            FrameKind::Message | FrameKind::Skip | FrameKind::Control(_) => None,
        }
    }
}
