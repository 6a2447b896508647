//! The items of a streamed reply, over a connection.

#[cfg(feature = "stream")]
use std::pin::Pin;
use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    ops::Range,
    task::{Context, Poll, ready},
};

#[cfg(feature = "stream")]
use futures_core::Stream;

use tokio::{task::yield_now, time::Instant};

#[cfg(feature = "stream")]
use super::owned::Owned;
use super::{connection::Connection, deadline::CallDeadline, replies::Received, wire::Expected};
use crate::{
    Error, Result,
    format::{Decode, Writer},
    framing::Framing,
    protocol::{CallContract, Contract, Streams},
};

/// The items of a streamed reply, from [`Connection::stream`].
///
/// [`next`](Self::next) lends each item, which may borrow from the connection. After the last item, it returns `None`,
/// and [`finish`](Self::finish) returns the reply that has ended the stream. Each item has the
/// [reply timeout](super::ConnectOptions::reply_timeout) for itself, so a stream may last forever. A
/// [`deadline`](Connection::deadline) is for the whole stream.
///
/// A server that is ahead waits until the items are received, so the memory for a stream is bounded at both ends.
///
/// With the feature `stream`, `owned` makes it a `futures_core::Stream`, for items that borrow nothing.
///
/// # Framings
///
/// The framing must distinguish items from replies, as [`LengthPrefixed`](crate::framing::LengthPrefixed) and
/// [`Multiplexed`](crate::framing::Multiplexed) do. With all others, items are ordinary messages: the first is taken for
/// the reply, which ends the stream. For these, receive the first message with [`Connection::call`], and each of the
/// others with [`Connection::receive`], up to what is the end in the protocol.
///
/// # Cancel safety
///
/// Dropping a stream before its end leaves the connection usable. The next use of the connection tells the server that
/// the request is cancelled. With [`Multiplexed`](crate::framing::Multiplexed), it then waits for nothing. With
/// [`LengthPrefixed`](crate::framing::LengthPrefixed), it skips the items until the server has dropped the function, or
/// has sent the whole stream if the protocol has a session. It skips for at most the reply timeout, and then the
/// connection is closed.
#[must_use = "the items are received by `next`"]
pub struct Items<'c, P: Contract> {
    connection: &'c mut Connection<P::Framing>,
    offset: u64,
    deadline: Option<CallDeadline>,
    state: StreamState,
    marker: PhantomData<fn() -> P>,
}

#[derive(Debug)]
enum StreamState {
    Open,
    /// The reply has arrived, and is here in the read buffer.
    Ended(Range<usize>),
    Failed,
}

impl<F: Framing> Connection<F> {
    /// Sends a request of the protocol `P`, and returns the items of its streamed reply.
    ///
    /// The option `replies` of [`#[server_protocol]`](crate::server_protocol) makes a protocol that streams, which has
    /// [`Streams`].
    ///
    /// # Errors
    ///
    /// `Request` for a request that cannot be encoded, and `Broken`, `Closed` or `Io` if it cannot be sent. The other
    /// errors are those of [`Items::next`].
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     ConcurrentServer, Connection,
    ///     protocol::Replies, server_protocol,
    /// };
    ///
    /// /// Returns the words one by one, and then their number.
    /// #[server_protocol(replies = &str)]
    /// async fn split(text: &str, mut out: Replies<'_, Split>) -> Result<usize, String> {
    ///     for word in text.split(' ') {
    ///         out.send(word).await?;
    ///     }
    ///     Ok(text.split(' ').count())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(Split).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let mut connection = Connection::connect(addr).await?;
    /// let mut words = connection.stream::<Split>("to be or not").await?;
    /// let mut longest = String::new();
    /// while let Some(word) = words.next().await? {
    ///     if word.len() > longest.len() {
    ///         longest = word.to_owned();
    ///     }
    /// }
    /// assert_eq!(words.finish().await?, 4);
    /// assert_eq!(longest, "not");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stream<P>(&mut self, request: P::Request<'_>) -> Result<Items<'_, P>>
    where
        P: CallContract<Framing = F> + Streams,
    {
        let deadline = self.take_deadline()?;
        self.set_is_event_of::<P>();
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        let exchanges = self.checked_exchanges();
        let offset = exchanges.begin(P::HAS_GREETING, deadline, request).await?;
        exchanges.record_stream();
        // Sends what can be sent now.
        if F::EXCHANGES.are_many() {
            // The flush reads first: a message that has arrived already is no answer.
            exchanges.skip_arrived().await?;
        } else {
            // Any message that has arrived is the reply.
            exchanges.send_now().await;
        }
        Ok(Items {
            connection: self,
            offset,
            deadline,
            state: StreamState::Open,
            marker: PhantomData,
        })
    }
}

impl<'c, P: CallContract + Streams> Items<'c, P> {
    /// Returns the next item, which may borrow from the connection, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// `Reply` for an item that cannot be decoded, after which the next one can be received. Other errors end the
    /// stream: `Rejected` if the function has returned an error, which may come after some items, and the other errors
    /// of [`Connection::call`].
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the next call returns the item. The reply timeout continues until then.
    pub async fn next<'a>(&'a mut self) -> Result<Option<P::Item<'a>>>
    where
        P::Item<'a>: Decode<'a, <P as Streams>::Format>,
    {
        self.next_as().await
    }

    /// Like [`next`](Self::next), but decodes the item as `T`.
    pub(crate) async fn next_as<'a, T>(&'a mut self) -> Result<Option<T>>
    where
        T: Decode<'a, <P as Streams>::Format>,
    {
        match poll_fn(|cx| self.poll_item(cx)).await? {
            Some(item) => self.connection.decode(item, |item, _| Ok(Some(item))),
            None => Ok(None),
        }
    }

    /// Skips the remaining items, and returns their number.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next`](Self::next).
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: the next call skips the others.
    pub async fn skip_rest(&mut self) -> Result<u64> {
        let mut skipped = 0;
        while let Some(item) = poll_fn(|cx| self.poll_item(cx)).await? {
            skipped += 1;
            if self.connection.exchanges.must_pause(item.len()) {
                // The stream of a user may have no part in the budget of tokio.
                yield_now().await;
            }
        }
        Ok(skipped)
    }

    /// Returns the reply that ended the stream, or waits for it if `next` has not returned `None` yet.
    ///
    /// # Errors
    ///
    /// `Reply` if there are more items: receive them first, or call [`skip_rest`](Self::skip_rest). The same if an error
    /// has ended the stream. The other errors are those of [`Connection::call`].
    ///
    /// # Cancel safety
    ///
    /// As for dropping the stream.
    pub async fn finish(mut self) -> Result<P::Value<'c>> {
        let item = poll_fn(|cx| self.poll_item(cx)).await?;
        let Self {
            connection, state, ..
        } = self;
        match state {
            StreamState::Ended(reply) => connection.decode(reply, |reply, _| Ok(reply)),
            StreamState::Open if item.is_some() => Err(Error::items_left(
                connection.peer(),
                "`next` and `skip_rest` take",
            )),
            StreamState::Open | StreamState::Failed => Err(Error::stream_failed(connection.peer())),
        }
    }

    /// Waits for an item, and returns where it is in the read buffer, or `None` after the last one.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Range<usize>>>> {
        if !matches!(self.state, StreamState::Open) {
            return Poll::Ready(Ok(None));
        }
        let exchanges = &mut self.connection.exchanges;
        let polled = exchanges.poll_received(cx, Expected::NOTHING);
        let deadline = self.deadline.as_ref();
        let received = ready!(exchanges.poll_in_time(cx, Some(self.offset), deadline, polled));
        match received {
            Ok(Received::Item(item)) => {
                if let Some(deadline) = deadline.filter(|it| Instant::now() >= it.at) {
                    self.state = StreamState::Failed;
                    return Poll::Ready(Err(exchanges.late_error(Some(self.offset), deadline)));
                }
                if <P::Framing as Framing>::HAS_IDS {
                    exchanges.count_item(item.len(), cx);
                }
                return Poll::Ready(Ok(Some(item)));
            }
            Ok(Received::Message(reply)) => {
                self.state = StreamState::Ended(reply);
                return Poll::Ready(Ok(None));
            }
            _ => self.state = StreamState::Failed,
        }
        let reply = received.and_then(|received| exchanges.message_in(received));
        Poll::Ready(reply.map(|_| None))
    }
}

#[cfg(feature = "stream")]
impl<P: Contract> Items<'_, P> {
    /// Returns the items as a `futures_core::Stream` of `T` (feature `stream`).
    ///
    /// `T` is a type of the items that borrows nothing, such as `String` where the items are `&str`. The stream ends
    /// after the last item, and after an error that ends the reply. [`Owned::into_inner`] then returns the [`Items`],
    /// for the reply.
    pub fn owned<T>(self) -> Owned<Self, T>
    where
        P: Streams,
        T: for<'a> Decode<'a, <P as Streams>::Format>,
    {
        Owned::new(self)
    }
}

#[cfg(feature = "stream")]
impl<P, T> Stream for Owned<Items<'_, P>, T>
where
    P: CallContract + Streams,
    T: for<'a> Decode<'a, <P as Streams>::Format>,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let item = ready!(self.inner.poll_item(cx)).transpose();
        let decode = |item| self.inner.connection.decode(item, |item, _| Ok(item));
        Poll::Ready(item.map(|item| item.and_then(decode)))
    }
}

impl<P: Contract> fmt::Debug for Items<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items")
            .field("peer", self.connection.peer())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::{client::text_contract::Text, framing::Raw};

    /// A connection to a server that has replied and closed.
    async fn replied() -> (Connection<Raw>, DuplexStream) {
        let (near, mut far) = duplex(64);
        far.write_all(b"hi").await.expect("it is open");
        far.shutdown().await.expect("it is open");
        (Connection::over(near), far)
    }

    #[tokio::test]
    async fn stream_loses_no_reply_that_has_come_before_its_request() {
        let (mut connection, _far) = replied().await;
        let reply = connection.call::<Text<Raw>>("x").await;
        assert_eq!(reply.expect("a reply"), "hi");

        let (mut connection, _far) = replied().await;
        let items = connection.stream::<Text<Raw>>("x").await;
        let mut items = items.expect("it is open");
        assert!(items.next().await.expect("a reply").is_none());
        assert_eq!(items.finish().await.expect("a reply"), "hi");
    }
}
