//! Processes several requests of a connection at the same time ([`ServerProtocol::CONCURRENT`]).
//!
//! It is a third driver beside those of `dispatch.rs`. The loop of the connection enters it when bytes have arrived, and
//! gets back when nothing is in flight: then it waits as it does for all protocols. Each request has a slot. Its future
//! owns a copy of the request, and leaves its reply there as a message without its frame, because the framing may count
//! its messages: they are framed in the order in which they are sent.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Context as TaskContext, Poll},
    thread,
};

use tokio::{task::yield_now, time::Instant};

use super::{
    super::{
        metrics::{Metrics, NEEDS_ARRIVALS, Timer, record_call},
        registry::Deadline,
        shared::Shared,
    },
    Connection,
    converse::Outgoing,
    dispatch::check_control,
    io::{Gone, Input, Interrupt, Io, RequestInFlight},
    respond::{Exit, Flow, Responder, function_panicked, half_closed, log_panic, timed_out},
    slots::{SlotLimits, Slots},
};
use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{Arrival, Buffers, EncodeOutcome, Unusual},
    concurrency::share_session,
    conversation::Conversation,
    format::{After, Decode as _, Encode as _, Frame, Writer},
    framing::{ConnectionFraming, FrameError, FrameKind, Framing, Side},
    panics::Payload,
    protocol::{Concurrency, Context, ServerProtocol},
    runtime::poll_once,
};

/// How many rounds the driver has before it lets other tasks run.
const ROUNDS: u32 = 16;

impl<P: ServerProtocol> Connection<P> {
    /// Processes the requests that have arrived and those that arrive meanwhile. Returns `None` when nothing is in flight
    /// and no complete frame is left.
    pub(super) async fn process_concurrent(
        &mut self,
        concurrency: Concurrency,
    ) -> Result<Option<Exit>, Gone> {
        let (shared, info) = (&*self.shared, &self.info);
        let mut driver = Driver {
            shared,
            info,
            concurrency,
            session: &mut self.session,
            framing: &mut self.framing,
            buffers: self.buffers.checkout(),
            io: &mut self.io,
            call: |request| call(shared, info, request),
            slots: Slots::new(),
            queue: VecDeque::new(),
            timeout: Deadline::NEVER,
            is_closing: false,
            has_half_closed: false,
        };
        let (mut began, mut rounds) = (Instant::now(), 0);
        loop {
            let taken = match driver.process() {
                Ok(taken) => taken,
                Err(exit) => return Ok(Some(exit)),
            };
            if driver.slots.in_use() == 0 {
                match taken {
                    Taken::NeedsBytes => return Ok(None),
                    Taken::Eof => return Ok(Some(Exit::Eof)),
                    Taken::Enough | Taken::Yield => {}
                }
            }
            let mut has_waited = false;
            let waited = poll_fn(|cx| {
                let waited = driver.poll_wait(taken, cx);
                has_waited |= waited.is_pending();
                waited
            });
            if let Some(interrupt) = waited.await?
                && let Flow::Break(exit) = driver.interrupt(interrupt)
            {
                return Ok(Some(exit));
            }
            rounds += 1;
            let limit = driver.io.registration().limits().poll_nanos;
            let must_yield = taken == Taken::Yield
                || rounds == ROUNDS
                || began.elapsed().as_nanos() > limit.into();
            if must_yield && !has_waited {
                yield_now().await;
                poll_once(|cx| driver.io.resume(&mut driver.buffers.ahead, cx)).await?;
            }
            if must_yield || has_waited {
                (began, rounds) = (Instant::now(), 0);
            }
        }
    }
}

/// A request whose function is to be called.
struct Request<P: ServerProtocol> {
    bytes: Vec<u8>,
    session: P::Session,
    arrival: Arrival,
    /// Its address counts it until its function is dropped.
    _in_flight: Option<RequestInFlight>,
}

/// What becomes of a request, or of what is in the place of one.
enum Outcome {
    Reply(Reply),
    Rejected(Rejection),
    /// The rest of the read buffer is not a frame.
    BadFrame(FrameError),
}

/// A reply without its frame.
struct Reply {
    bytes: Vec<u8>,
    encoded: Unusual,
}

impl Outcome {
    /// Returns `true` if the connection closes after it.
    fn closes(&self) -> bool {
        match self {
            Self::Reply(reply) => reply.encoded.after != After::Continue,
            Self::Rejected(rejection) => rejection.kind().is_final(),
            Self::BadFrame(_) => true,
        }
    }
}

/// Why the driver takes no further frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// There is no complete one.
    NeedsBytes,
    /// The input has ended.
    Eof,
    /// Enough requests are in flight, or replies in the write buffer, or the connection closes.
    Enough,
    /// The budget of this poll is spent.
    Yield,
}

/// The driver. `F` are the futures that `C` makes of requests.
struct Driver<'a, P: ServerProtocol, F: Future<Output = Outcome>, C> {
    shared: &'a Shared<P>,
    info: &'a ConnectionInfo,
    concurrency: Concurrency,
    /// Each request has a share of it. Borrowed mutably, because it need not be `Sync`.
    session: &'a mut P::Session,
    framing: &'a mut ConnectionFraming<P::Framing>,
    buffers: &'a mut Buffers,
    io: &'a mut Io,
    call: C,
    slots: Slots<F>,
    /// The slots to answer: in order, those of all requests; otherwise those that have an outcome.
    queue: VecDeque<usize>,
    /// No function must have ended before.
    timeout: Deadline,
    /// Whether no further request is taken.
    is_closing: bool,
    /// Whether the functions were dropped at the end of `half_close_timeout`.
    has_half_closed: bool,
}

impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    /// Polls the functions that were woken, answers, and takes further requests. Returns how the connection ends as an
    /// error.
    fn process(&mut self) -> Result<Taken, Exit> {
        for slot in self.slots.take_woken() {
            self.poll_slot(slot);
        }
        loop {
            let taken = self.take_requests();
            if let Flow::Break(exit) = self.answer() {
                return Err(exit);
            }
            // Functions that do not wait have made room for others.
            if taken != Taken::Enough || !self.may_take() {
                return Ok(taken);
            }
        }
    }

    /// Returns `true` if a further request may be taken.
    fn may_take(&self) -> bool {
        let received = self.io.registration().tally().received();
        let is_last = received >= self.shared.limits.requests
            || received > 0 && (self.shared.is_once || !P::Framing::EXCHANGES.are_many());
        !self.is_closing
            && !is_last
            && self.slots.in_use() < self.concurrency.limit()
            && !self.buffers.write.is_full()
    }

    /// Takes the requests that have arrived, and calls their functions.
    fn take_requests(&mut self) -> Taken {
        let limit = self.shared.limits.frame_len;
        while self.may_take() {
            let mut frames = self.buffers.read.frames();
            if frames.has_ended() {
                self.io.start_half_close();
            } else if !frames.has_started() {
                return Taken::NeedsBytes;
            }
            if self.io.must_yield(|| frames.has_started()) {
                return Taken::Yield;
            }
            let input = frames.input(limit, Side::Server);
            let parsed = match self.framing.parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) if frames.has_ended() => return Taken::Eof,
                Ok(None) => {
                    self.io.count_frame(|| true);
                    return Taken::NeedsBytes;
                }
                Err(error) => {
                    self.take_bad_frame(error);
                    continue;
                }
            };
            if parsed.kind == FrameKind::Message {
                let arrival = frames.last_arrival();
                let frame = frames.take(input, parsed);
                let mut bytes = Vec::new();
                let copied = bytes.try_reserve_exact(frame.len());
                let copied = copied.map(|()| bytes.extend_from_slice(frame));
                self.io.count_frame(|| !frames.is_empty());
                self.io.count_request();
                let text = "the server has no memory for a frame of this size";
                let copied = copied.map_err(|_| Rejection::busy(text));
                let slot = self.open_slot();
                if let Err(rejection) = copied.and_then(|()| self.call(slot, bytes, arrival)) {
                    self.finish(slot, Outcome::Rejected(rejection));
                }
                continue;
            }
            let (kind, length) = (parsed.kind, parsed.oversized_len());
            frames.skip(parsed.consumed);
            self.io.count_frame(|| true);
            self.take_other_frame(kind, length);
        }
        Taken::Enough
    }

    /// Returns the slot of a request.
    fn open_slot(&mut self) -> usize {
        let slot = self.slots.open();
        if self.concurrency.is_ordered() {
            self.queue.push_back(slot);
        }
        slot
    }

    /// Calls the function of a request, unless a limit rejects it.
    fn call(&mut self, slot: usize, bytes: Vec<u8>, arrival: Arrival) -> Result<(), Rejection> {
        if self.shared.checks_requests {
            self.io.begin_request(self.shared, arrival)?;
        }
        let in_flight = self.io.take_request();
        let session = share_session::<P>(self.session).ok_or_else(|| {
            let text = "requests run side by side, and the session is not shared (`share_session`)";
            Rejection::new(RejectionKind::Failed, text)
        })?;
        let function = (self.call)(Request {
            bytes,
            session,
            arrival,
            _in_flight: in_flight,
        });
        let (now, limits) = (self.io.registration().now(), &self.shared.limits);
        let deadline = Deadline::after(now, limits.request);
        self.timeout = self.timeout.min(deadline);
        let limits = SlotLimits {
            deadline,
            inherited: limits.request_deadline(),
        };
        self.slots.start(slot, function, limits);
        self.poll_slot(slot);
        Ok(())
    }

    /// Notes bytes in the place of a request that are not a frame. They stay where they are.
    #[cold]
    fn take_bad_frame(&mut self, error: FrameError) {
        self.io.count_unreadable(self.shared);
        let slot = self.open_slot();
        self.finish(slot, Outcome::BadFrame(error));
    }

    /// Handles a frame that is not a message within the limit.
    #[cold]
    fn take_other_frame(&mut self, kind: FrameKind, length: usize) {
        if kind == FrameKind::Oversized {
            self.io.count_unreadable(self.shared);
            let error = FrameError::too_large(length, self.shared.limits.frame_len);
            let rejection = Rejection::new(RejectionKind::TooLarge, error.to_string());
            let slot = self.open_slot();
            self.finish(slot, Outcome::Rejected(rejection));
            return;
        }
        match check_control(kind) {
            Ok(()) => self.io.count_other_frame(),
            Err(error) => self.take_bad_frame(error),
        }
    }

    /// Polls the function in a slot, if one runs.
    fn poll_slot(&mut self, slot: usize) {
        match self.slots.poll(slot) {
            Some(Ok(outcome)) => self.finish(slot, outcome),
            Some(Err(payload)) => self.fail(slot, payload),
            None => {}
        }
    }

    /// Notes that the function of a slot has panicked.
    #[cold]
    fn fail(&mut self, slot: usize, payload: Payload) {
        let log_limiter = self.io.registration().log_limiter();
        let rejection = function_panicked(log_limiter, payload);
        self.finish(slot, Outcome::Rejected(rejection));
    }

    /// Notes what becomes of a request.
    fn finish(&mut self, slot: usize, outcome: Outcome) {
        self.is_closing |= outcome.closes();
        self.slots.finish(slot, outcome);
        if !self.concurrency.is_ordered() {
            self.queue.push_back(slot);
        }
    }

    /// Writes the replies whose turn it is, until the write buffer is full.
    fn answer(&mut self) -> Flow {
        while !self.buffers.write.is_full()
            && let Some(position) = self.next_in_queue()
        {
            self.buffers.write.prepare();
            let flow = self.answer_one(position);
            if let Some(conversation) = self.info.open_conversation() {
                conversation.end_request();
            }
            if let Flow::Break(exit) = flow {
                // Those behind it came before the peer had the reply, so they are not over TLS.
                let is_last = self.slots.in_use() == 0;
                return Flow::Break(if is_last { exit } else { Exit::Close });
            }
        }
        if self.has_half_closed && self.slots.in_use() == 0 {
            self.responder().close_at_half_close();
            return Flow::Break(Exit::Close);
        }
        Flow::Continue(())
    }

    /// Returns the position in the queue of what can be answered next.
    fn next_in_queue(&self) -> Option<usize> {
        let outcome = |slot: &usize| self.slots.outcome(*slot);
        if self.concurrency.is_ordered() {
            return self.queue.front().and_then(outcome).map(|_| 0);
        }
        // What closes the connection waits for all others.
        let is_next = |slot: &usize| outcome(slot).is_some_and(|outcome| !outcome.closes());
        let is_last = self.slots.running() == 0 && !self.queue.is_empty();
        let next = self.queue.iter().position(is_next);
        next.or_else(|| is_last.then_some(0))
    }

    /// Writes what becomes of the request at a position in the queue.
    fn answer_one(&mut self, position: usize) -> Flow {
        let slot = self.queue.remove(position);
        match slot.and_then(|slot| self.slots.take(slot)) {
            Some(Outcome::Reply(reply)) => self.reply(reply),
            Some(Outcome::Rejected(rejection)) => self.responder().reject(&rejection),
            Some(Outcome::BadFrame(error)) => {
                let Buffers { read, write, .. } = &mut *self.buffers;
                let unread = read.input(self.shared.limits.frame_len, Side::Server);
                Responder::new(self.shared, self.framing, write, self.io)
                    .bad_frame(&error, unread.bytes());
                Flow::Break(Exit::Close)
            }
            None => Flow::Continue(()),
        }
    }

    /// Frames a reply.
    fn reply(&mut self, Reply { bytes, encoded }: Reply) -> Flow {
        let Unusual { outcome, mut after } = encoded;
        if !self.concurrency.is_ordered() && !self.queue.is_empty() {
            // Without an order, the last of those that close the connection does it.
            after = After::Continue;
        }
        let framed = if let EncodeOutcome::Written(_) = outcome {
            let limit = self.shared.limits.frame_len;
            let framing = self.framing.get_mut();
            self.buffers.write.message(framing, limit, |out| {
                out.put(&bytes);
                out.set_after(after);
                Ok(())
            })
        } else {
            Err(Unusual { outcome, after })
        };
        if let Err(unusual) = framed {
            let peer = self.info.peer();
            return self.responder().unusual_reply(unusual, peer);
        }
        self.io.count_reply();
        self.responder().after_response()
    }

    fn responder(&mut self) -> Responder<'_, P> {
        Responder::new(self.shared, self.framing, &mut self.buffers.write, self.io)
    }

    /// Flushes, reads ahead, and waits until there is something to do. Returns why functions must be dropped, if they
    /// must.
    fn poll_wait(
        &mut self,
        taken: Taken,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Interrupt>, Gone>> {
        let has_events = self.write_events(cx)?;
        let Buffers { read, ahead, write } = &mut *self.buffers;
        if self.slots.running() == 0 {
            // It waits for nothing but the peer.
            if let Poll::Ready(Err(gone)) = self.io.poll_flush_in_time(write, cx) {
                return Poll::Ready(Err(gone));
            }
        } else {
            let waited = self.io.poll_interrupt(self.timeout, ahead, write, cx);
            if (ahead.has_ended() || read.has_ended())
                && let Some(conversation) = self.info.open_conversation()
            {
                conversation.close();
            }
            if let Poll::Ready(interrupt) = waited {
                return Poll::Ready(interrupt.map(Some));
            }
        }
        let has_room = self.buffers.write.is_empty();
        let goes_on = taken == Taken::Yield
            || self.read_more(taken, cx)?
            || has_room
                && (has_events
                    || self.next_in_queue().is_some()
                    || taken == Taken::Enough && self.may_take());
        if goes_on || !self.slots.sleep(cx) {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// Frames the events that wait. Returns `true` if there may be more.
    fn write_events(&mut self, cx: &TaskContext<'_>) -> Result<bool, Gone> {
        let conversation = self.info.open_conversation();
        let Some(queue) = conversation.and_then(Conversation::pushes) else {
            return Ok(false);
        };
        let outgoing = Outgoing {
            write: &mut self.buffers.write,
            framing: self.framing,
            limit: self.shared.limits.frame_len,
            info: self.info,
            io: self.io,
        };
        { outgoing }.write_events(queue, Some(cx))
    }

    /// Moves bytes that were read ahead to the read buffer, if requests can be taken and it has none. Returns `true` if
    /// there are new ones.
    fn read_more(&mut self, taken: Taken, cx: &mut TaskContext<'_>) -> Result<bool, Gone> {
        let Buffers { read, ahead, .. } = &mut *self.buffers;
        let is_draining = self.io.registration().is_draining();
        if taken != Taken::NeedsBytes || ahead.is_unused() || read.has_ended() || is_draining {
            return Ok(false);
        }
        match self.io.poll_more(read, ahead, cx)? {
            Poll::Ready(Input::Arrived) => {
                if NEEDS_ARRIVALS || self.shared.checks_requests {
                    read.note_arrival(self.io.registration().tally().received());
                }
                Ok(true)
            }
            Poll::Ready(Input::NeedsMemory) => {
                let limit = self.shared.limits.frame_len;
                let unread = read.input(limit, Side::Server).bytes();
                let length = self.framing.frame_len_bound(unread, limit);
                let length = length.max(unread.len().saturating_mul(2));
                // Without it, the frame waits until nothing is in flight, and then for memory.
                let reserved = self.io.registration().memory().try_reserve(length);
                Ok(reserved.is_some_and(|reserved| {
                    read.grow_to(length, reserved);
                    true
                }))
            }
            Poll::Ready(Input::Ended(_)) | Poll::Pending => Ok(false),
        }
    }

    /// Drops the functions whose time is over.
    #[cold]
    fn interrupt(&mut self, interrupt: Interrupt) -> Flow {
        if interrupt == Interrupt::Aborted {
            return self.responder().interrupted(interrupt);
        }
        let is_half_closed = interrupt == Interrupt::HalfClosed;
        self.is_closing |= is_half_closed;
        self.has_half_closed |= is_half_closed;
        self.timeout = Deadline::NEVER;
        for slot in self.slots.positions() {
            let Some(deadline) = self.slots.deadline(slot) else {
                continue;
            };
            if !is_half_closed && !self.io.registration().has_passed(deadline) {
                self.timeout = self.timeout.min(deadline);
                continue;
            }
            let limits = &self.shared.limits;
            let rejection = if is_half_closed {
                half_closed(limits)
            } else {
                timed_out(limits)
            };
            match self.slots.stop(slot) {
                Ok(()) => self.finish(slot, Outcome::Rejected(rejection)),
                Err(payload) => self.fail(slot, payload),
            }
        }
        Flow::Continue(())
    }
}

/// Drops the functions that run. Each may panic, which must neither keep the others nor end the process.
impl<P: ServerProtocol, F: Future<Output = Outcome>, C> Drop for Driver<'_, P, F, C> {
    fn drop(&mut self) {
        for slot in self.slots.positions() {
            if let Err(payload) = self.slots.stop(slot) {
                let log_limiter = self.io.registration().log_limiter();
                log_panic(log_limiter, "the drop of a function", payload);
            }
        }
    }
}

/// Decodes a request and calls its function. The future owns what the request borrows.
async fn call<P: ServerProtocol>(
    shared: &Shared<P>,
    info: &ConnectionInfo,
    request: Request<P>,
) -> Outcome {
    let Request {
        bytes,
        mut session,
        arrival,
        _in_flight,
    } = request;
    let mut scratch = Vec::new();
    let frame = Frame::new(&bytes).with_scratch(&mut scratch);
    let decoded = match P::Request::decode(frame) {
        Ok(decoded) => decoded,
        Err(error) => return Outcome::Rejected(Rejection::bad_request(error.to_string())),
    };
    let _timed = Timed {
        metrics: &shared.metrics,
        timer: Timer::start(&shared.metrics, arrival, P::operation(&decoded)),
    };
    let context = Context::new(info, &mut session);
    let mut function = pin!(shared.protocol.process_request(context, decoded));
    let limit = shared.limits.frame_len;
    // A reply need not be `Send`, so it is encoded before this future can wait again.
    poll_fn(|cx| {
        let result = function.as_mut().poll(cx);
        result.map(|result| encode::<P>(result, limit))
    })
    .await
}

/// Encodes the reply of a function.
fn encode<P: ServerProtocol>(result: Result<P::Reply<'_>, Rejection>, limit: usize) -> Outcome {
    let reply = match result {
        Ok(reply) => reply,
        Err(rejection) => return Outcome::Rejected(rejection),
    };
    let (mut bytes, mut after) = (Vec::new(), After::Continue);
    let mut writer = Writer::new(&mut bytes, limit);
    writer.lend_after(&mut after);
    let encoded = reply.encode(&mut writer).map(|()| writer.into_state());
    let outcome = EncodeOutcome::new(encoded, &bytes, 0, limit);
    let encoded = Unusual { outcome, after };
    Outcome::Reply(Reply { bytes, encoded })
}

/// Records how long a function took when it is dropped, unless it panics.
struct Timed<'a> {
    metrics: &'a Metrics,
    timer: Timer,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            record_call(self.metrics, self.timer);
        }
    }
}
