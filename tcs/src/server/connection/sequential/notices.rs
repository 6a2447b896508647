//! Looks for notices of the client about the request whose function waits: credit for the items of its reply, and that it
//! is cancelled.

use std::{cmp::max, task::Context};

use super::{
    super::clocks::{Stopwatch, credit_limit},
    SequentialDriver,
    receive::input_at,
};
use crate::{
    conversation::Conversation,
    framing::{ConnectionFraming, FrameKind, Framing, Notice, Side, has_notices},
    protocol::ServerProtocol,
    server::limits::Deadline,
};

/// The kind of the notice that the client no longer wants the reply.
pub(super) const CANCEL: FrameKind = FrameKind::Control(Notice::Cancel.code());

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Returns `true` if a notice of the client may drop a function. With ids, it drops functions that run side by side. A session
    /// would be lost with the function.
    #[inline]
    pub(super) fn can_be_cancelled() -> bool {
        P::Framing::HAS_REJECTION_FRAME
            && has_notices::<P::Framing>()
            && !P::Framing::HAS_IDS
            && size_of::<P::Session>() == 0
    }

    /// Returns `true` if the function may not be polled before its client gives credit for items.
    #[inline]
    pub(super) fn must_wait_for_credit(&self) -> bool {
        if !P::Framing::HAS_IDS {
            return false;
        }
        let conversation = self.info.open_conversation();
        conversation.is_some_and(|conversation| conversation.credit.is_short())
    }

    /// Returns when the client must have given credit for further items, if the function waits for it.
    pub(super) fn credit_deadline(&self, clock: &mut Stopwatch) -> Deadline {
        let conversation = self.info.open_conversation();
        let Some(conversation) = conversation.filter(|_| self.must_wait_for_credit()) else {
            return Deadline::NEVER;
        };
        // It was stopped when items were sent.
        let began = clock.start(self.io.registration.now());
        let limit = credit_limit(&self.shared.limits, conversation.credit.after_items());
        Deadline::after(began, limit)
    }

    /// Looks for credit. Returns `true` if the function need not wait for it any more, and wakes the task to poll it.
    #[cold]
    pub(super) fn find_enough_credit(
        &mut self,
        conversation: &Conversation,
        cx: &Context<'_>,
    ) -> bool {
        self.find_credit(conversation);
        let is_enough = !self.must_wait_for_credit();
        if is_enough {
            cx.waker().wake_by_ref();
        }
        is_enough
    }

    /// Adds the credit that the client gives to the items of this request, also behind further requests. The notices stay
    /// there, and are ignored when it is their turn.
    #[cold]
    pub(super) fn find_credit(&mut self, conversation: &Conversation) {
        self.move_rest_ahead();
        let current = self.framing.get_mut();
        let id = current.set_id(0);
        current.set_id(id);
        // Another one, because the requests are parsed again.
        let mut framing = ConnectionFraming::<P::Framing>::new(self.shared.protocol.framing());
        let limit = self.shared.limits.max_frame_len;
        // A block may have any bytes.
        self.searched = max(self.searched, conversation.chunks.rest_of_blocks());
        // What is wrong is found when it is its turn.
        loop {
            let input = input_at(self.ahead, self.searched, limit);
            let Ok(Some(parsed)) = framing.parse(input) else {
                return;
            };
            let message = input.bytes().get(parsed.payload()).unwrap_or_default();
            if let FrameKind::Control(code) = parsed.kind()
                && framing.get_mut().id() == id
                && let Some(Notice::Credit(bytes)) = Notice::from_frame(code, message)
            {
                conversation.credit.add(bytes);
            }
            self.searched = self.searched.saturating_add(parsed.consumed());
        }
    }

    /// Returns `true` if the client no longer wants the streamed reply. Its notice comes directly behind the request, stays
    /// there, and is ignored when it is its turn.
    #[cold]
    pub(super) fn is_cancelled(&mut self, conversation: &Conversation) -> bool {
        let has_arrived = self.ahead.len() > 0 || self.frames.has_started();
        // A block may have any bytes.
        if !Self::can_be_cancelled() || !has_arrived || conversation.chunks.rest_of_blocks() > 0 {
            return false;
        }
        let limit = self.shared.limits.max_frame_len;
        // The framing itself: it finds the same frame again when it is its turn.
        let framing = self.framing.get_mut();
        let mut next = framing.parse(self.frames.input(limit, Side::Server));
        if let Ok(None) = next {
            self.move_rest_ahead();
            let framing = self.framing.get_mut();
            next = framing.parse(input_at(self.ahead, 0, limit));
        }
        matches!(next, Ok(Some(parsed)) if parsed.kind() == CANCEL)
    }
}
