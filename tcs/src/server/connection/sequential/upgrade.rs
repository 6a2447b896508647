//! Hands the stream to a function that takes the connection over.

use std::{convert::Infallible, future::poll_fn, mem::take};

use super::{
    super::{end::End, outgoing::close_queue},
    SequentialDriver, end_chunks,
};
use crate::{
    Rejection,
    buffer::EncodedMessage,
    format::{After, Encode, EncodeOutcome, Writer},
    protocol::ServerProtocol,
    response::{Upgrade, Upgraded},
};

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Whether a reply may take the connection over.
    pub(super) const UPGRADES: bool = <P::Reply<'static> as Encode<P::Format>>::UPGRADES;

    /// Writes the response to a request. Returns the upgrade if the reply has one.
    #[cold]
    pub(super) fn respond_or_upgrade<'r>(
        &mut self,
        result: Result<P::Reply<'r>, Rejection>,
    ) -> Result<Option<Upgrade<'r>>, End> {
        let mut reply = match result {
            Ok(reply) => reply,
            rejected => return self.respond(rejected).map(|()| None),
        };
        let Some(upgrade) = reply.take_upgrade() else {
            return self.respond(Ok(reply)).map(|()| None);
        };
        let limit = self.shared.limits.reply_len();
        let encode = |out: &mut Writer<'_>| reply.encode(out);
        let encoded = self.write.message(self.framing.get_mut(), limit, encode);
        match encoded {
            Ok(())
            | Err(EncodedMessage {
                outcome: EncodeOutcome::Nothing,
                after: After::Continue,
            }) => {
                self.io.count_reply();
                *self.in_flight = None;
                Ok(Some(upgrade))
            }
            Err(exception) => self.exceptional_reply(exception).map(|()| None),
        }
    }

    /// Sends the reply, and serves the connection with `upgrade`, until its stream comes back.
    pub(super) async fn take_over(&mut self, upgrade: Upgrade<'_>) -> Result<Infallible, End> {
        poll_fn(|cx| self.io.poll_flush_in_time(self.write, cx)).await?;
        // Creates the queue first, because the function may take a handle of it later.
        self.info.push_queue();
        close_queue(self.info, self.io);
        let skip = self.info.open_conversation().map_or(0, |conversation| {
            end_chunks(conversation, self.framing, self.ahead, self.shared)
        });
        // What the peer has sent after the request is the first input of the function.
        self.move_rest_ahead()?;
        let skipped = skip.min(self.ahead.len());
        self.ahead.consume(skipped);
        let has_ended = self.ahead.has_ended();
        let unread = take(self.ahead).into_bytes();
        let (io, returned) = Upgraded::new(self.io.hand_over(), unread, has_ended, skip - skipped);
        tracing::debug!("a function takes the connection over");
        if let Some(serving) = upgrade.serve(io) {
            self.io.unless_aborted(serving).await?;
        }
        // The function may have moved the stream to another task.
        if let Ok(returned) = self.io.unless_aborted(returned).await? {
            self.io.take_back(returned);
        }
        Err(End::Upgraded)
    }
}
