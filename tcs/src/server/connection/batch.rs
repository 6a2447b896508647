//! The requests that have been read, and the responses to them.

use super::{
    super::shared::Shared,
    converse::Outgoing,
    io::Io,
    respond::{Exit, Flow, Processing, Responder},
};
use crate::{
    ConnectionInfo, Rejection,
    buffer::{Frames, ReadAhead, Unusual, WriteBuffer},
    format::{Encode as _, Writer},
    framing::ConnectionFraming,
    protocol::{ServerProtocol, has_one_exchange},
};

/// The requests that have been read, and what processing them needs.
///
/// The session is not here, because a function borrows it while the connection uses the rest.
pub(super) struct Batch<'a, P: ServerProtocol> {
    pub(super) shared: &'a Shared<P>,
    pub(super) info: &'a ConnectionInfo,
    pub(super) framing: &'a mut ConnectionFraming<P::Framing>,
    pub(super) frames: Frames<'a>,
    pub(super) ahead: &'a mut ReadAhead,
    pub(super) write: &'a mut WriteBuffer,
    pub(super) io: &'a mut Io,
}

/// What the connection does when it has taken the requests that it can take now, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Flushes and reads: no complete frame is left.
    Read,
    /// Flushes: the write buffer is full, or enough requests are in flight side by side.
    Flush,
    /// Flushes and yields: the budget of this poll is spent.
    Yield,
    /// Takes no further requests. What is in flight is answered before.
    Exit(Exit),
}

impl<P: ServerProtocol> Batch<'_, P> {
    /// Writes the response to a request.
    ///
    /// An ordinary reply is written here. A [`Responder`] would be put into memory for each request.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a fifth more")]
    pub(super) fn respond(&mut self, result: Result<P::Reply<'_>, Rejection>) -> Flow {
        let reply = match result {
            Ok(reply) => reply,
            Err(rejection) => return self.end_request().reject(&rejection),
        };
        let limit = self.shared.limits.reply_len();
        let encode = |out: &mut Writer<'_>| reply.encode(out);
        if let Err(encoded) = self.write.message(self.framing.get_mut(), limit, encode) {
            return self.unusual_reply(encoded);
        }
        self.io.accounts.count_reply();
        if const { !has_one_exchange::<P>() } && !self.shared.checks_requests {
            return Flow::Continue(());
        }
        self.end_request().after_response()
    }

    #[cold]
    pub(super) fn unusual_reply(&mut self, reply: Unusual) -> Flow {
        let is_last = !self.frames.has_started() && self.ahead.is_unused();
        let peer = self.info.peer();
        self.end_request().unusual_reply(reply, peer, is_last)
    }

    /// Ends the request in flight, and returns what writes any other response to it. Out of line, so that it takes no
    /// registers from ordinary replies.
    #[cold]
    #[inline(never)]
    pub(super) fn end_request(&mut self) -> Responder<'_, P> {
        // Ordinary replies come here, too, if requests are limited.
        self.io.accounts.end_request();
        Responder::new(
            self.shared,
            self.framing,
            self.write,
            self.io,
            Processing::Sequential,
        )
    }

    pub(super) fn outgoing(&mut self) -> Outgoing<'_, P::Framing> {
        Outgoing {
            write: self.write,
            framing: self.framing,
            limit: self.shared.limits.reply_len(),
            info: self.info,
            io: self.io,
        }
    }

    /// Returns what the connection does after a response, if it takes no further request now.
    #[inline]
    pub(super) fn next_after(&self, flow: Flow) -> Option<Next> {
        match flow {
            Flow::Break(exit) => Some(Next::Exit(exit)),
            Flow::Continue(()) => self.write.is_full().then_some(Next::Flush),
        }
    }
}
