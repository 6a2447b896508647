//! The loop of a connection: read, answer every complete frame, send, and wait.

use std::{
    future::poll_fn,
    num::NonZero,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};

use super::{
    accept::Shared,
    registry::{Time, Watch},
    replies::{Next, Replies, closing},
    waits::{Arrived, Gone, Stage},
};
use crate::{
    ConnectionInfo, ServerProtocol,
    buffer::{Buffers, Lease},
};

/// One connection of a server.
///
/// Its size is paid by each idle connection, so nothing is here that all connections share.
pub(super) struct Connection<P: ServerProtocol, S> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) info: ConnectionInfo,
    pub(super) session: P::Session,
    pub(super) buffers: Lease,
    pub(super) replies: Replies<P>,
    /// When the wait for bytes began, or that for the rest of a started frame, by the registry's
    /// clock.
    pub(super) wait_began: Option<Time>,
    /// When this connection noticed that the server is finishing.
    pub(super) drain_began: Option<Time>,
    /// How many bytes waited to be sent when the peer last took some, and one.
    pub(super) stalled_at: Option<NonZero<usize>>,
    pub(super) stream: S,
    pub(super) farewell: Farewell,
    /// Behind the stream, so that the connection counts as ended only when its socket is closed.
    pub(super) watch: Watch,
    /// Released last, however the connection ends.
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection whose session is not open yet.
///
/// Boxed, because a task keeps room for what it captures even when that has moved on.
#[derive(Debug)]
pub(super) struct Accepted<P, S> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) stream: S,
    pub(super) farewell: Farewell,
    pub(super) info: ConnectionInfo,
    pub(super) watch: Watch,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// How a stream is closed to a peer that has closed its own half already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Dropping it says all there is to say, as with TCP.
    Drop,
    /// It may have last words of its own.
    Shutdown,
}

impl<P, S> Connection<P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Opens the session of a new connection.
    #[expect(
        clippy::boxed_local,
        reason = "the box is how it came, and is freed here"
    )]
    pub(super) fn open(accepted: Box<Accepted<P, S>>) -> Self {
        let Accepted {
            shared,
            stream,
            farewell,
            info,
            watch,
            permit,
        } = *accepted;
        Self {
            session: shared.protocol.open_session(info.peer()),
            replies: Replies::new(Arc::clone(&shared)),
            buffers: Lease::new(),
            wait_began: None,
            drain_began: None,
            stalled_at: None,
            shared,
            info,
            stream,
            farewell,
            watch,
            _permit: permit,
        }
    }

    /// Serves the connection to its end; then it is to be dropped.
    pub(super) async fn serve(&mut self) {
        let mut next = Ok(self.greet());
        while matches!(next, Ok(Next::GoOn)) {
            next = match poll_fn(|cx| self.poll_turn(cx)).await {
                Ok(Arrived::Bytes) => self.answer_arrived().await,
                arrived => arrived.map(|arrived| self.after(arrived)),
            };
        }
        if let Some(mut stage) = self.last_words(next) {
            log_if_gone(poll_fn(|cx| self.poll_close(&mut stage, cx)).await);
        }
    }

    /// Tells what to do when something has arrived that is no request.
    fn after(&mut self, arrived: Arrived) -> Next {
        match arrived {
            Arrived::Bytes => Next::GoOn,
            Arrived::Expired => self.expired(),
            Arrived::Drain => Next::Close(Some(closing("the server is stopping"))),
        }
    }

    /// Puts the last words into the outbox; returns how the connection closes, if it can.
    fn last_words(&mut self, next: Result<Next, Gone>) -> Option<Stage> {
        match next {
            Ok(Next::Close(Some(refusal))) => {
                let mut buffers = self.buffers.take();
                self.replies.close(&mut buffers.outbox, &refusal);
                self.buffers.keep(buffers);
            }
            Ok(_) => {}
            Err(gone) => {
                log_gone(&gone);
                return None;
            }
        }
        Some(Stage::Flush)
    }

    /// Sends and reads, and answers within the same poll what needs no future.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arrived, Gone>> {
        let mut buffers = self.buffers.take();
        let turn = self.poll_turn_with(&mut buffers, cx);
        if turn.is_pending() {
            self.buffers.rest(buffers);
        } else {
            self.buffers.keep(buffers);
        }
        turn
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is the loop, and called once")]
    fn poll_turn_with(
        &mut self,
        buffers: &mut Buffers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived, Gone>> {
        if self.replies.has_unsent(&buffers.outbox) {
            ready!(self.poll_flush(&mut buffers.outbox, cx))?;
        }
        self.poll_fill(&mut buffers.inbox, cx)
    }

    fn greet(&mut self) -> Next {
        let Self {
            shared,
            info,
            session,
            buffers,
            replies,
            ..
        } = self;
        let greeting = shared.protocol.greeting(info.peer(), session);
        let Some(greeting) = greeting else {
            return Next::GoOn;
        };
        let mut taken = buffers.take();
        let next = replies.greet(&mut taken.outbox, greeting);
        buffers.keep(taken);
        next
    }
}

/// Not a part of the loop, so that it is compiled with this library and not with each program.
fn log_if_gone(ended: Result<(), Gone>) {
    if let Err(gone) = ended {
        log_gone(&gone);
    }
}

fn log_gone(gone: &Gone) {
    tracing::debug!(%gone, "the connection was given up");
}
