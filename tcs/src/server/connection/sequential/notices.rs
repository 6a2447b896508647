//! Looks for notices of the client about the request whose function waits: credit for the items of its reply, and that it
//! is cancelled.

use std::{cmp::max, task::Context};

use super::{
    super::{
        clocks::credit_limit,
        end::{End, Interrupt},
        rejections::{check_control, credit_out_of_reach, no_more_credit},
    },
    SequentialDriver,
    receive::input_at,
};
use crate::{
    conversation::Conversation,
    framing::{ConnectionFraming, FrameKind, Framing, Notice, Side, has_notices},
    protocol::ServerProtocol,
    server::time::{ClockTime, Deadline},
};

/// The kind of the notice that the client no longer wants the reply.
pub(super) const CANCEL: FrameKind = FrameKind::Control(Notice::Cancel.code());

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Returns `true` if a notice of the client may cancel a function. With a session it may not, because the session would be
    /// lost. With ids, the concurrent driver cancels functions.
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
        P::Framing::HAS_IDS
            && self
                .info
                .open_conversation()
                .is_some_and(|conversation| conversation.credit.is_short())
    }

    /// Returns when the client must have given credit for further items, if the function waits for it.
    pub(super) fn credit_deadline(
        &self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
    ) -> Deadline {
        if !P::Framing::HAS_IDS || !conversation.credit.is_short() {
            return Deadline::NEVER;
        }
        // The clock was stopped when items were sent.
        let began = *clock.get_or_insert(self.io.now());
        let limit = credit_limit(&self.shared.limits, conversation.credit.after_items());
        Deadline::after(began, limit)
    }

    /// Looks for credit. Wakes the task to poll the function if there is enough. Returns an error if there is too little,
    /// and no more can follow.
    #[cold]
    pub(super) fn wake_if_credited(
        &mut self,
        conversation: &Conversation,
        cx: &Context<'_>,
    ) -> Result<bool, Interrupt> {
        let may_follow = self.find_credit(conversation)?;
        if !conversation.credit.is_short() {
            cx.waker().wake_by_ref();
            return Ok(true);
        }
        if self.ahead.is_full() {
            return Err(Interrupt::Rejected(credit_out_of_reach()));
        }
        if may_follow {
            Ok(false)
        } else {
            Err(Interrupt::Rejected(no_more_credit()))
        }
    }

    /// Adds the credit that the client gives to the items of this request, also after further requests. The notices stay
    /// in the buffer, and the loop ignores them later. Returns `false` if no more can follow what has arrived.
    #[cold]
    pub(super) fn find_credit(&mut self, conversation: &Conversation) -> Result<bool, End> {
        self.move_rest_ahead()?;
        let current = self.framing.get_mut();
        // The setter returns the id before.
        let id = current.set_id(0);
        current.set_id(id);
        // Another framing, because the requests are parsed again.
        let mut framing =
            ConnectionFraming::<P::Framing>::after_first(self.shared.protocol.framing());
        let limit = self.shared.limits.max_frame_len;
        // A block may have any bytes.
        self.searched = max(self.searched, conversation.chunks.rest_of_blocks());
        // The loop finds bad frames when it parses them again.
        loop {
            let input = input_at(self.ahead, self.searched, limit);
            let parsed = match framing.parse(input) {
                Ok(Some(parsed)) if check_control(parsed.kind()).is_ok() => parsed,
                Ok(None) => return Ok(!self.ahead.has_ended()),
                _ => return Ok(false),
            };
            let message = input.bytes().get(parsed.payload()).unwrap_or_default();
            if let FrameKind::Control(code) = parsed.kind()
                && parsed.id() == id
                && let Some(Notice::Credit(bytes)) = Notice::from_frame(code, message)
            {
                conversation.credit.add(bytes);
            }
            self.searched = self.searched.saturating_add(parsed.consumed());
        }
    }

    /// Returns `true` if the client no longer wants the streamed reply. The notice comes directly after the request, stays
    /// in the buffer, and the loop ignores it later.
    #[cold]
    pub(super) fn is_cancelled(&mut self, conversation: &Conversation) -> Result<bool, End> {
        let has_arrived = self.ahead.len() > 0 || self.frames.has_started();
        if !Self::can_be_cancelled() || !has_arrived || conversation.chunks.may_be_block() {
            return Ok(false);
        }
        let limit = self.shared.limits.max_frame_len;
        // The inner framing, because `ConnectionFraming` would count an announced chunk, which is parsed again.
        let framing = self.framing.get_mut();
        let mut next = framing.parse(self.frames.input(limit, Side::Server));
        if let Ok(None) = next {
            self.move_rest_ahead()?;
            let framing = self.framing.get_mut();
            next = framing.parse(input_at(self.ahead, 0, limit));
        }
        Ok(matches!(next, Ok(Some(parsed)) if parsed.kind() == CANCEL))
    }
}
