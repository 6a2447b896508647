//! A connection that is kept.

use std::{fmt, ops::Range};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    ConnectOptions,
    failure::Failure,
    message::{enqueue, take},
    state::State,
    timer::Timer,
    transfer::{Received, Seen, Watch},
};
use crate::{
    Address, Callable, ClientProtocol, Decode, Encode as _, EncodeError, Error, Framing, Peer,
    Rejection, Result, Writer,
    buffer::{ReadBuffer, WriteBuffer},
    error::Repr,
    framing::FirstFrame,
    limit::assert_parameters,
};

/// Why a connection is closed whose server spoke out of turn.
pub(super) const UNASKED: &str = "the server said something that was not asked for";
/// Why a connection is closed that a pipeline has left too early.
pub(super) const LENT: &str = "a pipeline was left before it had received all replies";

/// A connection to a server, for any number of exchanges, one after the other.
///
/// Its framing `F` follows from what is first said on it, so that mixing framings does not compile.
///
/// A request whose reply was not awaited to its end, because the reply timeout was over or the
/// future was dropped, closes the connection, and the next use says so: a reply never reaches
/// another caller. So does a message that is there before a request is sent; a greeting is taken by
/// [`receive`](Self::receive).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, server_protocol};
///
/// #[server_protocol]
/// fn double(n: u32) -> u64 {
///     u64::from(n) * 2
/// }
///
/// let server = ConcurrentServer::new(Double).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Double>(21).await?, 42);
/// assert_eq!(connection.call::<Double>(4).await?, 8);
/// # Ok(())
/// # }
/// ```
pub struct Connection<F, S = TcpStream> {
    /// `None` once it is closed, for the reason in `state`.
    pub(super) stream: Option<S>,
    pub(super) state: State,
    pub(super) peer: Peer,
    pub(super) options: ConnectOptions,
    pub(super) framing: FirstFrame<F>,
    pub(super) inbox: ReadBuffer,
    /// Where replies borrow text that their format had to rewrite.
    pub(super) scratch: Vec<u8>,
    pub(super) outbox: WriteBuffer,
    /// Ends the wait for a reply.
    pub(super) timer: Timer,
}

impl<F: Framing> Connection<F> {
    /// Connects with the default [`ConnectOptions`].
    ///
    /// The framing `F` follows from what the connection is used for, so the compiler asks for a type
    /// until there is a `connection.call::<Greet>(…)` or a `connection.exchange(…)`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        ConnectOptions::new().connect(address).await
    }
}

impl<F: Framing, S> Connection<F, S> {
    pub(super) fn new(stream: S, peer: Peer, options: ConnectOptions) -> Self {
        const {
            assert_parameters::<F>();
        }
        Self {
            stream: Some(stream),
            state: State::Fresh,
            peer,
            options,
            framing: FirstFrame::default(),
            inbox: ReadBuffer::new(),
            scratch: Vec::new(),
            outbox: WriteBuffer::new(),
            timer: Timer::new(),
        }
    }

    /// Speaks over a stream that is connected already, with the default [`ConnectOptions`].
    pub fn over(stream: S) -> Self {
        Self::new(stream, Peer::unnamed(), ConnectOptions::new())
    }

    /// Returns the server's end.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Connection<F, S> {
    /// Sends the protocol's request and returns what it makes of the reply.
    ///
    /// # Errors
    ///
    /// By [`ErrorKind`](crate::ErrorKind): `Refused` with the server's reason, `Request` and `Reply`
    /// for messages that cannot be encoded or decoded, `TimedOut`, `Closed`, `Io`, and `Broken` after
    /// an earlier failure. [`Error::execution`] tells whether the request
    /// can have been executed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, unless the reply was already being processed.
    pub async fn exchange<P>(&mut self, protocol: P) -> Result<P::Output>
    where
        P: ClientProtocol<Framing = F>,
    {
        let request = |out: &mut Writer<'_>| protocol.prepare_request().encode(out);
        let reply = self.round_trip(P::GREETS, request).await?;
        let reply = self.inbox.frame(reply);
        let (scratch, framing) = (&mut self.scratch, &mut self.framing);
        let reply = take::<P::Format, _, _>(&self.peer, reply, scratch, framing)?;
        Ok(protocol.process_reply(&self.peer, reply).await)
    }

    /// Sends a request of the protocol `P`, which is named by `call::<P>`, and returns the reply,
    /// which may borrow from the connection.
    ///
    /// For a function that returns `Result<T, E>` in [`Plain`](crate::Plain), the reply is the `T`; its
    /// `Err` arrives as an [`Error`] with a [`refusal`](Error::refusal). A framing without control frames
    /// cannot tell the two apart: there, the text of an `Err` is read as a `T`.
    ///
    /// A protocol of a client, made by `#[client_protocol]`, goes to [`exchange`](Self::exchange).
    ///
    /// Where the protocol has a [greeting](crate::Contract::GREETS), a first call waits for that and drops
    /// it; to have it, [`receive`](Self::receive) it before. Each of the two waits for the reply timeout at
    /// most.
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn call<P>(&mut self, request: P::Request<'_>) -> Result<P::Value<'_>>
    where
        P: Callable<Framing = F>,
    {
        let reply = self
            .round_trip(P::GREETS, |out| P::encode(request, out))
            .await?;
        let reply = self.inbox.frame(reply);
        let (scratch, framing) = (&mut self.scratch, &mut self.framing);
        take::<P::Format, _, _>(&self.peer, reply, scratch, framing)
    }

    /// Receives a message that was not asked for: a server's greeting, before the first request.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tcs::{Connection, Lines, Plain};
    ///
    /// # async fn example() -> tcs::Result<()> {
    /// let mut connection: Connection<Lines> = Connection::connect("mail.example:25").await?;
    /// let greeting = connection.receive::<&str, Plain>().await?;
    /// assert!(greeting.starts_with("220 "));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`exchange`](Self::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn receive<'a, T, Format>(&'a mut self) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        let message = self.hear_first().await?;
        let message = self.inbox.frame(message);
        let (scratch, framing) = (&mut self.scratch, &mut self.framing);
        take::<Format, _, _>(&self.peer, message, scratch, framing)
    }

    /// Waits for the greeting, if there is one and nothing was received yet.
    async fn be_greeted(&mut self, greets: bool) -> Result<()> {
        // All that arrives is the one reply, the greeting as well.
        let has_greeting = greets && F::PERSISTENT;
        if has_greeting && matches!(self.state, State::Fresh) {
            self.hear_first().await?;
        }
        Ok(())
    }

    /// Receives a message that was not asked for.
    async fn hear_first(&mut self) -> Result<Range<usize>> {
        self.check()?;
        let heard = self.converse(Watch::Unset).await;
        if matches!(self.state, State::Fresh) {
            self.state = State::Greeted;
        }
        heard.map_err(Error::before_a_request)
    }

    /// Sends a request, to a server that `greets` after its greeting, and returns where its reply
    /// stands in the inbox.
    pub(super) async fn round_trip(
        &mut self,
        greets: bool,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Range<usize>> {
        self.check()?;
        self.be_greeted(greets).await?;
        if !F::PERSISTENT && matches!(self.state, State::Used) {
            self.abandon("its framing has one exchange per connection, and that was done");
            self.check()?;
        }
        let watch = self.settle().await?;
        self.enqueue(encode)?;
        self.state = State::Used;
        self.converse(watch).await
    }

    /// Puts a request behind what waits to be sent.
    pub(super) fn enqueue(
        &mut self,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<()> {
        let limit = self.options.frame_len();
        enqueue(&mut self.outbox, &mut self.framing, limit, encode)
    }

    /// Makes sure that a request can be sent.
    ///
    /// Cancel safe: it waits for nothing but the greeting of a server that `greets`.
    pub(super) async fn prepare(&mut self, greets: bool) -> Result<()> {
        self.check()?;
        self.be_greeted(greets).await?;
        self.settle().await.map(drop)
    }

    /// Sends what waits, and receives a message, within the reply timeout.
    async fn converse(&mut self, watch: Watch) -> Result<Range<usize>> {
        let mut pending = Pending {
            connection: self,
            reason: Some("an earlier exchange was not awaited to its end"),
        };
        let source = match pending.connection.transfer(watch).await {
            Ok(Received::Message(frame)) => {
                pending.reason = None;
                return Ok(frame);
            }
            Ok(Received::Rejection(source)) => source,
            Err(repr) => {
                pending.reason = Some(match repr {
                    Repr::ReplyTimedOut { .. } => "an earlier exchange timed out",
                    _ => "an earlier exchange failed",
                });
                return Err(repr.into());
            }
        };
        pending.reason = None;
        Err(pending.connection.refused(source))
    }

    /// Makes sure that nothing was said which the next request would take for its reply.
    ///
    /// Cancel safe: it never waits.
    async fn settle(&mut self) -> Result<Watch> {
        let reason = match self.look().await {
            Ok(Seen::Nothing(watch)) => return Ok(watch),
            Ok(Seen::End(refusal)) => return Err(self.refused(refusal)),
            Ok(Seen::Message) => UNASKED,
            Err(repr) => {
                self.abandon("the server has closed it");
                return Err(repr.into());
            }
        };
        self.abandon(reason);
        self.check()?;
        Ok(Watch::Unset)
    }

    /// Notes a refusal, after which nothing more can be asked if it is final.
    fn refused(&mut self, source: Rejection) -> Error {
        if source.kind().is_final() {
            self.stream = None;
            self.state = State::Ended(source.clone());
        }
        let peer = self.peer.clone();
        Repr::Refused { peer, source }.into()
    }

    /// Tells whether the end of what is sent is to follow, as the end of the request.
    pub(super) fn ends_sending(&self) -> bool {
        F::HALF_CLOSE && matches!(self.state, State::Used)
    }

    /// Refuses to go on where nothing can be asked any more.
    pub(super) fn check(&self) -> Result<()> {
        self.state.check(&self.peer)
    }
}

impl<F, S> Connection<F, S> {
    /// Leaves the connection to a pipeline: nobody else can use it until it is taken back, even if
    /// the pipeline is forgotten.
    pub(super) fn lend(&mut self) {
        self.state = State::Broken(LENT);
    }

    /// Takes the connection back from a pipeline that has received all replies.
    pub(super) fn take_back(&mut self) {
        self.state = State::Used;
    }

    /// Closes the connection, because of what is told to the requests that are open.
    pub(super) fn fail(&mut self, failure: &Failure) {
        self.abandon(failure.reason());
        if let Failure::Ended(refusal) = failure {
            self.state = State::Ended(refusal.clone());
        }
    }

    /// Closes the connection at once.
    pub(super) fn abandon(&mut self, reason: &'static str) {
        self.stream = None;
        self.state = State::Broken(reason);
        // What is kept to ask for the reason holds no buffers.
        self.inbox = ReadBuffer::new();
        self.outbox = WriteBuffer::new();
        self.scratch = Vec::new();
    }
}

/// Closes the connection for `reason`, if there is one, when the exchange is over or dropped.
struct Pending<'a, F, S> {
    connection: &'a mut Connection<F, S>,
    reason: Option<&'static str>,
}

impl<F, S> Drop for Pending<'_, F, S> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.connection.abandon(reason);
        }
    }
}

impl<F, S> fmt::Debug for Connection<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let connection: Connection<crate::Lines> =
            Connection::connect(addr).await.expect("it listens");
        let stream = connection.stream.as_ref().expect("it is open");
        assert!(stream.nodelay().expect("TCP has it"));
    }
}
