//! How long a connection waits: until the reply timeout, or the deadline of a call.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    connection::Connection, fault::Fault, ids::CancelOnDrop, options::MAX_TIMEOUT,
    replies::Received, timer::Timer,
};
use crate::{Error, Result, deadline::Deadline, framing::Framing};

/// The limits of a connection's waits. A wait may go on after its future was dropped.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// How long the next call may take, from [`Connection::deadline`].
    next_limit: Option<Duration>,
    /// Limits the wait for a message. Its wait continues while there are abandoned requests and nothing arrives.
    pub(super) reply_timer: Timer,
    /// Limits the wait until requests are sent.
    pub(super) flush_timer: Timer,
    /// The end of the requests for which `flush_timer` runs.
    pub(super) flush_end: u64,
    /// How much was skipped since the last pause.
    pub(super) skipped: usize,
}

impl<F: Framing> Connection<F> {
    /// Limits how long the next [`call`](Self::call), [`exchange`](Self::exchange) or [`receive`](Self::receive)
    /// waits, from its first poll to its reply, including the wait for a greeting. Default: only the reply
    /// timeout applies.
    ///
    /// When the limit passes, the call returns [`TimedOut`](crate::ErrorKind::TimedOut) with
    /// [`Execution::NotSent`](crate::Execution::NotSent) if nothing of its request was sent, and otherwise with
    /// [`Execution::Unknown`](crate::Execution::Unknown). The connection stays usable, as after a
    /// [dropped call](Self#cancel-safety). If the [reply timeout](super::ConnectOptions::reply_timeout) is shorter, it still
    /// closes the connection. With a limit of zero, nothing is sent. A [`pipeline`](Self::pipeline) has no deadline.
    ///
    /// A call that a protocol function makes also ends when the server's
    /// [`request_timeout`](crate::server::Server::request_timeout) for the function would pass, without a limit of its
    /// own. The earlier one applies. A task that the function spawns inherits nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// use std::time::Duration;
    ///
    /// use tcs::{ConcurrentServer, Connection, ErrorKind, server_protocol};
    ///
    /// #[server_protocol]
    /// async fn pause(milliseconds: u64) -> u64 {
    ///     tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    ///     milliseconds
    /// }
    ///
    /// let server = ConcurrentServer::new(Pause).port(0).bind().await?;
    /// let addr = server.local_addr();
    /// tokio::spawn(server.listen());
    ///
    /// let mut connection = Connection::connect(addr).await?;
    /// let late = connection.deadline(Duration::from_millis(10)).call::<Pause>(50).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    /// assert_eq!(connection.call::<Pause>(0).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn deadline(&mut self, limit: Duration) -> &mut Self {
        self.waits.next_limit = Some(limit.min(MAX_TIMEOUT));
        self
    }

    /// Returns the deadline of the call that begins, or an error if it has passed.
    pub(super) fn take_deadline(&mut self) -> Result<Option<Deadline>> {
        Deadline::begin(self.waits.next_limit.take(), || self.peer.clone())
    }

    /// Returns the error of the request at `offset`, or of a wait without a request, when `deadline` has passed.
    #[cold]
    pub(super) fn late(&self, offset: Option<u64>, deadline: &Deadline) -> Error {
        let error = Error::late(&self.peer, deadline);
        match offset {
            Some(offset) if !self.is_removable(offset) => error,
            _ => error.not_sent(),
        }
    }

    /// Polls until ready, for at most the reply timeout, which continues if the future is dropped.
    ///
    /// If the timeout passes, nothing more is sent. The next `poll` must be ready, with what has arrived.
    /// Does not read the clock if the first poll is ready. `timer` is no function pointer, for which each reply
    /// would pay (decision 014).
    pub(super) fn with_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        poll_fn(move |cx| match poll(self, cx) {
            Poll::Ready(output) => {
                timer(self).reset();
                Poll::Ready(output)
            }
            Poll::Pending => self.poll_timeout(&timer, cx),
        })
    }

    /// Stops sending when the reply timeout passes. Never ready: what has arrived comes first.
    pub(super) fn poll_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let limit = self.options.reply_timeout;
        let limit = ready!(timer(self).poll_limit(limit, cx));
        self.wire.time_out(limit);
        // Polling again here could find the task's budget of tokio used up, and then miss what has arrived.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Like [`with_timeout`](Self::with_timeout) with the reply timeout, but gives up at `deadline`. A fault closes the
    /// connection, and becomes the error of the request at `offset`, or of a wait without a request.
    pub(super) fn exchange_in_time(
        &mut self,
        offset: Option<u64>,
        deadline: Option<Deadline>,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<Received, Arc<Fault>>>,
    ) -> impl Future<Output = Result<Received>> {
        let mut waiting = CancelOnDrop(self);
        poll_fn(move |cx| {
            let CancelOnDrop(it) = &mut waiting;
            let polled = poll(it, cx);
            it.poll_in_time(cx, offset, deadline.as_ref(), polled)
        })
    }

    /// Checks the limits of a wait that was `polled`; see [`exchange_in_time`](Self::exchange_in_time).
    #[inline]
    pub(super) fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        offset: Option<u64>,
        deadline: Option<&Deadline>,
        polled: Poll<Result<T, Arc<Fault>>>,
    ) -> Poll<Result<T>> {
        match polled {
            Poll::Ready(received) => {
                self.waits.reply_timer.reset();
                Poll::Ready(received.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => {
                if let Some(deadline) = deadline
                    && self
                        .waits
                        .reply_timer
                        .poll_until(deadline.at, cx)
                        .is_ready()
                {
                    return Poll::Ready(Err(self.late(offset, deadline)));
                }
                self.poll_timeout(|it| &mut it.waits.reply_timer, cx)
            }
        }
    }
}
