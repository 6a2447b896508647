//! A connection with many requests in flight.

use std::{
    fmt,
    marker::PhantomData,
    task::{Context, Poll, ready},
};

use super::{
    connection::Connection,
    wire::{Expected, write_threshold},
};
use crate::{
    Error, Result,
    framing::Framing,
    protocol::{CallContract, Contract},
    runtime::poll_once,
};

/// While this many bytes of requests wait to be sent, a pipeline waits. It stops reading when this
/// many bytes of replies have arrived.
const MAX_BUFFERED: usize = 64 * 1024;

/// Many requests in flight on one [`Connection`]. Replies come in the order of the requests.
///
/// [`send`](Self::send) collects requests. It sends them once they are a quarter of the bytes in
/// flight, but at least 1 KiB and at most 32 KiB, so that both ends work at the same time.
/// [`receive`](Self::receive) sends all of them before it waits for a reply, and
/// [`flush`](Self::flush) sends them at any time.
///
/// Each request has exactly one result: a reply, or an error. A
/// [`Rejected`](crate::ErrorKind::Rejected) request does not affect the others, unless the rejection is
/// final. If the connection ends, every request in flight gets an error with its own
/// [`execution`](crate::Error::execution).
///
/// At most [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are in flight. If you drop a
/// pipeline before all replies are received, the connection stays usable, as after a
/// [dropped call](Connection#cancel-safety): requests of which nothing was sent are removed, and the replies to the
/// others are skipped, so that no reply reaches another caller.
///
/// Do not use pipelines with a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): replies carry no ids, so the next one would be taken
/// for the missing one.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// # use tcs::{ConcurrentServer, Connection, server_protocol};
/// #[server_protocol]
/// fn double(n: u32) -> u64 {
///     u64::from(n) * 2
/// }
/// # let server = ConcurrentServer::new(Double).port(0).bind().await?;
/// # let addr = server.local_addr();
/// # tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// let mut pipeline = connection.pipeline::<Double>();
/// let mut sum = 0;
/// for n in 0..10_000 {
///     while pipeline.is_full() {
///         sum += pipeline.receive().await?.unwrap_or_default();
///     }
///     pipeline.send(n).await?;
/// }
/// while let Some(doubled) = pipeline.receive().await? {
///     sum += doubled;
/// }
/// assert_eq!(sum, 99_990_000);
///
/// // The connection stays usable.
/// assert_eq!(connection.call::<Double>(21).await?, 42);
/// # Ok(())
/// # }
/// ```
///
/// A framing with one exchange per connection has no pipelines:
///
/// ```compile_fail
/// #[tcs::server_protocol(framing = tcs::framing::Raw)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn many(connection: &mut tcs::Connection<tcs::framing::Raw>) {
///     let pipeline = connection.pipeline::<Greet>();
/// #   drop(pipeline);
/// }
/// # fn main() { std::hint::black_box(many as fn(_)); }
/// ```
///
/// Nor has one whose replies come in any order:
///
/// ```compile_fail
/// #[tcs::server_protocol(framing = tcs::framing::Multiplexed)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn many(connection: &mut tcs::Connection<tcs::framing::Multiplexed>) {
///     let pipeline = connection.pipeline::<Greet>();
/// #   drop(pipeline);
/// }
/// # fn main() { std::hint::black_box(many as fn(_)); }
/// ```
#[must_use = "a pipeline does nothing until a request is sent"]
pub struct Pipeline<'c, P: Contract> {
    // All state is in the connection, whose next use abandons what is left.
    connection: &'c mut Connection<P::Framing>,
    marker: PhantomData<fn() -> P>,
}

impl<F: Framing> Connection<F> {
    /// Creates a pipeline, which sends requests of the protocol `P` without waiting for each reply.
    ///
    /// Does not compile for a framing with one exchange per connection ([`Raw`](crate::framing::Raw)), or whose replies
    /// come in any order ([`Multiplexed`](crate::framing::Multiplexed)): use a [`Channel`](crate::Channel).
    pub fn pipeline<P>(&mut self) -> Pipeline<'_, P>
    where
        P: CallContract<Framing = F>,
    {
        const {
            assert!(
                F::EXCHANGES.are_many(),
                "this framing has one exchange per connection, so it has no pipelines"
            );
            assert!(
                !F::HAS_IDS,
                "with this framing, replies come in any order: use a `Channel`"
            );
        }
        self.note_events_of::<P>();
        // If this closes the connection, the first `send` returns the error.
        self.abandon_in_flight();
        Pipeline {
            connection: self,
            marker: PhantomData,
        }
    }
}

impl<P: CallContract> Pipeline<'_, P> {
    /// Adds a request to those in flight.
    ///
    /// This method waits in two cases: for a greeting, and while 64 KiB of requests wait to be sent. In
    /// the second case it also reads, because a server may stop reading until its replies are read. Each
    /// wait takes at most the reply timeout. After that, nothing more is sent, and
    /// [`receive`](Self::receive) returns the replies that have arrived, then the errors.
    ///
    /// # Errors
    ///
    /// After an error, the request is not in flight. The kinds are [`Full`](crate::ErrorKind::Full) if
    /// the pipeline [`is_full`](Self::is_full), `Request` if the request cannot be encoded, and `Broken` or
    /// `Closed` if nothing more can be sent. Waiting for a greeting has the errors of
    /// [`Connection::receive`]. The errors of requests in flight are returned by
    /// [`receive`](Self::receive).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the request is in flight, and [`receive`](Self::receive) returns its result, even
    /// if the future is dropped. It is not, if the future is dropped while it waits for a greeting.
    pub async fn send(&mut self, request: P::Request<'_>) -> Result<()> {
        self.connection.ensure_open()?;
        if self.in_flight() == 0 {
            if P::HAS_GREETING {
                self.connection.await_greeting(None).await?;
            }
            // A message that has arrived now answers nothing.
            self.connection.skip_arrived().await?;
        }
        if self.is_full() {
            return Err(self.full_error());
        }
        self.connection
            .queue_request(None, |out| P::encode(request, out))?;
        self.flush_early().await;
        Ok(())
    }

    /// Returns the next reply, which may borrow from the connection, or `None` if nothing is in flight.
    ///
    /// # Errors
    ///
    /// The errors of [`Connection::call`], for the oldest request, which is then no longer in flight. If no
    /// reply arrives within the reply timeout, the connection is closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call returns the reply. The reply timeout continues until then.
    pub async fn receive(&mut self) -> Result<Option<P::Value<'_>>> {
        if self.in_flight() == 0 {
            return Ok(None);
        }
        let connection = &mut *self.connection;
        let received = connection.with_timeout(
            |it| &mut it.waits.reply_timer,
            |it, cx| it.poll_received(cx, Expected::NOTHING),
        );
        let received = received.await.map_err(|fault| connection.fail(fault))?;
        let reply = connection.message_in(received)?;
        connection.decode(reply, |reply, _| Ok(Some(reply)))
    }

    /// Sends the collected requests, without waiting for replies. Returns `true` if nothing is left to send.
    ///
    /// Call this before you wait for something other than [`receive`](Self::receive), which sends by
    /// itself. If 64 KiB of replies arrive first, this method returns `false`: the server may not read
    /// before you receive replies. Receive some, and call this method again.
    ///
    /// If the server does not read, this method waits for at most the reply timeout. After that, nothing
    /// more is sent. It returns no error: [`receive`](Self::receive) returns the replies that have
    /// arrived, then the error of each other request.
    ///
    /// # Cancel safety
    ///
    /// Safe: requests that were not sent are sent later. The reply timeout continues until they are.
    pub async fn flush(&mut self) -> bool {
        let connection = &mut *self.connection;
        let flushed =
            connection.with_timeout(|it| &mut it.waits.flush_timer, Connection::poll_flush);
        flushed.await
    }

    /// Returns the number of requests in flight, whose results were not received yet.
    pub fn in_flight(&self) -> usize {
        self.connection.awaited()
    }

    /// Returns `true` if a reply must be received before another request can be sent.
    ///
    /// A pipeline is full if [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are in
    /// flight, or if 64 KiB of requests wait for a server that does not read until its replies are read.
    pub fn is_full(&self) -> bool {
        // With nothing in flight, `receive` returns at once, so the caller could only try again.
        self.in_flight() > 0
            && (self.has_most_in_flight() || self.connection.wire.unsent() >= MAX_BUFFERED)
    }

    /// Returns `true` if the limit is reached, abandoned requests included.
    fn has_most_in_flight(&self) -> bool {
        self.connection.in_flight.len() >= self.connection.options.max_in_flight
    }

    /// Sends the queued requests if they are enough for a write of their own. Waits for room while 64 KiB
    /// of them are queued.
    async fn flush_early(&mut self) {
        let Connection {
            wire, in_flight, ..
        } = &mut *self.connection;
        let (end, unsent) = (wire.end_offset(), wire.unsent());
        let oldest = in_flight.oldest().unwrap_or(end);
        if unsent >= MAX_BUFFERED {
            self.flush().await;
        } else if unsent as u64 >= write_threshold(end - oldest) {
            let _: Poll<()> = poll_once(|cx| wire.poll_flush(cx)).await;
        }
    }

    /// Returns which limit a full pipeline has reached.
    #[cold]
    fn full_error(&self) -> Error {
        Error::full(&if self.has_most_in_flight() {
            let limit = self.connection.options.max_in_flight;
            format!("at most {limit} in flight, `max_in_flight`")
        } else {
            format!("{} KiB of requests wait to be sent", MAX_BUFFERED / 1024)
        })
    }
}

impl<F: Framing> Connection<F> {
    /// Waits until the queued requests are sent, or nothing can be sent any more, and returns `true`.
    /// Returns `false` once 64 KiB of replies have arrived. Each request gets its own error when its
    /// reply is received.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wire = &mut self.wire;
        if wire.sent() >= self.waits.flush_end {
            // A flush that was dropped has no deadline any more: something else has sent its requests.
            self.waits.flush_timer.reset();
            self.waits.flush_end = wire.end_offset();
        }
        while wire.poll_flush(cx).is_pending() {
            if wire.unread() >= MAX_BUFFERED {
                // This wait is over, so the next flush begins another.
                self.waits.flush_end = 0;
                return Poll::Ready(false);
            }
            ready!(wire.poll_read(cx));
        }
        Poll::Ready(true)
    }
}

impl<P: Contract> fmt::Debug for Pipeline<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("peer", self.connection.peer())
            .field("in_flight", &self.connection.awaited())
            .finish_non_exhaustive()
    }
}
