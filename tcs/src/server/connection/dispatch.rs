//! Takes requests off the read buffer, decodes them and calls the function.
//!
//! There are two drivers, because only the future of a function that may wait needs a place in the task of the
//! connection: [`process_ready`](Batch::process_ready) polls it on the stack, and
//! [`process_waiting`](Batch::process_waiting) in the task. Both use [`step`](Batch::step).

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context as TaskContext, Poll, Waker},
};

use super::{
    super::metrics::Timer,
    batch::{Batch, Next},
    clocks::Stopwatch,
    converse::EVENT_BATCHES,
    ends::{Dropped, Interrupt},
    receive::end_chunks,
    rejections::too_large,
    respond::{Exit, Flow},
};
use crate::{
    Rejection,
    conversation::{Conversation, Upgrade},
    deadline::with_inherited,
    format,
    framing::{Announcement, FrameError, FrameKind, Framing, Side},
    protocol::{Context, ServerProtocol, has_no_request},
    runtime::wake_after_others,
};

/// The future of the function that was called, and when. If none was, what the connection does, or `None` if it takes the
/// next request, because one was rejected.
type Step<'a, F> = Result<(F, Timer<'a>), Option<Next>>;

/// What becomes of a function that may wait: its result, or why it is dropped. An error ends the connection.
type Called<R> = Result<Result<R, Interrupt>, Dropped>;

impl<'a, P: ServerProtocol> Batch<'a, P> {
    /// Processes requests with a function that never waits. Its future lives on the stack, so the task
    /// needs no room for it.
    #[inline(never)]
    pub(super) fn process_ready(&mut self, session: &mut P::Session) -> Next {
        loop {
            // Each request has its own, so that a large one does not outlive its request.
            let mut scratch = Vec::new();
            let (function, timer) = match self.step(session, &mut scratch) {
                Ok(called) => called,
                Err(Some(next)) => return next,
                Err(None) => continue,
            };
            let mut cx = TaskContext::from_waker(Waker::noop());
            // The function is dropped before its request is answered.
            let polled = pin!(function).poll(&mut cx);
            let before = self.io.accounts.unsent;
            let flow = match polled {
                Poll::Ready(result) => self.respond(result),
                Poll::Pending => self.end_request().must_not_wait(),
            };
            timer.record(|| self.io.accounts.unsent.outcome_since(before));
            if let Some(next) = self.next_after(flow) {
                return next;
            }
        }
    }

    /// Processes requests with a function that may wait. While it waits, earlier replies are sent and bytes
    /// are read ahead.
    pub(super) async fn process_waiting(
        &mut self,
        session: &mut P::Session,
    ) -> Result<Next, Dropped> {
        if self.frames.has_ended() {
            self.io.start_half_close();
        }
        loop {
            let mut scratch = Vec::new();
            let timer;
            let called = {
                // Nothing else may hold the future, or the task would have room for two.
                let mut function = pin!(match self.step(session, &mut scratch) {
                    Ok((function, began)) => {
                        timer = began;
                        function
                    }
                    Err(Some(next)) => return Ok(next),
                    Err(None) => continue,
                });
                let mut clock = Stopwatch::default();
                let mut deadline = self.shared.limits.request_deadline();
                poll_fn(|cx| {
                    let polled = if self.must_wait_for_credit() {
                        Poll::Pending
                    } else {
                        with_inherited(deadline, || function.as_mut().poll(cx))
                    };
                    match polled {
                        Poll::Ready(result) => Poll::Ready(Ok(Ok(result))),
                        Poll::Pending if self.info.open_conversation().is_some() => {
                            let before = clock;
                            let polled = self.poll_conversation(&mut clock, cx);
                            if before.is_running() && clock != before {
                                // For the next item or message.
                                deadline = self.shared.limits.request_deadline();
                            }
                            polled
                        }
                        Poll::Pending => {
                            let polled = self
                                .io
                                .poll_while_function_waits(&mut clock, self.ahead, self.write, cx);
                            polled.map(|interrupt| self.cut(interrupt))
                        }
                    }
                })
                .await?
            };
            let called = match self.info.open_conversation() {
                // The items of a function that did not return are dropped at the end of its request.
                Some(conversation) => {
                    called.and_then(|result| self.finish_items(conversation, result))
                }
                None => called,
            };
            // The function is dropped before its request is answered. Its drop may panic, and a panic is
            // answered, too.
            let flow = match self.conclude(called, timer) {
                Ok(flow) => flow,
                Err(upgrade) => {
                    // Boxed: few connections need it, and every task would pay for its size.
                    return Box::pin(self.take_over(upgrade)).await;
                }
            };
            if let Some(conversation) = self.info.open_conversation() {
                conversation.end_request();
                let rest = end_chunks(conversation, self.framing, self.ahead, self.shared);
                self.frames.skip(rest);
                if P::CLONE_FRAMING.is_some()
                    && let Some(framing) = conversation.framing.take()
                {
                    *self.framing.get_mut() = *framing;
                }
            }
            if let Some(next) = self.next_after(flow) {
                return Ok(next);
            }
        }
    }

    /// Responds to the request of a function, and records its call. Returns the upgrade if its reply has one.
    ///
    /// A reply need not be `Send`, so it ends here, before the next wait.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `respond`")]
    fn conclude<'r>(
        &mut self,
        called: Result<Result<P::Reply<'r>, Rejection>, Interrupt>,
        timer: Timer<'_>,
    ) -> Result<Flow, Upgrade<'r>> {
        let before = self.io.accounts.unsent;
        let flow = match called {
            Ok(result) if Self::UPGRADES => self.respond_or_upgrade(result),
            Ok(result) => Ok(self.respond(result)),
            Err(interrupt) => return Ok(self.end_request().interrupted(interrupt)),
        };
        timer.record(|| self.io.accounts.unsent.outcome_since(before));
        flow
    }

    /// Sends items and events while a function waits, and gives it the messages that it waits for.
    #[cold]
    fn poll_conversation<R>(
        &mut self,
        clock: &mut Stopwatch,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Called<R>> {
        let Some(conversation) = self.info.open_conversation() else {
            return Poll::Pending;
        };
        for _ in 0..EVENT_BATCHES {
            // Items stay where they are while the peer does not read.
            let mut has_more = self.io.is_stalled();
            if !has_more {
                match self.outgoing().write_items(conversation) {
                    // `request_timeout` is for each item.
                    Ok(true) => clock.stop(),
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Ok(Err(Interrupt::Unsendable(error)))),
                }
            }
            if let Some(queue) = conversation.pushes() {
                match self.outgoing().write_events(queue, Some(cx)) {
                    Ok(more) => has_more |= more,
                    Err(dropped) => return Poll::Ready(self.cut(Err(dropped))),
                }
            }
            let needs_more = self.feed(conversation, clock);
            let waited = self
                .io
                .poll_while_function_waits(clock, self.ahead, self.write, cx);
            if self.ahead.has_ended() || self.frames.has_ended() {
                conversation.close();
            }
            if waited.is_ready() {
                // A chunk that has arrived in time counts, although this task runs late.
                let is_cut = matches!(waited, Poll::Ready(Ok(Interrupt::CutFrame(_))));
                if is_cut && !self.feed(conversation, clock) {
                    return Poll::Pending;
                }
                return waited.map(|interrupt| self.cut(interrupt));
            }
            if self.must_wait_for_credit() {
                self.find_credit(conversation);
                if !self.must_wait_for_credit() {
                    // The function is polled again.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            // It was not polled for more then.
            let has_room = needs_more && self.ahead.is_full();
            if needs_more && !self.feed(conversation, clock) {
                // The function is woken. Until it has run, this waits.
                return Poll::Pending;
            }
            let needs_events = has_more && self.write.is_empty();
            if !has_room && !needs_events {
                return Poll::Pending;
            }
        }
        wake_after_others(cx);
        Poll::Pending
    }

    /// Returns `true` if the function may not be polled before its client gives credit for items.
    #[inline]
    fn must_wait_for_credit(&self) -> bool {
        if !P::Framing::HAS_IDS {
            return false;
        }
        let conversation = self.info.open_conversation();
        conversation.is_some_and(|conversation| conversation.credit.is_short())
    }

    /// Ends the wait of a function, which is dropped next.
    fn cut<R>(&mut self, interrupt: Result<Interrupt, Dropped>) -> Called<R> {
        self.io.cut_function(&interrupt);
        interrupt.map(Err)
    }

    /// Frames the items that the function has left, before its reply.
    #[cold]
    fn finish_items<R>(&mut self, from: &Conversation, result: R) -> Result<R, Interrupt> {
        let framed = self.outgoing().write_items(from);
        framed.map(|_| result).map_err(Interrupt::Unsendable)
    }

    /// Takes the next request off the read buffer, decodes it and calls the function. The request may also
    /// borrow text that its format had to rewrite into `scratch`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a sixth more")]
    fn step<'f>(
        &mut self,
        session: &'f mut P::Session,
        scratch: &'f mut Vec<u8>,
    ) -> Step<'a, impl Future<Output = Result<P::Reply<'f>, Rejection>> + Send + use<'a, 'f, P>>
    where
        'a: 'f,
    {
        let frame = self.next_request().map_err(Some)?;
        if self.shared.checks_requests
            && let Err(rejection) = self
                .io
                .check_and_begin_request(self.shared, self.frames.last_arrival())
        {
            return Err(self.reject(rejection, frame));
        }
        match format::read::<P::Format, P::Request<'f>, _>(frame, scratch, self.framing.get_mut()) {
            Ok(request) => {
                let context = Context::new(self.info, session);
                let operation = P::operation(&request);
                let metrics = &self.shared.metrics;
                let timer = Timer::start(metrics, self.frames.last_arrival(), operation);
                if let Some(clone) = P::CLONE_FRAMING {
                    let framing = Box::new(clone(self.framing.get_mut()));
                    self.info.conversation().framing.put(framing);
                }
                let function = self.shared.protocol.process_request(context, request);
                Ok((function, timer))
            }
            Err(error) => {
                let rejection = Rejection::bad_request(error.to_string());
                Err(self.reject(rejection, frame))
            }
        }
    }

    /// Rejects a request before its function is called. Returns as [`next_after`](Self::next_after).
    #[cold]
    fn reject(&mut self, rejection: Rejection, frame: &[u8]) -> Option<Next> {
        let rejection = rejection.of_request::<P::Framing>(frame);
        let flow = self.end_request().reject(&rejection);
        self.next_after(flow)
    }

    /// Takes the next request off the read buffer. Handles other frames on the way.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a sixth more")]
    fn next_request(&mut self) -> Result<&'a [u8], Next> {
        if const { has_no_request::<P>() } {
            return self.no_request();
        }
        loop {
            // A typed framing can find messages without bytes. Others are asked only about bytes, or
            // about the end of the input.
            if !self.frames.has_started() && !self.frames.has_ended() && !P::Framing::HAS_VALUES {
                return Err(Next::Read);
            }
            let may_have_more = || P::Framing::HAS_VALUES || self.frames.has_started();
            if self.io.must_yield(may_have_more) {
                return Err(Next::Yield);
            }
            let input = self
                .frames
                .input(self.shared.limits.frame_len, Side::Server);
            let parsed = match self.framing.parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if self.frames.has_ended() => return Err(Next::Exit(Exit::Eof)),
                Ok(None) => {
                    // The part of a frame counts as well: a stream may always have another one.
                    if self.frames.has_started() {
                        self.io.count_frame(|| true);
                    }
                    return Err(Next::Read);
                }
                Err(error) => return Err(self.bad_frame(&error, input.bytes())),
            };
            if parsed.kind == FrameKind::Message {
                let frame = self.frames.take(input, parsed);
                self.io.count_frame(|| !self.frames.is_empty());
                self.io.count_request();
                self.set_id();
                return Ok(frame);
            }
            let (kind, length) = (parsed.kind, parsed.oversized_len());
            let arrived = input
                .bytes()
                .get(..parsed.consumed)
                .unwrap_or(input.bytes());
            self.frames.skip(parsed.consumed);
            self.io.count_frame(|| true);
            if let Some(next) = self.handle_other_frame(kind, length, arrived) {
                return Err(next);
            }
        }
    }

    /// Takes the request of a protocol that waits for none.
    fn no_request(&mut self) -> Result<&'a [u8], Next> {
        if self.io.registration.tally().received() > 0 {
            return Err(Next::Exit(Exit::Close));
        }
        self.io.count_request();
        Ok(&[])
    }

    /// Lets what is written from now on have the id of the request that was parsed last.
    #[inline]
    fn set_id(&mut self) {
        if P::Framing::HAS_IDS {
            let framing = self.framing.get_mut();
            framing.set_id(framing.id());
        }
    }

    /// Counts bytes that are not a frame in the place of a request, and answers them.
    #[cold]
    fn bad_frame(&mut self, error: &FrameError, unread: &[u8]) -> Next {
        self.io.count_unreadable(self.shared);
        self.end_request().bad_frame(error, unread);
        Next::Exit(Exit::Close)
    }

    /// Handles a frame that is not a message within the limit: a control frame or an oversized
    /// message.
    #[cold]
    fn handle_other_frame(
        &mut self,
        kind: FrameKind,
        length: usize,
        arrived: &[u8],
    ) -> Option<Next> {
        match kind {
            FrameKind::Oversized => {
                self.set_id();
                self.io.count_unreadable(self.shared);
                let limit = self.shared.limits.frame_len;
                let rejection = too_large::<P::Framing>(length, limit, arrived);
                let flow = self.end_request().reject(&rejection);
                self.next_after(flow)
            }
            kind => match check_control(kind) {
                Ok(()) => {
                    self.io.start_idle();
                    None
                }
                Err(error) => Some(self.bad_frame(&error, &[])),
            },
        }
    }
}

/// Returns an error for a control frame that clients do not send. Chunks that the function did not take are skipped.
pub(super) fn check_control(kind: FrameKind) -> Result<(), FrameError> {
    match kind {
        FrameKind::Control(code @ ..0x80) => Err(FrameError::malformed(format_args!(
            "a control frame of kind {code:#04x}, which clients do not send"
        ))),
        FrameKind::Announced(Announcement::Items | Announcement::Events | Announcement::Parts) => {
            let text = "items of a reply, or events, which clients do not send";
            Err(FrameError::malformed(text))
        }
        _ => Ok(()),
    }
}
