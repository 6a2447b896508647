//! The loop of a connection: read, answer every complete frame, send, and wait.

use std::{
    any::Any,
    future::poll_fn,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    accept::Door,
    registry::{Alarm, Watch},
    replies::{Acquaintance, Next, Replies, closing, panic_text},
    settings::Limits,
    waiting::{Polled, meanwhile},
    waits::{Arrived, Gone},
};
use crate::{
    Context, Facts, FrameError, Framing, Refusal, RefusalKind, ServerProtocol, Side,
    buffer::Inbox,
    format::read,
    framing::{What, too_large},
    race::poll_caught,
    refusal::Escaped,
};

/// One connection of a server.
pub(super) struct Connection<'a, P: ServerProtocol, S> {
    pub(super) limits: &'a Limits,
    /// What a server of a single request closes when it takes that.
    door: Option<&'a Door>,
    facts: Facts,
    session: P::Session,
    pub(super) inbox: Inbox,
    pub(super) replies: Replies<'a, P>,
    /// When the wait for bytes began, or that for the rest of a started frame, by the registry's
    /// clock.
    pub(super) wait_began: Option<u64>,
    /// When this connection noticed that the server is finishing.
    pub(super) drain_began: Option<u64>,
    /// How many bytes waited to be sent when the peer last took some.
    pub(super) stalled_at: Option<usize>,
    pub(super) stream: S,
    pub(super) farewell: Farewell,
    /// Last, so that the connection counts as ended only when its socket is closed.
    pub(super) watch: Watch,
}

/// How a stream is closed to a peer that has closed its own half already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Dropping it says all there is to say, as with TCP.
    Drop,
    /// It may have last words of its own.
    Shutdown,
}

impl<'a, P, S> Connection<'a, P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Opens the session of a new connection.
    pub(super) fn new(
        protocol: &'a P,
        (stream, farewell): (S, Farewell),
        facts: Facts,
        limits: &'a Limits,
        door: Option<&'a Door>,
        watch: Watch,
    ) -> Self {
        Self {
            session: protocol.open_session(facts.peer()),
            replies: Replies::new(protocol, limits.frame_len),
            inbox: Inbox::new(),
            wait_began: None,
            drain_began: None,
            stalled_at: None,
            limits,
            door,
            facts,
            stream,
            farewell,
            watch,
        }
    }

    /// Serves the connection to its end; then it is to be dropped.
    pub(super) async fn serve(&mut self) {
        if let Err(gone) = self.exchange().await {
            tracing::debug!(%gone, "the connection was given up");
        }
    }

    async fn exchange(&mut self) -> Result<(), Gone> {
        let mut next = self.greet();
        loop {
            if let Next::Close(refusal) = next {
                return self.close(refusal).await;
            }
            let turn = poll_fn(|cx| {
                if self.replies.has_unsent() {
                    ready!(self.poll_flush(cx))?;
                }
                self.poll_fill(cx)
            });
            next = match turn.await? {
                Arrived::Bytes => self.answer_arrived().await?,
                Arrived::Expired => self.expired(),
                Arrived::Drain => Next::Close(Some(closing("the server is stopping"))),
            };
        }
    }

    fn greet(&mut self) -> Next {
        match self
            .replies
            .protocol()
            .greeting(self.facts.peer(), &mut self.session)
        {
            Some(greeting) => self.replies.greet(greeting),
            None => Next::GoOn,
        }
    }

    /// Answers every complete request that has arrived, whatever the functions do.
    async fn answer_arrived(&mut self) -> Result<Next, Gone> {
        loop {
            // One guard for all of them: per request it would cost more than all else here.
            let answered = if P::AT_ONCE {
                catch_unwind(AssertUnwindSafe(|| self.answer_at_once()))
            } else {
                let mut answering = pin!(self.answer_all());
                poll_fn(|cx| poll_caught(answering.as_mut(), cx)).await
            };
            let panic = match answered {
                Ok(Next::GoOn) if self.replies.is_full() => {
                    poll_fn(|cx| self.poll_flush(cx)).await?;
                    continue;
                }
                Ok(next) => return Ok(next),
                Err(panic) => panic,
            };
            if let Next::Close(refusal) = self.outlive(&*panic) {
                return Ok(Next::Close(refusal));
            }
        }
    }

    /// Answers until no complete request is left, or so much waits that it should be sent.
    async fn answer_all(&mut self) -> Next {
        self.replies.prepare();
        loop {
            let frame = match self.take_request() {
                Ok(frame) => frame,
                Err(next) => return next,
            };
            // Decoding, calling and encoding stand in the loop itself: as an `async fn` of their own
            // they would cost a fifth more.
            let Self {
                facts,
                session,
                inbox,
                replies,
                ..
            } = self;
            let answered =
                match read::<P::Format, P::Request<'_>, _>(inbox.frame(frame), replies.framing()) {
                    Err(error) => Ok(replies.refuse(Refusal::bad_request(error.to_string()))),
                    Ok(request) => {
                        let context = Context::new(facts, session);
                        let protocol = replies.protocol();
                        let mut function = pin!(protocol.process_request(context, request));
                        // Most functions are ready at once; what the others need is not even captured.
                        let first = poll_fn(|cx| {
                            let first = function.as_mut().poll(cx);
                            Poll::Ready(first.map(|result| replies.answer(result)))
                        });
                        match first.await {
                            Poll::Ready(next) => Ok(next),
                            Poll::Pending => {
                                let (stream, watch) = (&mut self.stream, &mut self.watch);
                                watch.limit(self.limits.request);
                                let mut function = Polled::once(function);
                                let ran = poll_fn(|cx| match function.poll(cx) {
                                    Poll::Ready(result) => {
                                        Poll::Ready(Ok(replies.answer_late(result)))
                                    }
                                    Poll::Pending => meanwhile(cx, replies, stream, watch),
                                });
                                ran.await
                            }
                        }
                    }
                };
            // A function that was cut is gone by now: were its drop to panic later, its request would
            // be answered twice.
            let next = answered.unwrap_or_else(|alarm| self.cut_short(alarm));
            let next = self.unless_once(next);
            if next != Next::GoOn || self.replies.is_full() {
                return next;
            }
        }
    }

    /// Does the same with functions that never wait.
    fn answer_at_once(&mut self) -> Next {
        self.replies.prepare();
        loop {
            let frame = match self.take_request() {
                Ok(frame) => frame,
                Err(next) => return next,
            };
            let Self {
                facts,
                session,
                inbox,
                replies,
                ..
            } = self;
            let next =
                match read::<P::Format, P::Request<'_>, _>(inbox.frame(frame), replies.framing()) {
                    Ok(request) => {
                        let context = Context::new(facts, session);
                        let result = replies.protocol().process_at_once(context, request);
                        replies.answer(result)
                    }
                    Err(error) => replies.refuse(Refusal::bad_request(error.to_string())),
                };
            let next = self.unless_once(next);
            if next != Next::GoOn || self.replies.is_full() {
                return next;
            }
        }
    }

    /// Takes the next request; without one, tells what to do next.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a sixth more"
    )]
    fn take_request(&mut self) -> Result<Range<usize>, Next> {
        loop {
            let input = self.inbox.input(self.limits.frame_len, Side::Server);
            let cut = match self.replies.framing().cut(input) {
                Ok(Some(cut)) if cut.consumed > 0 || P::Framing::VALUES => cut,
                Ok(Some(_)) => return Err(self.reject(&nothing_cut())),
                Ok(None) if self.inbox.has_ended() => return Err(Next::Close(None)),
                Ok(None) => return Err(Next::GoOn),
                Err(error) => return Err(self.reject(&error)),
            };
            let frame = self.inbox.consume(&cut.frame, cut.consumed);
            self.wait_began = None;
            if cut.what == What::Message {
                self.receive();
                return Ok(frame);
            }
            match self.answer_unusual(cut.what, cut.frame.len()) {
                Next::GoOn => {}
                close @ Next::Close(_) => return Err(close),
            }
        }
    }

    /// Ends a connection whose bytes are no frames.
    #[cold]
    fn reject(&mut self, error: &FrameError) -> Next {
        self.receive();
        let peer = if error.is_foreign() {
            Acquaintance::Stranger
        } else {
            self.acquaintance()
        };
        self.replies.reject(error, peer)
    }

    /// Answers for a function that was dropped where it waited.
    #[cold]
    fn cut_short(&mut self, alarm: Alarm) -> Next {
        match alarm {
            Alarm::Expired => {
                let limit = self.limits.request;
                let text = format!("no reply within {limit} (`request_timeout`)");
                let refusal = Refusal::new(RefusalKind::TimedOut, text);
                unless_half_changed::<P>(self.replies.refuse(refusal))
            }
            // Not counted: it is among the requests that were cut.
            Alarm::Cut => {
                let text = "the server ended before the reply";
                self.replies.close(&Refusal::new(RefusalKind::Failed, text));
                Next::Close(Some(closing("the server ended")))
            }
        }
    }

    /// Deals with a frame that is no message within the limit.
    #[cold]
    fn answer_unusual(&mut self, what: What, length: usize) -> Next {
        let next = match what {
            What::Message | What::Control(0x80..) => return Next::GoOn,
            What::TooLarge => {
                self.receive();
                let text = too_large(length, self.limits.frame_len);
                self.replies
                    .refuse(Refusal::new(RefusalKind::TooLarge, text))
            }
            What::Control(kind) => self.reject(&FrameError::malformed(format_args!(
                "a control frame of kind {kind:#04x}, which clients do not send"
            ))),
        };
        self.unless_once(next)
    }

    /// Closes after an answer, if this server gives only one.
    #[inline]
    fn unless_once(&mut self, next: Next) -> Next {
        match next {
            Next::GoOn if self.door.is_some() => {
                self.replies.end("this server answers one request")
            }
            next => next,
        }
    }

    /// Notes that a request was received, or something in its place.
    #[inline]
    pub(super) fn receive(&mut self) {
        self.watch.tally().receive();
        if let Some(door) = self.door {
            door.close();
        }
    }

    /// Mends what a panic left.
    fn outlive(&mut self, panic: &(dyn Any + Send)) -> Next {
        let message = panic_text(panic);
        // The payload may quote the peer, and is for the log only.
        let message = Escaped(message.as_bytes(), message.len());
        tracing::error!(panic = %message, "a protocol function panicked");
        self.replies.prepare();
        if self.replies.unsent() == self.watch.tally().unanswered() {
            // No request was being answered: it was the framing, which would panic again.
            return Next::Close(Some(closing("the server failed")));
        }
        let refusal = Refusal::new(RefusalKind::Failed, "the function panicked");
        let next = unless_half_changed::<P>(self.replies.refuse(refusal));
        self.unless_once(next)
    }
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
