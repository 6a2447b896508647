//! Takes requests off the read buffer, calls the function of each, and writes its reply, one after the other.
//!
//! There are two loops, because only a function that may wait needs room in the task of the connection:
//! [`process_ready`](SequentialDriver::process_ready) polls its future on the stack, and
//! [`process_waiting`](SequentialDriver::process_waiting) in the task. Both use
//! [`call_next`](SequentialDriver::call_next). For the second loop, `wait` waits and `finish` responds.

mod finish;
mod notices;
mod receive;
mod upgrade;
mod wait;

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context as TaskContext, Poll, Waker},
};

use super::{
    Next,
    end::End,
    io::Io,
    rejections::{check_control, too_large},
    respond::Responder,
};
use crate::{
    ConnectionInfo, Rejection,
    buffer::{EncodedMessage, Frames, ReadAhead, WriteBuffer},
    deadline::with_inherited,
    format::{self, Encode as _, Writer},
    framing::{ConnectionFraming, FrameError, FrameKind, Framing as _, Side},
    protocol::{Context, ServerProtocol, has_no_request, has_one_exchange},
    server::{addresses::AddressRequest, metrics::Timer, shared::Shared},
};

pub(super) use receive::end_chunks;

/// The requests that have been read, and what processing them one after the other needs.
///
/// The session is not here, because a function borrows it while the connection uses the rest.
pub(super) struct SequentialDriver<'a, P: ServerProtocol> {
    pub(super) shared: &'a Shared<P>,
    pub(super) info: &'a ConnectionInfo,
    pub(super) framing: &'a mut ConnectionFraming<P::Framing>,
    pub(super) frames: Frames<'a>,
    pub(super) ahead: &'a mut ReadAhead,
    pub(super) write: &'a mut WriteBuffer,
    pub(super) io: &'a mut Io,
    /// The request whose function is called, where the requests of an address are limited.
    pub(super) in_flight: &'a mut Option<AddressRequest>,
    /// How many of the bytes that were read ahead are searched for credit.
    pub(super) searched: usize,
}

impl<'a, P: ServerProtocol> SequentialDriver<'a, P> {
    /// Whether a function may wait, or its reply may be followed by a wait.
    pub(super) const MAY_WAIT: bool = P::WAITS || Self::UPGRADES || P::CLONE_FRAMING.is_some();

    /// Processes requests with a function that never waits. Its future lives on the stack, so the task
    /// needs no room for it.
    #[inline(never)]
    pub(super) fn process_ready(&mut self, session: &mut P::Session) -> Next {
        loop {
            // Each request has its own `scratch`, so that a large one does not outlive its request.
            let mut scratch = Vec::new();
            let (function, timer) = match self.call_next(session, &mut scratch) {
                Ok(Some(called)) => called,
                Ok(None) => continue,
                Err(next) => return next,
            };
            let mut cx = TaskContext::from_waker(Waker::noop());
            // The function is dropped before its request is answered.
            let polled = pin!(function).poll(&mut cx);
            let before = self.io.unsent;
            let responded = match polled {
                Poll::Ready(result) => self.respond(result),
                Poll::Pending => self.end_request().must_not_wait(),
            };
            timer.record(|| self.io.unsent.outcome_since(before));
            if let Err(next) = self.may_take_next(responded) {
                return next;
            }
        }
    }

    /// Processes requests with a function that may wait. While it waits, earlier replies are sent and bytes
    /// are read ahead.
    pub(super) async fn process_waiting(&mut self, session: &mut P::Session) -> Next {
        if self.frames.has_ended() {
            self.io.start_half_close();
        }
        'requests: loop {
            let mut scratch = Vec::new();
            let timer;
            let called = {
                // Nothing else may hold the future. Otherwise, the task would have room for two.
                let mut function = pin!(match self.call_next(session, &mut scratch) {
                    Ok(Some((function, began))) => {
                        timer = began;
                        function
                    }
                    Ok(None) => continue 'requests,
                    Err(next) => return next,
                });
                let mut clock = None;
                let mut deadline = self.shared.limits.request_deadline();
                poll_fn(|cx| {
                    if !self.must_wait_for_credit()
                        && let Poll::Ready(result) =
                            with_inherited(deadline, || function.as_mut().poll(cx))
                    {
                        return Poll::Ready(Ok(result));
                    }
                    self.poll_connection(&mut clock, &mut deadline, cx).map(Err)
                })
                .await
            };
            // The function is dropped before its request is answered. Its drop may panic, and a panic is
            // answered, too.
            let responded = match self.finish_request(called, timer) {
                // Boxed: few connections need it, and every task would pay for its size.
                Ok(Some(upgrade)) => {
                    let Err(end) = Box::pin(self.take_over(upgrade)).await;
                    return end.into();
                }
                responded => responded.map(drop),
            };
            if let Err(next) = self.may_take_next(responded) {
                return next;
            }
        }
    }

    /// Takes the next request off the read buffer, decodes it and calls the function. The request may also borrow text
    /// that its format had to rewrite into `scratch`. Returns `None` if the request was rejected.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a sixth more")]
    #[expect(clippy::type_complexity, reason = "used once")]
    fn call_next<'f>(
        &mut self,
        session: &'f mut P::Session,
        scratch: &'f mut Vec<u8>,
    ) -> Result<
        Option<(
            impl Future<Output = Result<P::Reply<'f>, Rejection>> + Send + use<'a, 'f, P>,
            Timer<'a>,
        )>,
        Next,
    >
    where
        'a: 'f,
    {
        let frame = self.next_request()?;
        if self.shared.checks_requests
            && let Err(rejection) = self.begin_request()
        {
            return self.reject(rejection, frame).map(|()| None);
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
                Ok(Some((function, timer)))
            }
            Err(error) => {
                let rejection = Rejection::bad_request(error.to_string());
                self.reject(rejection, frame).map(|()| None)
            }
        }
    }

    /// Takes the next request off the read buffer. Handles other frames on the way.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a sixth more")]
    fn next_request(&mut self) -> Result<&'a [u8], Next> {
        if const { has_no_request::<P>() } {
            return self.no_request();
        }
        loop {
            // A typed framing can find messages without bytes. Other framings parse only bytes, or the
            // end of the input.
            if !self.frames.has_started() && !self.frames.has_ended() && !P::Framing::HAS_VALUES {
                return Err(Next::Read);
            }
            let may_have_more = || P::Framing::HAS_VALUES || self.frames.has_started();
            if self.io.must_yield(may_have_more) {
                return Err(Next::Yield);
            }
            let input = self
                .frames
                .input(self.shared.limits.max_frame_len, Side::Server);
            let parsed = match self.framing.parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if self.frames.has_ended() => return Err(End::Eof.into()),
                Ok(None) => {
                    // An incomplete frame counts as well, because more of it may arrive in each read.
                    if self.frames.has_started() {
                        self.io.count_frame(|| true);
                    }
                    return Err(Next::Read);
                }
                Err(error) => return Err(self.bad_frame(&error, input.bytes())),
            };
            let id = parsed.id;
            if parsed.kind == FrameKind::Message {
                if P::Framing::HAS_IDS {
                    // In sequence, a request has no deadline of its client. A later request must not get it.
                    self.framing.take_deadline(&parsed);
                }
                let frame = self.frames.take(input, parsed);
                self.io.count_frame(|| !self.frames.is_empty());
                self.io.count_request();
                self.set_id(id);
                return Ok(frame);
            }
            let (kind, length) = (parsed.kind, parsed.oversized_len());
            let arrived = input
                .bytes()
                .get(..parsed.consumed)
                .unwrap_or(input.bytes());
            self.frames.skip(parsed.consumed);
            self.io.count_frame(|| true);
            self.handle_other_frame(kind, id, length, arrived)?;
        }
    }

    /// Sets the id of the frames written from now on.
    #[inline]
    fn set_id(&mut self, id: u32) {
        if P::Framing::HAS_IDS {
            self.framing.get_mut().set_id(id);
        }
    }

    /// Writes the response to a request.
    ///
    /// An ordinary reply is written here, and the [`Responder`] writes all others.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a fifth more")]
    fn respond(&mut self, result: Result<P::Reply<'_>, Rejection>) -> Result<(), End> {
        let reply = match result {
            Ok(reply) => reply,
            Err(rejection) => return self.end_request().reject(&rejection),
        };
        let limit = self.shared.limits.reply_len();
        let encode = |out: &mut Writer<'_>| reply.encode(out);
        if let Err(encoded) = self.write.message(self.framing.get_mut(), limit, encode) {
            return self.exceptional_reply(encoded);
        }
        self.io.count_reply();
        if const { !has_one_exchange::<P>() } && !self.shared.checks_requests {
            return Ok(());
        }
        self.end_request().after_response()
    }

    /// Returns an error if no further request may be taken now: the connection ends, or the write buffer is full.
    #[inline]
    fn may_take_next(&self, responded: Result<(), End>) -> Result<(), Next> {
        responded?;
        if self.write.is_full() {
            return Err(Next::Flush);
        }
        Ok(())
    }
}

/// All but ordinary requests and replies.
impl<'a, P: ServerProtocol> SequentialDriver<'a, P> {
    /// Takes the request of a protocol that waits for none.
    fn no_request(&mut self) -> Result<&'a [u8], Next> {
        if self.io.registration.tally().received() > 0 {
            return Err(End::Closed.into());
        }
        self.io.count_request();
        Ok(&[])
    }

    /// Begins a request, unless a limit rejects it.
    #[cold]
    fn begin_request(&mut self) -> Result<(), Rejection> {
        let arrival = self.frames.last_arrival();
        let received = self.io.registration.tally().received();
        (self.shared.limits).check_pipeline(received - arrival.received)?;
        *self.in_flight = self.io.begin_request(self.shared, arrival)?;
        Ok(())
    }

    /// Rejects a request before its function is called. Returns as [`may_take_next`](Self::may_take_next).
    #[cold]
    fn reject(&mut self, rejection: Rejection, frame: &[u8]) -> Result<(), Next> {
        let rejection = rejection.of_request::<P::Framing>(frame);
        let responded = self.end_request().reject(&rejection);
        self.may_take_next(responded)
    }

    /// Handles a frame that is not a message within the limit: a control frame or an oversized message. Chunks that the
    /// function did not take are skipped.
    #[cold]
    fn handle_other_frame(
        &mut self,
        kind: FrameKind,
        id: u32,
        length: usize,
        arrived: &[u8],
    ) -> Result<(), Next> {
        if kind != FrameKind::Oversized {
            if let Err(error) = check_control(kind) {
                return Err(self.bad_frame(&error, &[]));
            }
            self.io.start_idle();
            return Ok(());
        }
        self.set_id(id);
        self.io.count_unreadable(self.shared);
        let limit = self.shared.limits.max_frame_len;
        let rejection = too_large::<P::Framing>(length, limit, arrived);
        let responded = self.end_request().reject(&rejection);
        self.may_take_next(responded)
    }

    /// Counts bytes that are not a frame as a request, and responds to them.
    #[cold]
    fn bad_frame(&mut self, error: &FrameError, unread: &[u8]) -> Next {
        self.io.count_unreadable(self.shared);
        self.end_request().bad_frame(error, unread);
        End::Closed.into()
    }

    #[cold]
    fn exceptional_reply(&mut self, reply: EncodedMessage) -> Result<(), End> {
        let is_last = !self.frames.has_started() && self.ahead.is_unused();
        self.end_request().exceptional_reply(reply, is_last)
    }

    /// Ends the request in flight, and returns the responder for a response that is no ordinary reply. Out of line, so that
    /// it takes no registers from ordinary replies.
    #[cold]
    #[inline(never)]
    fn end_request(&mut self) -> Responder<'_, P> {
        // Ordinary replies come here, too, if requests are limited.
        *self.in_flight = None;
        self.responder()
    }

    /// Returns what writes all but ordinary replies. The driver has its parts, because a request takes ten instructions more
    /// if they are within a `Responder`.
    fn responder(&mut self) -> Responder<'_, P> {
        Responder {
            shared: self.shared,
            info: self.info,
            framing: self.framing,
            write: self.write,
            io: self.io,
        }
    }
}
