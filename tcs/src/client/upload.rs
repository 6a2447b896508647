//! Requests that are followed by a stream of chunks.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use super::{
    connection::Connection, deadline::CallDeadline, exchanges::MAX_BUFFERED, replies::Received,
    wire::Expected,
};
use crate::{
    Error, Execution, Result,
    format::{Encode, Writer},
    framing::Framing,
    protocol::{CallContract, Contract, Receives},
};

/// A request that is followed by chunks, from [`Connection::upload`].
///
/// [`send`](Self::send) sends the next chunk, and waits while 64 KiB of earlier chunks are not sent, so an upload of
/// any length needs little memory. [`finish`](Self::finish) ends the chunks, and returns the reply.
///
/// # Early replies
///
/// The server may reply, or reject the request, before the last chunk. Later chunks are then not sent, and `send`
/// returns no error; `finish` returns the reply or the rejection. To stop early, check
/// [`is_answered`](Self::is_answered). If the connection fails or closes, `send` returns an error.
///
/// # Framings
///
/// [`LengthPrefixed`](crate::framing::LengthPrefixed) marks chunks and their end. With other framings, chunks are
/// ordinary messages, and `finish` sends nothing: the protocol must define which chunk is the last one. After an early
/// reply, the server takes further chunks for requests, so the next use of the connection closes it. Uploads do not
/// compile for [`Multiplexed`](crate::framing::Multiplexed), for a framing with one exchange per connection, or of
/// values (`Codec`).
///
/// # Limits
///
/// The [reply timeout](super::ConnectOptions::reply_timeout) applies to each wait of `send`, and begins again with
/// `finish`, which waits until the rest is sent and the reply has arrived. A [`deadline`](Connection::deadline) applies
/// to the whole upload.
///
/// # Cancel safety
///
/// If you drop an upload before you call `finish`, the next use of the connection closes it, because the server must
/// not take a part for the whole. To give the server an error at once, drop the connection as well. After an early
/// reply with `LengthPrefixed`, the connection stays usable.
#[must_use = "the server waits for the end of the chunks: call `finish`"]
pub struct Upload<'c, P: Contract> {
    connection: &'c mut Connection<P::Framing>,
    offset: u64,
    deadline: Option<CallDeadline>,
    state: UploadState,
    marker: PhantomData<fn() -> P>,
}

#[derive(Debug)]
enum UploadState {
    Open,
    /// The server has answered before the end of the chunks.
    Answered(Received),
    Failed,
}

impl<F: Framing> Connection<F> {
    /// Sends a request of the protocol `P`, which is followed by chunks.
    ///
    /// The option `requests` of [`#[server_protocol]`](crate::server_protocol) makes a protocol that receives chunks,
    /// which has [`Receives`].
    ///
    /// # Errors
    ///
    /// `Request` for a request that cannot be encoded, and `Broken`, `Closed` or `Io` if it cannot be sent. The other
    /// errors are those of [`Upload::finish`].
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
    ///     protocol::Requests, server_protocol,
    /// };
    ///
    /// /// Counts the bytes of a file that is sent in pieces.
    /// #[server_protocol(requests = &[u8])]
    /// async fn store(name: &str, mut pieces: Requests<'_, Store>) -> Result<String, String> {
    ///     let mut length = 0;
    ///     while let Some(piece) = pieces.next().await? {
    ///         length += piece.len();
    ///     }
    ///     Ok(format!("{name}: {length} bytes"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(Store).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let mut connection = Connection::connect(addr).await?;
    /// let mut upload = connection.upload::<Store>("zeros").await?;
    /// for _ in 0..1_000 {
    ///     upload.send(&[0; 1_000]).await?;
    /// }
    /// assert_eq!(upload.finish().await?, "zeros: 1000000 bytes");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A framing with ids has no uploads:
    ///
    /// ```compile_fail
    /// use tcs::{Connection, framing::Multiplexed, protocol::Requests, server_protocol};
    ///
    /// #[server_protocol(framing = Multiplexed, requests = u32)]
    /// async fn add(start: u32, mut more: Requests<'_, Add>) -> Result<u32, String> {
    ///     Ok(start + more.next().await?.unwrap_or_default())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// let mut connection = Connection::<Multiplexed>::connect("localhost:7000").await?;
    /// let upload = connection.upload::<Add>(1).await?;
    /// # drop(upload);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn upload<P>(&mut self, request: P::Request<'_>) -> Result<Upload<'_, P>>
    where
        P: CallContract<Framing = F> + Receives,
    {
        const {
            assert!(
                F::EXCHANGES.are_many() && !F::HAS_VALUES,
                "this framing has one exchange per connection, or values, so it has no uploads"
            );
            assert!(
                !F::HAS_IDS,
                "with this framing, servers take no chunks: use `LengthPrefixed`"
            );
        }
        let deadline = self.take_deadline()?;
        self.set_is_event_of::<P>();
        let request = |out: &mut Writer<'_>| P::encode(request, out);
        let exchanges = self.checked_exchanges();
        let offset = exchanges.begin(P::HAS_GREETING, deadline, request).await?;
        exchanges.begin_chunks();
        // The flush reads before it sends what can be sent now: a message that has arrived already is no answer.
        exchanges.skip_arrived().await?;
        Ok(Upload {
            connection: self,
            offset,
            deadline,
            state: UploadState::Open,
            marker: PhantomData,
        })
    }
}

impl<'c, P: CallContract + Receives> Upload<'c, P> {
    /// Sends as much of a chunk as the server takes now. The next `send` or [`finish`](Self::finish) sends the rest.
    ///
    /// Waits while 64 KiB of the chunks before it are not sent. If the server [has answered](Self::is_answered), the
    /// chunk is not sent.
    ///
    /// # Errors
    ///
    /// `Request` for a chunk that cannot be encoded, after which the next one can be sent. Other errors end the upload:
    /// `TimedOut`, `Closed`, `Io`, `Broken`, and `Rejected` if the server closes the connection with a reason.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits, the chunk is not sent.
    pub async fn send<'a>(&mut self, chunk: P::Chunk<'a>) -> Result<()>
    where
        P::Chunk<'a>: Encode<<P as Receives>::Format>,
    {
        poll_fn(|cx| self.poll_room(cx)).await?;
        if self.is_answered() {
            return Ok(());
        }
        let exchanges = &mut self.connection.exchanges;
        let pushed = exchanges.push_chunk(|out| chunk.encode(out));
        // The function may have begun.
        pushed.map_err(|error| error.with_execution(Execution::Unknown))?;
        exchanges.send_now().await;
        Ok(())
    }

    /// Returns `true` if the server has answered before the end of the chunks, so that no more are sent. This is known
    /// after a [`send`](Self::send).
    pub const fn is_answered(&self) -> bool {
        matches!(self.state, UploadState::Answered(_))
    }

    /// Ends the chunks, and returns the reply, which may borrow from the connection.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Connection::call`]. `Broken` if an error of [`send`](Self::send) has ended the upload.
    ///
    /// # Cancel safety
    ///
    /// As for [`Connection::call`]: the connection stays usable.
    pub async fn finish(self) -> Result<P::Value<'c>> {
        let answer = match self.state {
            UploadState::Open => None,
            UploadState::Answered(received) => Some(received),
            UploadState::Failed => return Err(failed(self.connection)),
        };
        let exchanges = &mut self.connection.exchanges;
        let reply = exchanges.end_chunks(self.offset, self.deadline, answer);
        let reply = reply.await?;
        self.connection.decode(reply, |reply, _| Ok(reply))
    }

    /// Waits until there is room for a chunk, or the server has answered.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.state {
            UploadState::Open => {}
            UploadState::Answered(_) => return Poll::Ready(Ok(())),
            UploadState::Failed => return Poll::Ready(Err(failed(self.connection))),
        }
        let exchanges = &mut self.connection.exchanges;
        if let Some(deadline) = &self.deadline
            && Instant::now() >= deadline.at
        {
            self.state = UploadState::Failed;
            return Poll::Ready(Err(exchanges.late_error(Some(self.offset), deadline)));
        }
        let polled = match exchanges.poll_received(cx, Expected::NOTHING) {
            Poll::Pending if exchanges.wire.requests.unsent() < MAX_BUFFERED => {
                Poll::Ready(Ok(None))
            }
            polled => polled.map_ok(Some),
        };
        let deadline = self.deadline.as_ref();
        match ready!(exchanges.poll_in_time(cx, Some(self.offset), deadline, polled)) {
            Ok(None) => {}
            Ok(Some(received)) => {
                exchanges.record_early_answer();
                self.state = UploadState::Answered(received);
            }
            Err(error) => {
                // A chunk is missing, so the server must not take the others for the whole.
                self.state = UploadState::Failed;
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the error of an upload whose error was returned.
#[cold]
fn failed<F: Framing>(connection: &Connection<F>) -> Error {
    Error::broken_before_reply(connection.peer(), "an error has ended the upload before")
}

impl<P: Contract> fmt::Debug for Upload<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("peer", self.connection.peer())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
