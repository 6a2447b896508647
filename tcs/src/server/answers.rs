//! The answers of a connection: every complete request that has arrived is decoded, processed and
//! answered, whatever the functions do.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::Connection,
    lifetime::Requests,
    registry::Alarm,
    replies::{Acquaintance, Next, closing, is_full},
    settings::Limit,
    waiting::{Polled, meanwhile},
    waits::Gone,
};
use crate::{
    Context, FrameError, Framing, Rejection, RejectionKind, ServerProtocol, Side,
    buffer::{Buffers, Frames, WriteBuffer},
    format::read,
    framing::{FrameKind, too_large},
    race::poll_caught,
    rejection::Escaped,
};

/// What each request is subject to, at hand for a whole batch.
#[derive(Clone, Copy, Debug)]
struct Terms {
    frame_len: usize,
    requests: Requests,
}

impl<P, S> Connection<P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Answers every complete request that has arrived, whatever the functions do.
    pub(super) async fn answer_arrived(&mut self) -> Result<Next, Gone> {
        let mut buffers = self.buffers.take();
        let next = loop {
            if is_full(&buffers.outbox) {
                poll_fn(|cx| self.poll_flush(&mut buffers.outbox, cx)).await?;
            }
            let answered = {
                let mut answering = pin!(self.answer_all(&mut buffers));
                poll_fn(|cx| poll_caught(answering.as_mut(), cx)).await
            };
            let next = match answered {
                Ok(next) => next,
                Err(panic) => match self.outlive(&mut buffers.outbox, &*panic) {
                    Next::GoOn => continue,
                    close @ Next::Close(_) => close,
                },
            };
            if next != Next::GoOn || !is_full(&buffers.outbox) {
                break next;
            }
        };
        if buffers.inbox.has_moved() {
            self.wait_began = None;
        }
        self.buffers.keep(buffers);
        Ok(next)
    }

    /// Does the same for functions that never wait, until so much waits that it should be sent.
    #[inline(never)]
    pub(super) fn answer_now(&mut self, buffers: &mut Buffers) -> Next {
        loop {
            // One guard for all of them: per request it would cost more than all else here.
            match catch_unwind(AssertUnwindSafe(|| self.answer_at_once(buffers))) {
                Ok(next) => return next,
                Err(panic) => match self.outlive(&mut buffers.outbox, &*panic) {
                    Next::GoOn => {}
                    close @ Next::Close(_) => return close,
                },
            }
        }
    }

    /// Answers until no complete request is left, or so much waits that it should be sent.
    async fn answer_all(&mut self, Buffers { inbox, outbox }: &mut Buffers) -> Next {
        outbox.prepare();
        loop {
            let frame = match self.take_request(&mut inbox.frames(), outbox, self.terms()) {
                Ok(frame) => frame,
                Err(next) => return next,
            };
            // Decoding, calling and encoding stand in the loop itself: as an `async fn` of their own
            // they would cost a fifth more.
            let Self {
                shared,
                info,
                session,
                replies,
                ..
            } = self;
            let answered = match read::<P::Format, P::Request<'_>, _>(frame, replies.framing()) {
                Err(error) => Ok(replies.refuse(outbox, Rejection::bad_request(error.to_string()))),
                Ok(request) => {
                    let context = Context::new(info, session);
                    let mut function = pin!(shared.protocol.process_request(context, request));
                    // Most functions are ready at once; what the others need is not even captured.
                    let first = poll_fn(|cx| {
                        let first = function.as_mut().poll(cx);
                        Poll::Ready(first.map(|result| replies.answer(outbox, result)))
                    });
                    match first.await {
                        Poll::Ready(next) => Ok(next),
                        Poll::Pending => {
                            let (stream, watch) = (&mut self.stream, &mut self.watch);
                            watch.limit(shared.limits.request);
                            let mut function = Polled::once(function);
                            let ran = poll_fn(|cx| match function.poll(cx) {
                                Poll::Ready(result) => {
                                    Poll::Ready(Ok(replies.answer_late(outbox, result)))
                                }
                                Poll::Pending => meanwhile(cx, replies, outbox, stream, watch),
                            });
                            ran.await
                        }
                    }
                }
            };
            // A function that was cut is gone by now: were its drop to panic later, its request would
            // be answered twice.
            let next = answered.unwrap_or_else(|alarm| self.cut_short(outbox, alarm));
            let next = self.unless_once(outbox, next, self.shared.requests);
            if next != Next::GoOn || is_full(outbox) {
                return next;
            }
        }
    }

    /// Does the same with functions that never wait.
    fn answer_at_once(&mut self, Buffers { inbox, outbox }: &mut Buffers) -> Next {
        outbox.prepare();
        let (mut frames, terms) = (inbox.frames(), self.terms());
        loop {
            let frame = match self.take_request(&mut frames, outbox, terms) {
                Ok(frame) => frame,
                Err(next) => return next,
            };
            let Self {
                shared,
                info,
                session,
                replies,
                ..
            } = self;
            let next = match read::<P::Format, P::Request<'_>, _>(frame, replies.framing()) {
                Ok(request) => {
                    let context = Context::new(info, session);
                    replies.answer(outbox, shared.protocol.process_at_once(context, request))
                }
                Err(error) => replies.refuse(outbox, Rejection::bad_request(error.to_string())),
            };
            let next = self.unless_once(outbox, next, terms.requests);
            if next != Next::GoOn || is_full(outbox) {
                return next;
            }
        }
    }

    /// Returns what each request of a batch is subject to.
    fn terms(&self) -> Terms {
        Terms {
            frame_len: self.shared.limits.frame_len,
            requests: self.shared.requests,
        }
    }

    /// Takes the next request; without one, tells what to do next.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a sixth more"
    )]
    fn take_request<'b>(
        &mut self,
        frames: &mut Frames<'b>,
        outbox: &mut WriteBuffer,
        terms: Terms,
    ) -> Result<&'b [u8], Next> {
        loop {
            let input = frames.input(terms.frame_len, Side::Server);
            // Messages come first and by themselves, so that what their framing has found out about
            // them is not looked at again.
            let cut = match self.replies.framing().parse(input) {
                Ok(Some(cut))
                    if cut.kind == FrameKind::Message
                        && (cut.consumed > 0 || P::Framing::TYPED) =>
                {
                    let frame = frames.take(input, cut);
                    self.receive(terms.requests);
                    return Ok(frame);
                }
                Ok(None) if frames.has_ended() => return Err(Next::Close(None)),
                Ok(None) => return Err(Next::GoOn),
                Ok(Some(cut)) if cut.consumed > 0 || P::Framing::TYPED => cut,
                Ok(Some(_)) => return Err(self.reject(outbox, &nothing_cut(), input.bytes())),
                Err(error) => return Err(self.reject(outbox, &error, input.bytes())),
            };
            let (kind, length) = (cut.kind, cut.frame.len());
            frames.take(input, cut);
            match self.answer_unusual(outbox, kind, length) {
                Next::GoOn => {}
                close @ Next::Close(_) => return Err(close),
            }
        }
    }

    /// Ends a connection whose bytes are no frames.
    #[cold]
    fn reject(&mut self, outbox: &mut WriteBuffer, error: &FrameError, unread: &[u8]) -> Next {
        self.receive(self.shared.requests);
        let peer = if error.is_other_protocol() {
            Acquaintance::Stranger
        } else {
            self.acquaintance(unread)
        };
        self.replies.reject(outbox, error, peer)
    }

    /// Answers for a function that was dropped where it waited.
    #[cold]
    fn cut_short(&mut self, outbox: &mut WriteBuffer, alarm: Alarm) -> Next {
        match alarm {
            Alarm::Expired => {
                let refusal = too_slow(self.shared.limits.request);
                unless_half_changed::<P>(self.replies.refuse(outbox, refusal))
            }
            // Not counted: it is among the requests that were cut.
            Alarm::Cut => {
                let text = "the server ended before the reply";
                let refusal = Rejection::new(RejectionKind::Failed, text);
                self.replies.close(outbox, &refusal);
                // Without control frames that was the last word.
                self.replies.end(outbox, "the server ended")
            }
        }
    }

    /// Deals with a frame that is no message within the limit.
    #[cold]
    fn answer_unusual(&mut self, outbox: &mut WriteBuffer, kind: FrameKind, length: usize) -> Next {
        let next = match kind {
            FrameKind::Message | FrameKind::Control(0x80..) => return Next::GoOn,
            FrameKind::TooLarge => {
                self.receive(self.shared.requests);
                let text = too_large(length, self.shared.limits.frame_len);
                self.replies
                    .refuse(outbox, Rejection::new(RejectionKind::TooLarge, text))
            }
            FrameKind::Control(kind) => self.reject(outbox, &of_a_server(kind), &[]),
        };
        self.unless_once(outbox, next, self.shared.requests)
    }

    /// Notes that a request was received, or something in its place.
    #[inline]
    pub(super) fn receive(&mut self, requests: Requests) {
        self.watch.tally().receive();
        if requests == Requests::One {
            self.shared.door.close();
        }
    }

    /// Closes after an answer, if a server gives only one.
    #[inline]
    fn unless_once(&mut self, outbox: &mut WriteBuffer, next: Next, requests: Requests) -> Next {
        match next {
            Next::GoOn if requests == Requests::One => {
                self.replies.end(outbox, "this server answers one request")
            }
            next => next,
        }
    }

    /// Mends what a panic left.
    fn outlive(&mut self, outbox: &mut WriteBuffer, panic: &(dyn Any + Send)) -> Next {
        log_panic(panic);
        outbox.prepare();
        if self.replies.unsent() == self.watch.tally().unanswered() {
            // No request was being answered: it was the framing, which would panic again.
            return Next::Close(Some(closing("the server failed")));
        }
        let refusal = Rejection::new(RejectionKind::Failed, "the function panicked");
        let next = unless_half_changed::<P>(self.replies.refuse(outbox, refusal));
        self.unless_once(outbox, next, self.shared.requests)
    }
}

/// Returns what a panic says; it may quote the peer, and is for the log only.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    let text = panic.downcast_ref::<&str>().copied().or_else(owned);
    text.unwrap_or("no text")
}

fn log_panic(panic: &(dyn Any + Send)) {
    let message = panic_text(panic);
    let message = Escaped(message.as_bytes(), message.len());
    tracing::error!(panic = %message, "a protocol function panicked");
}

/// Says that a function took too long.
fn too_slow(limit: Limit) -> Rejection {
    let text = format!("no reply within {limit} (`request_timeout`)");
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Clients say nothing by control frames.
fn of_a_server(kind: u8) -> FrameError {
    FrameError::malformed(format_args!(
        "a control frame of kind {kind:#04x}, which clients do not send"
    ))
}

/// Such a framing would find the same frame for ever.
#[cold]
fn nothing_cut() -> FrameError {
    FrameError::malformed("a frame of no bytes, found by the server's framing")
}

/// Closes after a function that did not end, if it had a session, which may be half-changed.
fn unless_half_changed<P: ServerProtocol>(next: Next) -> Next {
    if next == Next::GoOn && size_of::<P::Session>() > 0 {
        return Next::Close(Some(closing(
            "the session was lost with the failed request",
        )));
    }
    next
}
