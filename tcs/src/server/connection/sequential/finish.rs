//! Ends the request of a function that may wait: with its response, what is left of its stream, or its upgrade.

use super::{
    super::{end::End, rejections::going_away},
    SequentialDriver, end_chunks,
    wait::Dropped,
};
use crate::{
    Rejection, conversation::Conversation, protocol::ServerProtocol, response::Upgrade,
    server::metrics::Timer,
};

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Ends the request of a function that has returned or was dropped. Returns the upgrade if its reply has one.
    ///
    /// A reply need not be `Send`, so it ends here, before the next wait.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `respond`")]
    pub(super) fn finish_request<'r>(
        &mut self,
        called: Result<Result<P::Reply<'r>, Rejection>, Dropped>,
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
        called: Result<Result<P::Reply<'r>, Rejection>, Dropped>,
    ) -> Result<Option<Upgrade<'r>>, End> {
        let called = match self.info.open_conversation() {
            // The items of a function that did not return are dropped at the end of its request.
            Some(conversation) if called.is_ok() => self.write_items(conversation).and(called),
            _ => called,
        };
        match called {
            Ok(result) if Self::UPGRADES => self.respond_or_upgrade(result),
            Ok(result) => self.respond(result).map(|()| None),
            Err(dropped) => self.respond_to_dropped(dropped).map(|()| None),
        }
    }

    /// Responds to a request whose function was dropped.
    #[cold]
    fn respond_to_dropped(&mut self, dropped: Dropped) -> Result<(), End> {
        let mut responder = self.end_request();
        match dropped {
            Dropped::Rejected(rejection) => responder.reject_dropped(&rejection),
            Dropped::Closing(rejection, why) => {
                responder.reject(&rejection)?;
                responder.close_with_frame(&going_away(why));
                Err(End::Closed)
            }
            Dropped::Ended(End::Aborted(reason)) => responder.aborted(reason),
            Dropped::Ended(end) => Err(end),
        }
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
