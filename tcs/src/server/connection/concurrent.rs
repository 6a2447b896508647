//! Processes several requests of a connection at the same time ([`ServerProtocol::CONCURRENT`]).
//!
//! It is a third driver beside those of `dispatch.rs`. The loop of the connection enters it when bytes have arrived, and
//! gets back when no function runs: then it waits as it does for all protocols. Each round of the driver:
//!
//! 1. polls the functions that were woken;
//! 2. writes the replies whose turn it is;
//! 3. takes further requests, each with a copy of its bytes, and polls its function once;
//! 4. flushes, and reads ahead, with the deadlines of [`Io::poll_interrupt`].
//!
//! A function leaves its reply as a message without its frame, because the framing may count its messages: it frames
//! them in the order in which they are sent.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context as TaskContext, Poll},
    thread,
};

use tokio::time::Instant;

use super::{
    super::{
        metrics::{Metrics, NEEDS_ARRIVALS, Timer, record_call},
        shared::Shared,
    },
    Connection,
    clocks::Stopwatch,
    converse::Outgoing,
    io::{Gone, Input, Interrupt, Io, RequestInFlight},
    respond::{Exit, Flow, Responder, half_closed, log_panic},
    slots::Slots,
};
use crate::{
    ConnectionInfo, Rejection, RejectionKind,
    buffer::{Arrival, Buffers, EncodeOutcome, Unusual},
    concurrency::share_session,
    deadline::with_inherited,
    format::{After, Decode as _, Encode as _, EncodeError, Frame, Writer, WriterState},
    framing::{Announcement, ConnectionFraming, FrameError, FrameKind, Framing, Side},
    panics::Payload,
    protocol::{Concurrency, Context, ServerProtocol},
    runtime::wake_after_others,
};

/// How many rounds one poll has. Others run before the next one.
const ROUNDS: usize = 16;
/// How many bytes are kept of what is not a frame, to guess what it is.
const GUESSED: usize = 256;

impl<P: ServerProtocol> Connection<P> {
    /// Processes the requests that have arrived and those that arrive meanwhile. Returns `None` when no function runs
    /// and no complete frame is left.
    pub(super) async fn process_concurrent(
        &mut self,
        concurrency: Concurrency,
    ) -> Result<Option<Exit>, Gone> {
        const {
            assert!(
                !P::Framing::HAS_VALUES,
                "a `Codec` keeps the value of one message, so its requests are processed in sequence: \
                 remove `concurrent`"
            );
        }
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
            in_flight: BTreeMap::new(),
            next_number: 0,
            done: VecDeque::new(),
            last: VecDeque::new(),
            is_closing: false,
            exit: None,
            has_half_closed: false,
            has_yielded: false,
        };
        poll_fn(|cx| driver.poll(cx)).await
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
    /// The function was dropped at the end of `request_timeout`.
    TimedOut,
    /// The function, or the encoding of its reply, panicked.
    Panicked(Payload, After),
    /// These bytes are not a frame. Nothing after them is taken.
    BadFrame(FrameError, Vec<u8>),
}

/// A reply without its frame.
struct Reply {
    bytes: Vec<u8>,
    encoded: Result<WriterState, EncodeError>,
    after: After,
}

/// A request that is not answered.
enum InFlight {
    Running {
        slot: usize,
        clock: Stopwatch,
        /// What the calls that the function makes inherit.
        deadline: Option<Instant>,
    },
    Done(Outcome),
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
struct Driver<'a, P: ServerProtocol, F: Future, C> {
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
    /// By their numbers, which have the order of their arrival.
    in_flight: BTreeMap<u64, InFlight>,
    next_number: u64,
    /// The numbers of those that are done, if they are answered without an order.
    done: VecDeque<u64>,
    /// After these replies, the connection closes. Without an order, they wait for all others.
    last: VecDeque<Outcome>,
    /// Whether no further request is taken.
    is_closing: bool,
    /// How the connection ends, once nothing is in flight.
    exit: Option<Exit>,
    /// Whether the functions were dropped at the end of `half_close_timeout`.
    has_half_closed: bool,
    /// Whether the last poll has spent its budget.
    has_yielded: bool,
}

impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Exit>, Gone>> {
        if std::mem::take(&mut self.has_yielded) {
            self.io.resume(&mut self.buffers.ahead, cx)?;
        }
        let began = Instant::now();
        for _ in 0..ROUNDS {
            for slot in self.slots.take_woken() {
                self.poll_slot(slot);
            }
            let taken = loop {
                let taken = self.take_requests();
                if let Some(exit) = self.answer() {
                    return Poll::Ready(Ok(Some(exit)));
                }
                // Functions that do not wait have made room for others.
                if !self.may_take_more(taken) {
                    break taken;
                }
            };
            if self.is_idle() {
                match taken {
                    Taken::NeedsBytes => return Poll::Ready(Ok(None)),
                    Taken::Eof => return Poll::Ready(Ok(Some(Exit::Eof))),
                    Taken::Enough | Taken::Yield => {}
                }
            }
            let has_events = self.write_events(cx)?;
            let waited = self.poll_io(cx)?;
            if let Poll::Ready(interrupt) = waited
                && let Some(exit) = self.interrupt(interrupt)
            {
                return Poll::Ready(Ok(Some(exit)));
            }
            let is_flushed = self.buffers.write.is_empty();
            let can_go_on = waited.is_ready()
                || taken == Taken::Yield
                || self.read_more(taken, cx)?
                || is_flushed && (has_events || self.has_answers() || self.may_take_more(taken));
            if !can_go_on && self.slots.sleep(cx) {
                return Poll::Pending;
            }
            let spent = began.elapsed().as_nanos();
            if taken == Taken::Yield || spent > self.io.registration().limits().poll_nanos.into() {
                break;
            }
        }
        self.has_yielded = true;
        wake_after_others(cx);
        Poll::Pending
    }

    /// Returns `true` if nothing is in flight.
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.last.is_empty()
    }

    /// Polls the function in a slot.
    fn poll_slot(&mut self, slot: usize) {
        let Some(number) = self.slots.number(slot) else {
            return;
        };
        let Some(InFlight::Running { deadline, .. }) = self.in_flight.get(&number) else {
            return;
        };
        match with_inherited(*deadline, || self.slots.poll(slot)) {
            Some(Ok(outcome)) => self.end_function(number, slot, outcome),
            Some(Err(payload)) => {
                let panicked = Outcome::Panicked(payload, After::Continue);
                self.end_function(number, slot, panicked);
            }
            None => {}
        }
    }

    /// Drops the function in a slot, and notes what becomes of its request.
    fn end_function(&mut self, number: u64, slot: usize, outcome: Outcome) {
        // Its drop may panic, and a panic is answered, too.
        let outcome = match self.slots.free(slot) {
            Ok(()) => outcome,
            Err(payload) => Outcome::Panicked(payload, After::Continue),
        };
        self.finish(number, outcome);
    }

    /// Notes what becomes of a request.
    fn finish(&mut self, number: u64, outcome: Outcome) {
        self.in_flight.insert(number, InFlight::Done(outcome));
        if !self.concurrency.is_ordered() {
            self.done.push_back(number);
        }
    }
}

/// Taking requests.
impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    /// Returns `true` if a further request may be taken.
    fn may_take(&self) -> bool {
        let received = self.io.registration().tally().received();
        let is_last = received >= self.shared.limits.requests
            || received > 0 && (self.shared.is_once || !P::Framing::EXCHANGES.are_many());
        !self.is_closing
            && !is_last
            && self.in_flight.len() < self.concurrency.limit()
            && !self.buffers.write.is_full()
    }

    /// Returns `true` if a further request may be taken that could not when the last ones were.
    fn may_take_more(&self, taken: Taken) -> bool {
        taken == Taken::Enough && self.may_take()
    }

    /// Takes the requests that have arrived, and calls their functions.
    fn take_requests(&mut self) -> Taken {
        let limit = self.shared.limits.frame_len;
        loop {
            if !self.may_take() {
                return Taken::Enough;
            }
            let mut frames = self.buffers.read.frames();
            if frames.has_ended() {
                self.io.start_half_close();
            }
            if !frames.has_started() && !frames.has_ended() {
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
                    if frames.has_started() {
                        self.io.count_frame(|| true);
                    }
                    return Taken::NeedsBytes;
                }
                Err(error) => {
                    let unread = input.bytes();
                    let unread = unread.get(..GUESSED).unwrap_or(unread).to_vec();
                    self.take_bad_frame(error, unread);
                    return Taken::Enough;
                }
            };
            let arrival = frames.last_arrival();
            if parsed.kind == FrameKind::Message {
                let frame = frames.take(input, parsed);
                let mut bytes = Vec::new();
                let copied = bytes.try_reserve_exact(frame.len());
                if copied.is_ok() {
                    bytes.extend_from_slice(frame);
                }
                self.io.count_frame(|| !frames.is_empty());
                self.io.count_request();
                let number = self.number();
                if let Err(rejection) = copied
                    .map_err(|_| {
                        Rejection::busy("the server has no memory for a frame of this size")
                    })
                    .and_then(|()| self.begin(number, bytes, arrival))
                {
                    self.finish(number, Outcome::Rejected(rejection));
                }
                continue;
            }
            let (kind, length) = (parsed.kind, parsed.oversized_len());
            frames.skip(parsed.consumed);
            self.io.count_frame(|| true);
            self.take_other_frame(kind, length);
        }
    }

    /// Returns the number of the next request.
    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Calls the function of a request, unless a limit rejects it.
    fn begin(&mut self, number: u64, bytes: Vec<u8>, arrival: Arrival) -> Result<(), Rejection> {
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
        let slot = self.slots.insert(function, number);
        let mut clock = Stopwatch::default();
        clock.start(self.io.registration().now());
        let deadline = self.shared.limits.request_deadline();
        let running = InFlight::Running {
            slot,
            clock,
            deadline,
        };
        self.in_flight.insert(number, running);
        self.poll_slot(slot);
        Ok(())
    }

    /// Notes bytes in the place of a request that are not a frame.
    #[cold]
    fn take_bad_frame(&mut self, error: FrameError, unread: Vec<u8>) {
        self.io.count_unreadable(self.shared);
        self.is_closing = true;
        let number = self.number();
        self.finish(number, Outcome::BadFrame(error, unread));
    }

    /// Handles a frame that is not a message within the limit.
    #[cold]
    fn take_other_frame(&mut self, kind: FrameKind, length: usize) {
        match kind {
            FrameKind::Oversized => {
                self.io.count_unreadable(self.shared);
                let error = FrameError::too_large(length, self.shared.limits.frame_len);
                let rejection = Rejection::new(RejectionKind::TooLarge, error.to_string());
                let number = self.number();
                self.finish(number, Outcome::Rejected(rejection));
            }
            FrameKind::Control(..0x80)
            | FrameKind::Announced(Announcement::Items | Announcement::Events) => {
                let error = FrameError::malformed("a control frame that clients do not send");
                self.take_bad_frame(error, Vec::new());
            }
            FrameKind::Announced(Announcement::Chunks)
            | FrameKind::Message
            | FrameKind::Skip
            | FrameKind::Control(_) => self.io.count_other_frame(),
        }
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
                // Without it, the frame waits until no function runs, and then for memory.
                let reserved = self.io.registration().memory().try_reserve(length);
                Ok(reserved.is_some_and(|reserved| {
                    read.grow_to(length, reserved);
                    true
                }))
            }
            Poll::Ready(Input::Ended(_)) | Poll::Pending => Ok(false),
        }
    }
}

/// Answering requests.
impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    /// Returns `true` if there is something to write.
    fn has_answers(&self) -> bool {
        if self.concurrency.is_ordered() {
            let first = self.in_flight.first_key_value();
            matches!(first, Some((_, InFlight::Done(_))))
        } else {
            !self.done.is_empty() || self.in_flight.is_empty() && !self.last.is_empty()
        }
    }

    /// Writes the replies whose turn it is, until the write buffer is full. Returns how the connection ends, if it does
    /// so now.
    fn answer(&mut self) -> Option<Exit> {
        while !self.buffers.write.is_full()
            && let Some(outcome) = self.next_outcome()
        {
            let flow = self.respond(outcome);
            if let Some(conversation) = self.info.open_conversation() {
                conversation.end_request();
            }
            if let Flow::Break(exit) = flow {
                self.is_closing = true;
                let has_others = !self.is_idle();
                // Those behind it came before the peer had the reply, so they are not over TLS.
                let exit = if has_others { Exit::Close } else { exit };
                if self.concurrency.is_ordered() {
                    return Some(exit);
                }
                self.exit = Some(exit);
            }
        }
        let exit = self.exit.filter(|_| self.is_idle())?;
        if self.has_half_closed {
            self.responder().close_at_half_close();
        }
        Some(exit)
    }

    /// Takes the next request that can be answered.
    fn next_outcome(&mut self) -> Option<Outcome> {
        if self.concurrency.is_ordered() {
            let first = self.in_flight.first_entry()?;
            return match first.get() {
                InFlight::Running { .. } => None,
                InFlight::Done(_) => match first.remove() {
                    InFlight::Done(outcome) => Some(outcome),
                    InFlight::Running { .. } => None,
                },
            };
        }
        while let Some(number) = self.done.pop_front() {
            let Some(InFlight::Done(outcome)) = self.in_flight.remove(&number) else {
                continue;
            };
            if outcome.closes() {
                self.is_closing = true;
                self.last.push_back(outcome);
            } else {
                return Some(outcome);
            }
        }
        if !self.in_flight.is_empty() {
            return None;
        }
        let mut outcome = self.last.pop_front()?;
        if !self.last.is_empty()
            && let Outcome::Reply(reply) = &mut outcome
        {
            // The last of them closes the connection.
            reply.after = After::Continue;
        }
        Some(outcome)
    }

    /// Writes what becomes of a request.
    fn respond(&mut self, outcome: Outcome) -> Flow {
        self.buffers.write.prepare();
        match outcome {
            Outcome::Reply(reply) => self.reply(reply),
            Outcome::Rejected(rejection) => self.responder().reject(&rejection),
            Outcome::TimedOut => self.responder().interrupted(Interrupt::TimedOut),
            Outcome::Panicked(payload, after) => self.responder().function_panicked(payload, after),
            Outcome::BadFrame(error, unread) => {
                self.responder().bad_frame(&error, &unread);
                Flow::Break(Exit::Close)
            }
        }
    }

    /// Frames a reply.
    fn reply(&mut self, reply: Reply) -> Flow {
        let Reply {
            mut bytes,
            encoded,
            after,
        } = reply;
        let limit = self.shared.limits.frame_len;
        let unusual = |outcome| Err(Unusual { outcome, after });
        let written = match encoded {
            Ok(WriterState::Message) => {
                let framing = self.framing.get_mut();
                self.buffers.write.message(framing, limit, |out| {
                    match after {
                        After::Continue => {}
                        After::Close => out.close_after(),
                        After::StartTls => out.start_tls_after(),
                    }
                    out.put(&bytes);
                    Ok(())
                })
            }
            Ok(WriterState::Nothing) => unusual(EncodeOutcome::Nothing),
            Ok(WriterState::Error(place)) => {
                bytes.truncate(place.end);
                let text = bytes.get(place.start..).unwrap_or_default();
                let text = String::from_utf8_lossy(text).into_owned();
                unusual(EncodeOutcome::Error(text))
            }
            Ok(WriterState::TooLarge(length)) => {
                let error = if length <= limit {
                    FrameError::out_of_memory(length)
                } else {
                    FrameError::too_large(length, limit)
                };
                unusual(EncodeOutcome::Unsendable(error))
            }
            Err(error) => unusual(EncodeOutcome::Unencodable(error)),
        };
        if let Err(encoded) = written {
            let peer = self.info.peer();
            return self.responder().unusual_reply(encoded, peer);
        }
        self.io.count_reply();
        self.responder().after_response()
    }

    fn responder(&mut self) -> Responder<'_, P> {
        Responder::new(self.shared, self.framing, &mut self.buffers.write, self.io)
    }
}

/// Waiting.
impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    /// Frames the events that wait. Returns `true` if there may be more.
    fn write_events(&mut self, cx: &TaskContext<'_>) -> Result<bool, Gone> {
        let conversation = self.info.open_conversation();
        let Some(queue) = conversation.and_then(|conversation| conversation.pushes()) else {
            return Ok(false);
        };
        let mut outgoing = Outgoing {
            write: &mut self.buffers.write,
            framing: &mut *self.framing,
            limit: self.shared.limits.frame_len,
            info: self.info,
            io: &*self.io,
        };
        outgoing.write_events(queue, Some(cx))
    }

    /// Flushes and reads ahead. Returns why functions must be dropped, if they must.
    fn poll_io(&mut self, cx: &mut TaskContext<'_>) -> Result<Poll<Interrupt>, Gone> {
        let Buffers { read, ahead, write } = &mut *self.buffers;
        // They are in the order in which they were called, and those that are done are few or at the front.
        let oldest = self.in_flight.values().find_map(|request| match request {
            InFlight::Running { clock, .. } => Some(*clock),
            InFlight::Done(_) => None,
        });
        let Some(oldest) = oldest else {
            // It waits for nothing but the peer.
            return match self.io.poll_flush_in_time(write, cx) {
                Poll::Ready(Err(gone)) => Err(gone),
                _ => Ok(Poll::Pending),
            };
        };
        let waited = self.io.poll_interrupt(oldest, ahead, write, cx);
        if (ahead.has_ended() || read.has_ended())
            && let Some(conversation) = self.info.open_conversation()
        {
            conversation.close();
        }
        match waited {
            Poll::Ready(Ok(interrupt)) => Ok(Poll::Ready(interrupt)),
            Poll::Ready(Err(gone)) => Err(gone),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Drops the functions whose time is over. Returns how the connection ends, if it does so now.
    #[cold]
    fn interrupt(&mut self, interrupt: Interrupt) -> Option<Exit> {
        let limits = &self.shared.limits;
        let is_over = |clock: Stopwatch| match interrupt {
            Interrupt::TimedOut => {
                let deadline = clock.deadline(limits.request);
                self.io.registration().has_passed(deadline)
            }
            Interrupt::HalfClosed | Interrupt::Aborted => true,
        };
        let running = self.in_flight.iter();
        let over: Vec<_> = running
            .filter_map(|(number, request)| match request {
                InFlight::Running { slot, clock, .. } => {
                    is_over(*clock).then_some((*number, *slot))
                }
                InFlight::Done(_) => None,
            })
            .collect();
        if interrupt == Interrupt::Aborted {
            self.buffers.write.prepare();
            let Flow::Break(exit) = self.responder().interrupted(interrupt) else {
                return Some(Exit::Close);
            };
            return Some(exit);
        }
        for (number, slot) in over {
            let outcome = match interrupt {
                Interrupt::HalfClosed => Outcome::Rejected(half_closed(limits)),
                _ => Outcome::TimedOut,
            };
            self.end_function(number, slot, outcome);
        }
        if interrupt == Interrupt::HalfClosed {
            self.is_closing = true;
            self.has_half_closed = true;
            self.exit.get_or_insert(Exit::Close);
        }
        None
    }
}

/// Drops the functions that run. Each may panic, which must neither keep the others nor end the process.
impl<P: ServerProtocol, F: Future, C> Drop for Driver<'_, P, F, C> {
    fn drop(&mut self) {
        for request in self.in_flight.values() {
            if let InFlight::Running { slot, .. } = request
                && let Err(payload) = self.slots.free(*slot)
            {
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
        result.map(|result| Outcome::of::<P>(result, limit))
    })
    .await
}

impl Outcome {
    /// Encodes the reply of a function.
    fn of<P: ServerProtocol>(result: Result<P::Reply<'_>, Rejection>, limit: usize) -> Self {
        let reply = match result {
            Ok(reply) => reply,
            Err(rejection) => return Self::Rejected(rejection),
        };
        let (mut bytes, mut after) = (Vec::new(), After::Continue);
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            let mut writer = Writer::new(&mut bytes, limit);
            writer.lend_after(&mut after);
            reply.encode(&mut writer).map(|()| writer.into_state())
        }));
        match encoded {
            Ok(encoded) => Self::Reply(Reply {
                bytes,
                encoded,
                after,
            }),
            Err(payload) => Self::Panicked(payload, after),
        }
    }

    /// Returns `true` if the connection closes after it.
    fn closes(&self) -> bool {
        match self {
            Self::Reply(Reply { after, .. }) | Self::Panicked(_, after) => {
                *after != After::Continue
            }
            Self::Rejected(rejection) => rejection.kind().is_final(),
            Self::TimedOut => false,
            Self::BadFrame(..) => true,
        }
    }
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
