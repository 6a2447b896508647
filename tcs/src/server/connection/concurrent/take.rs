//! Takes requests off the read buffer, and notices about them.

use std::sync::Arc;

use super::{
    super::{
        Next,
        clocks::CONTENDED,
        end::End,
        rejections::{MEMORY_IN_USE, cancelled, check_control, going_away, late_frame, too_large},
    },
    ConcurrentDriver, Phase,
    backlog::Request,
    execute::{Outcome, closes},
    request::ClientDeadline,
};
use crate::{
    Rejection, RejectionKind,
    buffer::ReadError,
    framing::{FrameKind, Framing, Notice, ParsedFrame, Side},
    protocol::{ServerProtocol, share_session},
    server::{metrics::NEEDS_ARRIVALS, time::Deadline},
};

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Returns `true` if a further request may be received.
    fn may_receive(&self) -> bool {
        let received = self.out.io.registration.tally().received();
        let is_last = received >= self.out.shared.limits.max_requests_per_connection
            || received > 0 && (self.out.shared.is_once || !P::Framing::EXCHANGES.are_many());
        self.phase < Phase::Closing && !is_last
    }

    /// Returns `true` if a function may be called.
    fn may_call(&self) -> bool {
        // A slot is in use until its reply is framed. So a peer that does not read has at most `limit` replies and a buffer.
        self.phase < Phase::Closing && self.slots.in_use() < self.limit && !self.out.write.is_full()
    }

    /// Returns `true` if requests beyond the limit may be received, because notices may follow them.
    fn may_queue(&self) -> bool {
        // Requests that are rejected have slots as well, until the peer reads the answers.
        let has_slots = self.slots.in_use() < self.limit.saturating_mul(2);
        P::Framing::HAS_IDS && has_slots && (!self.backlog.is_full() || self.needs_notices())
    }

    fn may_take_frame(&self) -> bool {
        (self.may_call() || self.may_queue()) && (self.may_receive() || self.needs_notices())
    }

    /// Returns `true` if a stream waits for credit, and notices can still be received.
    pub(super) fn needs_notices(&self) -> bool {
        self.phase < Phase::Unreadable && self.outbox.needs_notices(&self.slots)
    }

    /// Returns `true` if further requests can be taken that could not be taken with the last ones.
    pub(super) fn can_progress(&self, next: &Next) -> bool {
        match next {
            // The budget of this poll is spent.
            Next::Yield => false,
            Next::Flush if self.may_take_frame() => true,
            _ => self.may_call_queued(),
        }
    }

    /// Returns `true` if the function of a request that waits for a place may be called.
    fn may_call_queued(&self) -> bool {
        self.may_call() && !self.backlog.is_empty()
    }

    /// Takes the frames that have arrived, and calls the functions of requests.
    pub(super) fn take_requests(&mut self) -> Next {
        loop {
            while self.may_call_queued() {
                if self.out.io.must_yield(|| true) {
                    return Next::Yield;
                }
                if let Some(queued) = self.backlog.pop() {
                    self.out.io.count_frame(|| !self.backlog.is_empty());
                    self.start(queued);
                }
            }
            if !self.may_take_frame() {
                return Next::Flush;
            }
            if let Err(next) = self.take_frame() {
                return next;
            }
        }
    }

    /// Takes the next frame, or returns why it takes none.
    fn take_frame(&mut self) -> Result<(), Next> {
        let frames = self.read.frames();
        if frames.has_ended() {
            self.out.io.start_half_close();
        } else if !frames.has_started() {
            return Err(Next::Read);
        }
        if self.out.io.must_yield(|| frames.has_started()) {
            return Err(Next::Yield);
        }
        let input = frames.input(self.out.shared.limits.max_frame_len, Side::Server);
        match self.out.framing.parse(input) {
            Ok(Some(parsed)) if parsed.kind == FrameKind::Message => self.take_message(&parsed),
            Ok(Some(parsed)) => self.take_other_frame(&parsed),
            Ok(None) if frames.has_ended() => return Err(End::Eof.into()),
            Ok(None) => {
                // An incomplete frame counts as well, because more of it may arrive in each read.
                self.out.io.count_frame(|| true);
                return Err(Next::Read);
            }
            Err(error) => {
                self.end_input();
                self.bad_frame = Some(error);
            }
        }
        Ok(())
    }

    /// Takes a request. Calls its function, unless it must wait or is rejected.
    fn take_message(&mut self, parsed: &ParsedFrame) {
        let is_refused = self.phase != Phase::Serving || !self.may_receive();
        let io = &mut *self.out.io;
        let arrival = self.read.frames().last_arrival();
        // A copy, because the function may wait while the buffer is used for the next frames. Without memory for it, the
        // request stays in the buffer.
        let message = self.read.take_owned(parsed, io.registration.memory());
        io.end_frame();
        io.count_frame(|| self.read.has_started());
        io.count_request();
        let client_deadline = ClientDeadline::new(io.now(), self.out.framing.take_deadline(parsed));
        let message = match (message, self.check_limits(is_refused)) {
            (Ok(message), Ok(())) => message,
            (message, checked) => {
                let busy = checked.err();
                let busy = busy.unwrap_or_else(|| Rejection::busy(MEMORY_IN_USE));
                let bytes = match &message {
                    Ok(message) => message.bytes(),
                    Err(place) => self.read.bytes_at(place.clone()),
                };
                let rejection = busy.of_request::<P::Framing>(bytes);
                return self.reject(parsed.id, rejection);
            }
        };
        let request = Request {
            id: parsed.id,
            message,
            arrival,
            client_deadline,
            in_flight: None,
        };
        if self.may_call() {
            self.start(request);
        } else {
            self.backlog.push(request);
        }
    }

    /// Returns an error if a request can neither be started nor wait for a place.
    fn check_limits(&self, is_refused: bool) -> Result<(), Rejection> {
        if is_refused {
            return Err(Rejection::busy("the connection closes"));
        }
        let waiting = self.slots.in_use() + self.backlog.len() + 1;
        self.out.shared.limits.check_pipeline(waiting as u64)?;
        if !self.may_call() && self.backlog.is_full() {
            // The request was taken to find credit after it.
            let text = "other requests wait, and a streamed reply waits for credit";
            return Err(Rejection::busy(text));
        }
        Ok(())
    }

    /// Calls the function of a request, unless a limit rejects it.
    fn start(&mut self, request: Request) {
        let slot = self.open_slot(request.id);
        if let Err(rejection) = self.try_start(slot, request) {
            self.finish(slot, Err(rejection));
        }
    }

    /// Calls the function of a request in a slot, or returns why it is rejected.
    fn try_start(&mut self, slot: usize, mut request: Request) -> Result<(), Rejection> {
        if self.out.io.has_passed(request.client_deadline.at) {
            // The request was not executed, in contrast to one that timed out.
            let text = "the deadline of the client was over before the function could be called";
            return Err(Rejection::busy(text));
        }
        if self.out.shared.checks_requests {
            let begun = self.out.io.begin_request(self.out.shared, request.arrival);
            request.in_flight =
                begun.map_err(|busy| busy.of_request::<P::Framing>(request.message.bytes()))?;
        }
        let registration = &self.out.io.registration;
        let session = match share_session::<P>(self.session) {
            Ok(Some(session)) => session,
            Ok(None) => {
                let text =
                    "requests run side by side, and the session is not shared (`share_session`)";
                return Err(Rejection::new(RejectionKind::Failed, text));
            }
            Err(payload) => return Err(self.out.function_panicked(payload)),
        };
        let Some(active) = self.slots.request_mut(slot) else {
            return Ok(());
        };
        active.start(
            request.client_deadline,
            registration.now(),
            &self.out.shared.limits,
        );
        self.next_deadline = self.next_deadline.min(active.deadline);
        let info = Arc::clone(&active.info);
        let function = (self.new_future)(self.out.shared, request, session, info);
        self.slots.start(slot, function);
        // At once: the waker of a function is not called before its first poll.
        self.poll_slot(slot);
        Ok(())
    }

    /// Returns the slot of a request.
    fn open_slot(&mut self, id: u32) -> usize {
        let slot = self.slots.open(self.out.info);
        if let Some(request) = self.slots.request_mut(slot) {
            request.begin::<P::Framing>(id);
        }
        self.outbox.add_received(slot);
        slot
    }

    /// Rejects a request without a function.
    #[cold]
    fn reject(&mut self, id: u32, rejection: Rejection) {
        let slot = self.open_slot(id);
        self.finish(slot, Err(rejection));
    }

    /// Rejects a frame that is not complete in time. Its memory is free while the functions go on.
    #[cold]
    pub(super) fn reject_frame(&mut self) {
        if self.phase >= Phase::Unreadable {
            // The answer to this input quotes the read buffer.
            return;
        }
        let Self { read, ahead, .. } = self;
        let memory = self.out.io.registration.memory();
        // Bytes that were read ahead wait for memory.
        let rejection = if read.is_contended(memory) || !ahead.is_unused() {
            going_away(MEMORY_IN_USE)
        } else {
            late_frame(&self.out.shared.limits, read)
        };
        let arrived = read
            .input(self.out.shared.limits.max_frame_len, Side::Server)
            .bytes();
        let rejection = rejection.of_request::<P::Framing>(arrived);
        read.clear();
        self.end_input();
        self.reject(0, rejection);
    }

    /// Takes a frame that is not a message within the limit.
    #[cold]
    fn take_other_frame(&mut self, parsed: &ParsedFrame) {
        let too_large = (parsed.kind == FrameKind::Oversized).then(|| {
            let limit = self.out.shared.limits.max_frame_len;
            let unread = self.read.input(limit, Side::Server).bytes();
            let arrived = unread.get(..parsed.consumed).unwrap_or(unread);
            too_large::<P::Framing>(parsed.oversized_len(), limit, arrived)
        });
        let place = (self.read).consume(&parsed.payload(), parsed.consumed);
        self.out.io.end_frame();
        self.out.io.count_frame(|| true);
        if let Some(rejection) = too_large {
            self.out.io.count_unreadable(self.out.shared);
            self.reject(parsed.id, rejection);
        } else if P::Framing::HAS_IDS
            && let FrameKind::Control(code) = parsed.kind
            && let Some(notice @ (Notice::Credit(_) | Notice::Cancel | Notice::Deadline(_))) =
                Notice::from_frame(code, self.read.bytes_at(place))
        {
            self.take_notice(parsed.id, notice);
        } else if parsed.kind == FrameKind::Control(Notice::Cancel.code())
            && let Some(slot) = self.outbox.newest()
        {
            // Without ids, the notice is about the request before it.
            self.cancel(slot);
        } else if let Err(error) = check_control(parsed.kind) {
            self.end_input();
            self.bad_frame = Some(error);
        } else if self.is_idle() {
            self.out.io.start_idle();
        }
    }

    /// Applies a notice of the client about a request. A notice about an id that is not in use is ignored, because the
    /// reply may have been on its way.
    #[cold]
    fn take_notice(&mut self, id: u32, notice: Notice) {
        let slot = self.slots.find(id);
        match (notice, slot) {
            (Notice::Credit(bytes), Some(slot)) => {
                if let Some(request) = self.slots.request_mut(slot) {
                    request.add_credit(bytes);
                }
            }
            (Notice::Cancel, Some(slot)) => self.cancel(slot),
            (Notice::Cancel, None) if self.backlog.remove(id) => {
                self.reject(id, cancelled());
            }
            _ => {}
        }
    }

    /// Drops a request that the client has cancelled, and answers it once, because the client reuses its id only then.
    fn cancel(&mut self, slot: usize) {
        if !self.slots.outcome(slot).is_some_and(closes) {
            self.stop(slot, Err(cancelled()));
        }
    }

    /// Moves bytes that were read ahead to the read buffer, if requests can be taken and the buffer has none. Returns `true`
    /// if there are new bytes, or if the next deadline has changed.
    pub(super) fn read_more(&mut self, next: &Next) -> bool {
        let is_draining = self.out.io.registration.is_draining();
        let must_wait = is_draining && !self.needs_notices();
        let Self { read, ahead, .. } = self;
        if !matches!(next, Next::Read) || ahead.is_unused() || read.has_ended() || must_wait {
            return false;
        }
        if is_draining && self.phase == Phase::Serving {
            self.phase = Phase::Draining;
        }
        match self.take_ahead() {
            Ok(()) => true,
            Err(ReadError::NeedsMemory) => {
                let read = &mut *self.read;
                let limit = self.out.shared.limits.max_frame_len;
                let unread = read.input(limit, Side::Server).bytes();
                let length = self.out.framing.frame_len_bound(unread, limit);
                let length = length.max(unread.len().saturating_mul(2));
                let registration = &self.out.io.registration;
                if let Some(reserved) = registration.memory().try_reserve(length) {
                    read.grow_to(length, reserved);
                    return true;
                }
                // The frame waits. The driver tries again at times. When nothing is in flight, the loop waits for memory.
                let retry = Deadline::after(registration.now(), CONTENDED);
                let before = self.next_deadline;
                self.next_deadline = before.min(retry);
                // If `retry` is the next deadline, the task must wait again to be woken at it.
                retry < before
            }
            Err(_) => false,
        }
    }

    /// Moves bytes that were read ahead to the read buffer.
    pub(super) fn take_ahead(&mut self) -> Result<(), ReadError> {
        self.read.take_from_ahead(self.ahead)?;
        if NEEDS_ARRIVALS || self.out.shared.checks_requests {
            self.read
                .record_arrival(self.out.io.registration.tally().received());
        }
        Ok(())
    }
}
