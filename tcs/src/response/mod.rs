//! What a function returns if it is not one ordinary reply.

mod many;
mod upgrade;

use std::fmt::Display;

pub use many::Many;
pub(crate) use upgrade::Returned;
pub use upgrade::{NoUpgrade, Upgrade, Upgraded};

use crate::{
    conversation::Streams,
    format::{Encode, EncodeError, Writer},
};

/// The return type of a protocol function that can close the connection, send no reply, or start TLS.
///
/// The caller receives `T`. With [`Upgrade<'_>`](crate::protocol::Upgrade) as the second type, the function can also take
/// the connection [over](Response::upgrade). With [`Many<'_, P>`](crate::protocol::Many), it can reply with the items of
/// [an iterator](Response::many).
///
/// # Examples
///
/// ```
/// use tcs::{Response, framing::Lines, server_protocol};
///
/// #[server_protocol(framing = Lines)]
/// fn talk(line: &str) -> Response<&str> {
///     match line {
///         "QUIT" => Response::ReplyAndClose("bye"),
///         "" => Response::NoReply,
///         "ABORT" => Response::Close,
///         other => Response::Reply(other),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Response<T, U = NoUpgrade> {
    /// A reply, after which the connection continues.
    Reply(T),
    /// A reply, after which the server closes the connection. Later requests are not executed, even
    /// if the reply cannot be sent.
    ReplyAndClose(T),
    /// A reply, after which the connection continues over TLS (STARTTLS). The server performs the handshake of
    /// [`Server::start_tls`](crate::server::Server::start_tls), within `handshake_timeout`. If it fails, the
    /// connection is dropped.
    ///
    /// Input between this request and the handshake is dropped, because an attacker may have inserted it. With a
    /// framing that has ids ([`Multiplexed`](crate::framing::Multiplexed)), such input fails the request, and the
    /// connection closes. The session is kept: to forget what came before TLS, as SMTP requires (RFC 3207), reset it in
    /// the function.
    ///
    /// The request fails and the connection closes if the server has no `start_tls`, if the connection already uses
    /// TLS, or if this is its last request
    /// ([`max_requests_per_connection`](crate::server::Server::max_requests_per_connection)).
    StartTls(T),
    /// No reply. Use it only if peers know which requests get no reply: a client that waits for one reaches its reply
    /// timeout.
    NoReply,
    /// No reply, and the server closes the connection without another byte. It sends the replies to
    /// earlier requests. Later requests are not executed.
    Close,
    /// A reply, after which the function takes the connection over. Created by [`upgrade`](Response::upgrade).
    Upgrade(T, U),
    /// A streamed reply: the items, and the reply after them. Created by [`many`](Response::many).
    Many(T, U),
}

impl<'a, T> Response<T, Upgrade<'a>> {
    /// Returns a reply after which `serve` takes over the stream of the connection.
    ///
    /// `serve` is an `async move` closure, which may borrow from the request, the states and the session. The reply is
    /// sent first. The stream begins with the bytes that the peer has sent after the request. The connection ends when
    /// the stream is dropped and `serve` has returned. Until then, it counts in the statistics and limits of the
    /// server.
    ///
    /// A stopped server waits for `serve` for at most [`drain_timeout`](crate::server::Server::drain_timeout), and then
    /// drops its future. Use [`Draining`](crate::protocol::Draining) to end earlier. No other timeout applies to
    /// `serve`: set those that your protocol needs with [`tokio::time::timeout`]. A panic of `serve` is logged, and
    /// ends the connection.
    ///
    /// The request counts as served when the reply is sent. If an error replaces the reply, or the reply closes the
    /// connection, `serve` is dropped. Events for this connection ([`Push`](crate::protocol::Push)) are no longer sent.
    /// This works with any framing, even one with a single exchange.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     Response, framing::Lines,
    ///     protocol::{Draining, Upgrade, Upgraded},
    ///     server_protocol,
    /// };
    /// use tokio::{io::copy_bidirectional, net::TcpStream};
    ///
    /// /// Connects the peer to another server.
    /// #[server_protocol(framing = Lines)]
    /// async fn connect<'a>(
    ///     target: &'a str,
    ///     draining: Draining<'a>,
    /// ) -> Result<Response<&'static str, Upgrade<'a>>, std::io::Error> {
    ///     let mut far = TcpStream::connect(target).await?;
    ///     Ok(Response::upgrade("ok", async move |mut near: Upgraded| {
    ///         tokio::select! {
    ///             copied = copy_bidirectional(&mut near, &mut far) => drop(copied),
    ///             () = draining => {}
    ///         }
    ///     }))
    /// }
    /// ```
    pub fn upgrade<F, S>(reply: T, serve: F) -> Self
    where
        F: FnOnce(Upgraded) -> S + Send + 'a,
        S: Future<Output = ()> + Send + 'a,
    {
        Self::Upgrade(reply, Upgrade::new(serve))
    }
}

impl<'a, T, P: Streams + 'a> Response<T, Many<'a, P>> {
    /// Returns a streamed reply: the items of an iterator, and the reply that ends the stream.
    ///
    /// The function needs the option `replies`, but need not be `async`. Use [`Replies`](crate::protocol::Replies)
    /// instead in an `async` function that waits between items, in a module of functions, and in a protocol that is
    /// written by hand.
    ///
    /// The server takes an item only when there is room to send it, so the iterator may be infinite. The iterator is
    /// dropped when the peer leaves, or does not read within `write_timeout`. It runs in the task of the connection,
    /// even if the function is `blocking`. An item that cannot be sent fails the request, after the items before it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{Response, framing::Lines, protocol::Many, server_protocol};
    ///
    /// #[server_protocol(framing = Lines, replies = &str)]
    /// fn words(line: &str) -> Response<&'static str, Many<'_, Words>> {
    ///     Response::many(line.split(' '), ".")
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # let (mut near, far) = tokio::io::duplex(1024);
    /// # let server = tokio::spawn(tcs::OnceServer::new(Words).serve_stream(far, tcs::Peer::unnamed()));
    /// # near.write_all(b"one two\n").await?;
    /// # let mut replies = String::new();
    /// # near.read_to_string(&mut replies).await?;
    /// # assert_eq!(replies, "one\ntwo\n.\n");
    /// # drop(near);
    /// # server.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn many<I>(items: I, reply: T) -> Self
    where
        I: IntoIterator<Item = P::Item<'a>, IntoIter: Send + 'a>,
        P::Item<'a>: Encode<P::Format>,
    {
        Self::Many(reply, Many::new(items.into_iter().map(Ok)))
    }

    /// Returns a streamed reply that ends at the first error, and is otherwise like [`many`](Self::many). The error
    /// replaces the reply, as the error of a function does in [`Plain`](crate::format::Plain).
    pub fn try_many<I, E>(items: I, reply: T) -> Self
    where
        I: IntoIterator<Item = Result<P::Item<'a>, E>, IntoIter: Send + 'a>,
        P::Item<'a>: Encode<P::Format>,
        E: Display,
    {
        let items = items.into_iter();
        let items = items.map(|item| item.map_err(|error| error.to_string()));
        Self::Many(reply, Many::new(items))
    }
}

impl<T, U> Response<T, U> {
    fn encode_reply<Format>(self, out: &mut Writer<'_>) -> Result<(), EncodeError>
    where
        T: Encode<Format>,
    {
        match self {
            Self::ReplyAndClose(_) | Self::Close => out.close_after(),
            Self::StartTls(_) => out.start_tls_after(),
            Self::Reply(_) | Self::NoReply | Self::Upgrade(..) | Self::Many(..) => {}
        }
        match self {
            Self::Reply(reply)
            | Self::ReplyAndClose(reply)
            | Self::StartTls(reply)
            | Self::Upgrade(reply, _)
            | Self::Many(reply, _) => reply.encode(out),
            Self::NoReply | Self::Close => {
                out.send_nothing();
                Ok(())
            }
        }
    }
}

impl<Format, T: Encode<Format>> Encode<Format> for Response<T> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.encode_reply(out)
    }
}

impl<Format, T: Encode<Format>, P> Encode<Format> for Response<T, Many<'_, P>> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            // The caller would take the stream for an empty one.
            Self::Many(..) => Err(EncodeError::new(
                "its items are not sent: only a function with the option `replies` sends them",
            )),
            other => other.encode_reply(out),
        }
    }
}

impl<Format, T: Encode<Format>> Encode<Format> for Response<T, Upgrade<'_>> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match &self {
            // The peer would be told that the connection is another one now.
            Self::Upgrade(_, upgrade) if !upgrade.is_taken() => Err(EncodeError::new(
                "there is no connection to take over here, only a server has one",
            )),
            _ => self.encode_reply(out),
        }
    }

    const UPGRADES: bool = true;

    fn take_upgrade<'a>(&mut self) -> Option<Upgrade<'a>>
    where
        Self: 'a,
    {
        match self {
            Self::Upgrade(_, upgrade) => upgrade.take(),
            _ => None,
        }
    }
}
