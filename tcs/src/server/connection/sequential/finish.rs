//! Ends the request of a function that may wait: with its response, what is left of its stream, or its upgrade.

use super::{
    super::{
        end::{End, Interrupt},
        rejections::{IN_CHUNK, MEMORY_IN_USE, going_away},
    },
    SequentialDriver, end_chunks,
};
use crate::{
    Rejection, RejectionKind, conversation::Conversation, protocol::ServerProtocol,
    response::Upgrade, server::metrics::Timer,
};

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Ends the request of a function that has returned or was dropped. Returns the upgrade if its reply has one.
    ///
    /// A reply need not be `Send`, so it ends here, before the next wait.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `respond`")]
    pub(super) fn finish_request<'r>(
        &mut self,
        called: Result<Result<P::Reply<'r>, Rejection>, Interrupt>,
        timer: Timer<'_>,
    ) -> Result<Option<Upgrade<'r>>, End> {
        let has_returned = called.is_ok();
        let before = self.io.unsent;
        let responded = self.respond_to_call(called);
        // A function that takes the connection over ends the conversation itself.
        if !matches!(responded, Ok(Some(_)))
            && let Some(conversation) = self.info.open_conversation()
        {
            self.end_conversation(conversation, has_returned);
        }
        // The drop of the timer records a call that was dropped.
        if has_returned {
            timer.record(|| self.io.unsent.outcome_since(before));
        }
        responded
    }

    /// Writes the items that are left and the response. Returns the upgrade if the reply has one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `respond`")]
    fn respond_to_call<'r>(
        &mut self,
        called: Result<Result<P::Reply<'r>, Rejection>, Interrupt>,
    ) -> Result<Option<Upgrade<'r>>, End> {
        let called = match self.info.open_conversation() {
            // The items of a function that did not return are dropped at the end of its request.
            Some(conversation) if called.is_ok() => self.write_items(conversation).and(called),
            _ => called,
        };
        match called {
            Ok(result) if Self::UPGRADES => self.respond_or_upgrade(result),
            Ok(result) => self.respond(result).map(|()| None),
            Err(interrupt) => self.respond_to_dropped(interrupt).map(|()| None),
        }
    }

    /// Responds to a request whose function was dropped.
    #[cold]
    fn respond_to_dropped(&mut self, interrupt: Interrupt) -> Result<(), End> {
        let mut responder = self.end_request();
        let (rejection, why) = match interrupt {
            Interrupt::Rejected(rejection) => return responder.reject_dropped(&rejection),
            Interrupt::Ended(End::Aborted(reason)) => return responder.aborted(reason),
            Interrupt::Ended(end) => return Err(end),
            Interrupt::Closing(closing) => *closing,
            Interrupt::NeedsMemory => {
                let rejection = Rejection::new(RejectionKind::Failed, MEMORY_IN_USE);
                (rejection, IN_CHUNK)
            }
        };
        responder.reject(&rejection)?;
        responder.close_with_frame(&going_away(why));
        Err(End::Closed)
    }

    /// Drops what the function has left in the conversation, and skips the chunks that it did not take. Takes the framing
    /// only of a function that has returned: a function that was dropped may have changed half of it.
    #[cold]
    fn end_conversation(&mut self, conversation: &Conversation, has_returned: bool) {
        conversation.end_request();
        self.searched = 0;
        let rest = end_chunks(conversation, self.framing, self.ahead, self.shared);
        self.frames.skip(rest);
        if P::CLONE_FRAMING.is_some()
            && let Some(framing) = conversation.framing.take()
            && has_returned
        {
            *self.framing.get_mut() = *framing;
        }
    }
}
