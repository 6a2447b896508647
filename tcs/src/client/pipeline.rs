//! A connection with many requests in flight.

use std::{fmt, marker::PhantomData};

use super::{connection::Connection, exchanges::MAX_BUFFERED};
use crate::{
    Error, Result,
    framing::Framing,
    protocol::{CallContract, Contract},
};

/// Many requests in flight on one [`Connection`]. Replies arrive in the order of the requests.
///
/// [`send`](Self::send) collects requests, and sends them once they are a quarter of the bytes in flight, but at least
/// 1 KiB and at most 32 KiB, so that both ends work at the same time. [`receive`](Self::receive) sends all of them
/// before it waits for a reply. To send them at any time, use [`flush`](Self::flush).
///
/// Each request has exactly one result: a reply, or an error. A
/// [`Rejected`](crate::ErrorKind::Rejected) request does not affect the others, unless the rejection is
/// final. If the connection ends, every request in flight gets an error with its own
/// [`execution`](crate::Error::execution).
///
/// At most [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are in flight. If you drop a
/// pipeline before all replies are received, the connection stays usable, as after a [dropped
/// call](Connection#cancel-safety).
///
/// Do not use a pipeline for a protocol that leaves requests without a reply
/// ([`Response::NoReply`](crate::Response::NoReply)): the next reply would be taken for the missing one.
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
/// A framing whose replies come in any order has none either:
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
    // All state is in the connection, whose next use abandons the requests in flight.
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
        self.set_is_event_of::<P>();
        // If this closes the connection, the first `send` returns the error.
        self.checked_exchanges().abandon_in_flight();
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
    /// if the future is dropped. If the future is dropped while it waits for a greeting, the request is not in flight.
    pub async fn send(&mut self, request: P::Request<'_>) -> Result<()> {
        let exchanges = &mut self.connection.exchanges;
        exchanges.ensure_open()?;
        if exchanges.awaited() == 0 {
            if P::HAS_GREETING {
                exchanges.await_greeting(None).await?;
            }
            // A message that has arrived now answers nothing.
            exchanges.skip_arrived().await?;
        }
        if self.is_full() {
            return Err(self.full_error());
        }
        let exchanges = &mut self.connection.exchanges;
        exchanges.queue_request(None, |out| P::encode(request, out))?;
        exchanges.flush_early().await;
        Ok(())
    }

    /// Returns the next reply, which may borrow from the connection, or `None` if nothing is in flight.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Connection::call`], for the oldest request, which is then no longer in flight. If no
    /// reply arrives within the reply timeout, the connection is closed.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the next call returns the reply. The reply timeout continues until then.
    pub async fn receive(&mut self) -> Result<Option<P::Value<'_>>> {
        if self.in_flight() == 0 {
            return Ok(None);
        }
        let reply = self.connection.exchanges.next_reply().await?;
        self.connection.decode(reply, |reply, _| Ok(Some(reply)))
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
    /// This method is cancel safe: requests that were not sent are sent later. The reply timeout continues until they
    /// are.
    pub async fn flush(&mut self) -> bool {
        self.connection.exchanges.flush().await
    }

    /// Returns the number of requests in flight, whose results were not received yet.
    pub fn in_flight(&self) -> usize {
        self.connection.exchanges.awaited()
    }

    /// Returns `true` if a reply must be received before another request can be sent.
    ///
    /// A pipeline is full if [`max_in_flight`](crate::client::ConnectOptions::max_in_flight) requests are in
    /// flight, or if 64 KiB of requests wait for a server that does not read until its replies are read.
    pub fn is_full(&self) -> bool {
        let exchanges = &self.connection.exchanges;
        // With nothing in flight, `receive` returns at once, so the caller could only try again.
        exchanges.awaited() > 0
            && (exchanges.has_most_in_flight() || exchanges.wire.requests.unsent() >= MAX_BUFFERED)
    }

    /// Returns which limit a full pipeline has reached.
    #[cold]
    fn full_error(&self) -> Error {
        let exchanges = &self.connection.exchanges;
        Error::full(&if exchanges.has_most_in_flight() {
            let limit = exchanges.options().max_in_flight;
            format!("at most {limit} in flight, `max_in_flight`")
        } else {
            format!("{} KiB of requests wait to be sent", MAX_BUFFERED / 1024)
        })
    }
}

impl<P: Contract> fmt::Debug for Pipeline<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("peer", self.connection.peer())
            .field("in_flight", &self.connection.exchanges.awaited())
            .finish_non_exhaustive()
    }
}
