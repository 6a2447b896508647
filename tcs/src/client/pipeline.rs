//! Many requests in flight on one connection.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    connection::Connection,
    fault::{Fault, LEFT},
    wire::{Failed, write_threshold},
};
use crate::{Callable, Contract, Error, Framing, Result};

/// If this many bytes cannot be sent, `send` waits. If this many bytes of replies are there, it does
/// not read more.
const FULL: usize = 64 * 1024;

/// Many requests in flight on one [`Connection`], whose replies come in the order of the requests.
///
/// [`send`](Self::send) collects requests and sends them when they are a quarter of the bytes in flight,
/// so that both ends work at the same time; from 1 KiB on, and 32 KiB in any case.
/// [`receive`](Self::receive) sends all of them when it has to wait for a reply, and
/// [`flush`](Self::flush) at any time.
///
/// Each request that was sent has exactly one result: a reply, or an error. A
/// [`Refused`](crate::ErrorKind::Refused) request leaves the others alone, unless the refusal is
/// final; what ends the connection is told to every request that is open, each with its own
/// [`execution`](crate::Error::execution).
///
/// At most [`max_in_flight`](crate::ConnectOptions::max_in_flight) requests are in flight. A
/// pipeline that is dropped before it has received all replies closes the connection, so that none
/// of them reaches another caller. A protocol that leaves requests without a reply
/// ([`Answer::Nothing`](crate::Answer::Nothing)) is not for pipelines: replies have no names, so
/// the next one would be taken for the missing one.
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
/// // Everything was received, so the connection goes on.
/// drop(pipeline);
/// assert_eq!(connection.call::<Double>(21).await?, 42);
/// # Ok(())
/// # }
/// ```
///
/// A framing with one exchange per connection has no pipelines:
///
/// ```compile_fail
/// #[tcs::server_protocol(framing = tcs::Raw)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn many(connection: &mut tcs::Connection<tcs::Raw>) {
///     let pipeline = connection.pipeline::<Greet>();
/// #   drop(pipeline);
/// }
/// # fn main() { std::hint::black_box(many as fn(_)); }
/// ```
#[must_use = "a pipeline does nothing until a request is sent"]
pub struct Pipeline<'c, P: Contract, S = TcpStream> {
    // All state is the connection's, so that nothing is lost if this is forgotten.
    connection: &'c mut Connection<P::Framing, S>,
    marker: PhantomData<fn() -> P>,
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    /// Begins to send requests of the protocol `P` without waiting for each reply.
    ///
    /// A framing with one exchange per connection ([`Raw`](crate::Raw)) does not compile.
    pub fn pipeline<P>(&mut self) -> Pipeline<'_, P, S>
    where
        P: Callable<Framing = F>,
    {
        const {
            assert!(
                F::PERSISTENT,
                "this framing has one exchange per connection, so it has no pipelines"
            );
        }
        // The first `send` tells.
        self.close_if_left();
        Pipeline {
            connection: self,
            marker: PhantomData,
        }
    }
}

impl<P: Callable, S: AsyncRead + AsyncWrite + Unpin> Pipeline<'_, P, S> {
    /// Adds a request to those that are in flight.
    ///
    /// It waits only where 64 KiB of requests wait to be sent, and reads meanwhile, so that a server
    /// that replies before it reads on never blocks it; and for a greeting.
    ///
    /// # Errors
    ///
    /// The request is then not in flight. [`Full`](crate::ErrorKind::Full) when the pipeline
    /// [`is_full`](Self::is_full); `Request` for one that cannot be encoded; `Broken` or `Closed`
    /// where nothing more can be sent. What goes wrong with a request that is in flight is told by
    /// [`receive`](Self::receive).
    ///
    /// # Cancel safety
    ///
    /// Once it was polled, the request is in flight and has its result in
    /// [`receive`](Self::receive), also if the future is dropped; while it waits for a greeting, that
    /// closes the connection.
    pub async fn send(&mut self, request: P::Request<'_>) -> Result<()> {
        let connection = &mut *self.connection;
        connection.check_open()?;
        if connection.in_flight.is_empty() {
            connection.await_greeting(P::GREETS).await?;
            connection.ensure_idle().await?;
        }
        if self.is_full() {
            return Err(Error::full(self.connection.options.in_flight()));
        }
        self.connection.send(|out| P::encode(request, out))?;
        self.send_early().await;
        Ok(())
    }

    /// Returns the next reply, which may borrow from the connection, or `None` when nothing is in
    /// flight.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::call`], for the oldest request in flight, which then is no longer in
    /// flight. The reply timeout is the longest that it waits, from when it is called.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call returns the reply.
    pub async fn receive(&mut self) -> Result<Option<P::Value<'_>>> {
        let connection = &mut *self.connection;
        let Some(start) = connection.in_flight.first() else {
            return Ok(None);
        };
        let received = connection.in_time(Connection::poll_reply).await;
        let Ok(incoming) = received else {
            connection.in_flight.pop();
            return Err(connection.error_of(start));
        };
        let limit = connection.options.frame_len();
        let reply = incoming.into_message(&connection.peer, limit)?;
        let (reply, _) = connection.read::<P::Format, _>(reply)?;
        Ok(Some(reply))
    }

    /// Sends what was collected.
    ///
    /// It is not needed before [`receive`](Self::receive), but where something else is waited for.
    /// It waits for no reply, and gives up where so many replies have arrived that the pipeline
    /// [`is_full`](Self::is_full) until they are received.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was not sent waits on.
    pub async fn flush(&mut self) {
        self.make_room().await;
    }

    /// Returns how many requests are in flight: sent or collected, and their results not received.
    pub fn in_flight(&self) -> usize {
        self.connection.in_flight.len()
    }

    /// Returns `true` if a reply must be received before another request can be sent.
    ///
    /// That is so when [`max_in_flight`](crate::ConnectOptions::max_in_flight) requests are in flight,
    /// and when 64 KiB each of requests and of replies wait, because the server sends replies before
    /// it reads on.
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.connection.options.in_flight() || self.waiting() >= FULL
    }

    /// Returns the number of bytes that wait to be sent.
    #[inline]
    fn waiting(&self) -> usize {
        match &self.connection.wire {
            Ok(wire) => wire.requests.waiting(),
            Err(_) => 0,
        }
    }

    /// Sends what was collected, if it is enough for a write of its own.
    #[inline]
    async fn send_early(&mut self) {
        let Ok(wire) = &mut self.connection.wire else {
            return;
        };
        let written = wire.requests.written();
        let first = self.connection.in_flight.first().unwrap_or(written);
        let waiting = wire.requests.waiting();
        if waiting >= FULL {
            self.make_room().await;
        } else if waiting as u64 >= write_threshold(written - first) {
            poll_fn(|cx| {
                let _: Poll<()> = wire.poll_flush(cx);
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Waits until what was collected is sent, or enough replies are there to be received.
    async fn make_room(&mut self) {
        // A failure is told by `receive`.
        let _: Result<(), Failed> = self.connection.in_time(Connection::poll_room).await;
    }
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let Ok(wire) = &mut self.wire else {
            return Poll::Ready(Err(Failed));
        };
        loop {
            if wire.poll_flush(cx).is_ready() || wire.arrived() >= FULL {
                return Poll::Ready(Ok(()));
            }
            ready!(wire.poll_read(cx));
        }
    }
}

impl<P: Contract, S> Drop for Pipeline<'_, P, S> {
    fn drop(&mut self) {
        if !self.connection.in_flight.is_empty() {
            self.connection.in_flight.clear();
            self.connection.close(Fault::Broken(LEFT));
        }
    }
}

impl<P: Contract, S> fmt::Debug for Pipeline<'_, P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("peer", &self.connection.peer)
            .field("in_flight", &self.connection.in_flight.len())
            .finish_non_exhaustive()
    }
}
