//! Takes requests off the read buffer, and notices about them.

use tokio::time::Instant;

use super::{
    super::{
        super::{
            limits::{Deadline, Limit},
            metrics::NEEDS_ARRIVALS,
        },
        dispatch::check_control,
        respond::client_timed_out,
    },
    Driver,
    backlog::QueuedRequest,
    call::{Outcome, Request},
};
use crate::{
    Rejection, RejectionKind,
    buffer::{Arrival, Buffers, ReadError},
    concurrency::share_session,
    framing::{FrameError, FrameKind, Framing, Input as FramingInput, Notice, Side},
    protocol::ServerProtocol,
};

/// Why the driver takes no further frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There is no complete one.
    NeedsBytes,
    /// The input has ended.
    Eof,
    /// Enough requests are in flight, or replies in the write buffer, or the connection closes.
    Enough,
    /// The budget of this poll is spent.
    Yield,
}

impl<P, F, C> Driver<'_, P, F, C>
where
    P: ServerProtocol,
    F: Future<Output = Outcome>,
    C: FnMut(Request<P>) -> F,
{
    /// Returns `true` if a further request may be received.
    fn may_receive(&self) -> bool {
        let received = self.io.registration().tally().received();
        let is_last = received >= self.shared.limits.requests
            || received > 0 && (self.shared.is_once || !P::Framing::EXCHANGES.are_many());
        !self.is_closing && !is_last
    }

    /// Returns `true` if a function may be called.
    fn may_call(&self) -> bool {
        !self.is_closing && self.slots.in_use() < self.limit && !self.buffers.write.is_full()
    }

    /// Returns `true` if further requests can be taken that could not when the last ones were.
    pub(super) fn may_take_more(&self, taken: Taken) -> bool {
        let has_more = taken == Taken::Enough && self.may_receive();
        has_more && self.may_wait() || self.may_call() && (has_more || !self.backlog.is_empty())
    }

    /// Takes the requests that have arrived, and calls their functions.
    pub(super) fn take_requests(&mut self) -> Taken {
        let limit = self.shared.limits.frame_len;
        loop {
            while self.may_call()
                && let Some(waiting) = self.backlog.pop()
            {
                self.start(waiting);
            }
            let must_wait = !self.may_call();
            if !self.may_receive() || must_wait && !self.may_wait() {
                return Taken::Enough;
            }
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
                let waiting = self.waiting(bytes, arrival);
                if copied.is_err() {
                    let text = "the server has no memory for a frame of this size";
                    self.reject(waiting.id, Rejection::busy(text));
                } else if must_wait {
                    self.backlog.push(waiting);
                } else {
                    self.start(waiting);
                }
                continue;
            }
            let (kind, length) = (parsed.kind, parsed.oversized_len());
            let mut notice = None;
            if P::Framing::HAS_IDS
                && let FrameKind::Control(code) = kind
            {
                let text = input.bytes().get(parsed.payload()).unwrap_or_default();
                notice = Notice::from_frame(code, text);
                if let Some(Notice::Deadline(_)) = notice
                    && !frames.has_ended()
                {
                    // It stays with its request, because it would be lost when nothing is in flight.
                    let id = self.framing.get_mut().id();
                    let rest = input.bytes().get(parsed.consumed..).unwrap_or_default();
                    let rest = FramingInput::new(rest, limit, Side::Server, input.read_state());
                    if let Ok(None) = self.framing.parse(rest) {
                        return Taken::NeedsBytes;
                    }
                    self.deadline = Some((id, notice.and_then(Notice::number).unwrap_or_default()));
                }
            }
            frames.skip(parsed.consumed);
            self.io.count_frame(|| true);
            match notice {
                Some(Notice::Deadline(_)) => {}
                Some(notice) => self.take_notice(notice),
                None => self.take_other_frame(kind, length),
            }
        }
    }

    /// Returns `true` if requests beyond the limit may be received, because notices may follow them.
    fn may_wait(&self) -> bool {
        // The answers of cancelled requests wait as well, for a peer that does not read.
        P::Framing::HAS_IDS && self.queue.len() < self.limit && !self.backlog.is_full()
    }

    /// Returns the request that was parsed last.
    fn waiting(&mut self, bytes: Vec<u8>, arrival: Arrival) -> QueuedRequest {
        let id = self.framing.get_mut().id();
        let limit = self.deadline.take_if(|(of, _)| *of == id);
        let limit = limit.map(|(_, millis)| Limit::from_millis(millis.into()));
        let now = self.io.registration().now();
        QueuedRequest {
            id,
            bytes,
            arrival,
            last: limit.map_or(Deadline::NEVER, |limit| Deadline::after(now, limit)),
            inherited: limit.and_then(|limit| Instant::now().checked_add(limit.as_duration())),
        }
    }

    /// Calls the function of a request, unless a limit rejects it.
    fn start(&mut self, waiting: QueuedRequest) {
        let slot = self.open_slot(waiting.id);
        if self.io.registration().has_passed(waiting.last) {
            self.finish(slot, Outcome::Rejected(client_timed_out()));
        } else if let Err(rejection) = self.call(slot, waiting) {
            self.finish(slot, Outcome::Rejected(rejection));
        }
    }

    fn call(&mut self, slot: usize, waiting: QueuedRequest) -> Result<(), Rejection> {
        let QueuedRequest {
            bytes,
            arrival,
            last,
            inherited,
            ..
        } = waiting;
        if self.shared.checks_requests {
            self.io.begin_request(self.shared, arrival)?;
        }
        let in_flight = self.io.take_request();
        let session = share_session::<P>(self.session).ok_or_else(|| {
            let text = "requests run side by side, and the session is not shared (`share_session`)";
            Rejection::new(RejectionKind::Failed, text)
        })?;
        let (now, limits) = (self.io.registration().now(), &self.shared.limits);
        let Some(request) = self.slots.request_mut(slot) else {
            return Ok(());
        };
        let info = request.info.clone();
        request.deadline = Deadline::after(now, limits.request).min(last);
        request.last = last;
        let limit = limits.request_deadline();
        request.inherited = limit.into_iter().chain(inherited).min();
        self.timeout = self.timeout.min(request.deadline);
        let function = (self.call)(Request {
            bytes,
            session,
            info,
            arrival,
            _in_flight: in_flight,
        });
        self.slots.start(slot, function);
        self.poll_slot(slot);
        Ok(())
    }

    /// Returns the slot of a request.
    fn open_slot(&mut self, id: u32) -> usize {
        let slot = self.slots.open(self.info);
        if let Some(request) = self.slots.request_mut(slot) {
            request.begin::<P::Framing>(id);
        }
        if self.is_ordered {
            self.queue.push_back(slot);
        }
        slot
    }

    /// Rejects a request without a function.
    #[cold]
    fn reject(&mut self, id: u32, rejection: Rejection) {
        let slot = self.open_slot(id);
        self.finish(slot, Outcome::Rejected(rejection));
    }

    /// Notes bytes in the place of a request that are not a frame. They stay where they are.
    #[cold]
    fn take_bad_frame(&mut self, error: FrameError) {
        self.io.count_unreadable(self.shared);
        let slot = self.open_slot(0);
        self.finish(slot, Outcome::BadFrame(error));
    }

    /// Handles a frame that is not a message within the limit.
    #[cold]
    fn take_other_frame(&mut self, kind: FrameKind, length: usize) {
        if kind == FrameKind::Oversized {
            self.io.count_unreadable(self.shared);
            let error = FrameError::too_large(length, self.shared.limits.frame_len);
            let id = self.framing.get_mut().id();
            self.reject(
                id,
                Rejection::new(RejectionKind::TooLarge, error.to_string()),
            );
            return;
        }
        match check_control(kind) {
            Ok(()) => self.io.count_other_frame(),
            Err(error) => self.take_bad_frame(error),
        }
    }

    /// Does what the client has told about a request. Ids that are not in use are ignored: the reply may have been on its
    /// way.
    #[cold]
    fn take_notice(&mut self, notice: Notice) {
        let id = self.framing.get_mut().id();
        let slot = self.slots.find(id);
        match (notice, slot) {
            (Notice::Credit(bytes), Some(slot)) => {
                if let Some(request) = self.slots.request_mut(slot) {
                    request.credit = request.credit.saturating_add(bytes.into());
                }
            }
            (Notice::Cancel, Some(slot)) => self.cancel(slot),
            (Notice::Cancel, None) => self.cancel_queued(id),
            _ => {}
        }
    }

    fn cancel_queued(&mut self, id: u32) {
        if self.backlog.remove(id) {
            self.reject(id, cancelled());
        }
    }

    /// Drops a request that the client has cancelled. It is still answered once, because the client uses its id only then
    /// again.
    fn cancel(&mut self, slot: usize) {
        if !self.slots.outcome(slot).is_some_and(Outcome::closes) {
            self.stop(slot, Outcome::Rejected(cancelled()));
        }
    }

    /// Moves bytes that were read ahead to the read buffer, if requests can be taken and it has none. Returns `true` if
    /// there are new ones.
    pub(super) fn read_more(&mut self, taken: Taken) -> bool {
        // A stream needs notices to end.
        let is_draining = self.io.registration().is_draining() && !self.waits_for_credit();
        let Buffers { read, ahead, .. } = &mut *self.buffers;
        if taken != Taken::NeedsBytes || ahead.is_unused() || read.has_ended() || is_draining {
            return false;
        }
        match self.io.take_ahead(read, ahead) {
            Ok(()) => {
                if NEEDS_ARRIVALS || self.shared.checks_requests {
                    read.note_arrival(self.io.registration().tally().received());
                }
                true
            }
            Err(ReadError::NeedsMemory) => {
                let limit = self.shared.limits.frame_len;
                let unread = read.input(limit, Side::Server).bytes();
                let length = self.framing.frame_len_bound(unread, limit);
                let length = length.max(unread.len().saturating_mul(2));
                // Without it, the frame waits until nothing is in flight, and then for memory.
                let reserved = self.io.registration().memory().try_reserve(length);
                reserved.is_some_and(|reserved| {
                    read.grow_to(length, reserved);
                    true
                })
            }
            Err(_) => false,
        }
    }
}

fn cancelled() -> Rejection {
    Rejection::new(RejectionKind::Cancelled, "the client has cancelled it")
}
