//! The settings of a channel, and how it is created from them.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Channel,
    backoff::Backoff,
    connector::{Connector, Target},
    pool::Pool,
    reconnector::Reconnector,
    shared::Shared,
};
use crate::{
    Error, Result,
    checks::check_zero,
    client::{
        connect::race,
        connection::Connection,
        options::{ConnectOptions, MAX_TIMEOUT},
    },
    framing::{Framing, LengthPrefixed, Side},
    runtime::inside_runtime,
    transport::{Address, Stream},
};

/// The most connections to each address.
const MAX_CONNECTIONS: usize = 65_536;

/// The settings of a [`Channel`](crate::Channel): its addresses, connections, timeouts and retries.
///
/// # Examples
///
/// In the format `Plain`, a failed login is an error of the call, so `?` is enough. In `Json`, `MessagePack` and
/// `Postcard`, the call returns `Ok(Err(…))`, and you must check both: see the example of
/// [`on_connect`](Self::on_connect).
///
/// ```no_run
/// use std::time::Duration;
///
/// use tcs::{Channel, Connection, client::ChannelOptions};
///
/// # async fn example() -> tcs::Result<()> {
/// # #[tcs::server_protocol]
/// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
/// # #[tcs::server_protocol]
/// # fn log_in(token: &str) -> Result<(), &'static str> { Ok(()) }
/// let channel: Channel = ChannelOptions::new("one.example:7000")
///     .address("two.example:7000")
///     .connections(2)
///     .deadline(Duration::from_secs(2))
///     .on_connect(|mut connection: Connection| async move {
///         connection.call::<LogIn>("token").await?;
///         Ok(connection)
///     })
///     .connect()
///     .await?;
/// let reply = channel.call::<Greet>("Ann").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "options do nothing until `connect`, `connect_lazily` or `connect_blocking` uses them"]
pub struct ChannelOptions<F: Framing = LengthPrefixed> {
    connector: Connector<F>,
    connect_options: ConnectOptions,
    connections: usize,
    retries: bool,
    deadline: Option<Duration>,
}

impl<F: Framing> ChannelOptions<F> {
    /// Creates default options for a channel to the server at `address`. The default port is 1234.
    pub fn new(address: impl Into<Address>) -> Self {
        Self::with_target(Target::Address(address.into()))
    }

    /// Creates default options for a channel over the streams that `open` returns, such as those of your own transport.
    ///
    /// `open` is called for each connection, and may take the [connect timeout](ConnectOptions::connect_timeout).
    ///
    /// A write of the stream that fails must have sent nothing, as `AsyncWrite` demands: the channel sends those requests
    /// again. `tokio-rustls` does not keep that for more than 16 KiB; `ClientTls` does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// use tcs::{Channel, ConcurrentServer, client::ChannelOptions, server_protocol, transport::memory};
    ///
    /// #[server_protocol]
    /// fn double(n: u32) -> u64 {
    ///     u64::from(n) * 2
    /// }
    ///
    /// let (listener, connector) = memory();
    /// tokio::spawn(ConcurrentServer::new(Double).listener(listener).listen());
    ///
    /// let channel: Channel = ChannelOptions::over(move || {
    ///     let connector = connector.clone();
    ///     async move { connector.connect().await }
    /// })
    /// .connect()
    /// .await?;
    /// assert_eq!(channel.call::<Double>(21).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn over<S, Fut>(open: impl Fn() -> Fut + Send + Sync + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
    {
        Self::with_target(Target::Stream(Box::new(move |()| {
            let opened = open();
            Box::pin(async move { opened.await.map(Stream::new) })
        })))
    }

    fn with_target(target: Target) -> Self {
        Self {
            connector: Connector::new(vec![target]),
            connect_options: ConnectOptions::new(),
            connections: 1,
            retries: true,
            deadline: None,
        }
    }

    /// Adds the address of another server that serves the same protocol.
    ///
    /// Each address has its own [`connections`](Self::connections). A call picks two connections at random, and uses
    /// the one with fewer calls in flight. A connection that is not open connects in the background while calls use the
    /// others. If none is open, a call waits, and asks for another connection every 250 ms, or for all of them once an
    /// attempt has failed.
    ///
    /// A server in trouble gets few calls until it recovers. For each connection, the channel counts calls that the
    /// server rejects as *busy*, whose function panics or takes too long, or whose reply is late. It counts up to ten,
    /// and forgets one each second. With `n` of them, the connection is treated as if 2ⁿ − 1 more calls were in flight:
    /// 1 after one such call, and 1,023 after ten. A [retry](crate::Channel#retries) uses another open connection than
    /// the one that rejected the call, if there is any.
    ///
    /// [`connect`](Self::connect) opens one connection, to any of the addresses, and fails if no server answers. To
    /// start without a connection, use [`connect_lazily`](Self::connect_lazily).
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.connector.targets.push(Target::Address(address.into()));
        self
    }

    /// Sets the number of connections to each address. A connection is opened when a call would use it.
    ///
    /// A name is resolved for each connection. If it has several addresses, a new connection goes to the one with the
    /// fewest connections of this channel. To spread calls over all servers behind a name, set at least their number.
    ///
    /// Except with [`Multiplexed`](crate::framing::Multiplexed), a slow request delays later ones on the same
    /// connection. Creating the channel returns an error for zero, and for more than 65,536. Default: 1.
    pub fn connections(mut self, number: usize) -> Self {
        self.connections = number;
        self
    }

    /// Sets the timeouts and limits of each connection, and TLS. Default: [`ConnectOptions::new`].
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.connect_options = options;
        self
    }

    /// Sets a function that prepares each new connection before calls use it, for example to log in or receive the
    /// greeting.
    ///
    /// The function takes the connection and returns it. It runs for each connection, so clone what its future owns, as
    /// in the example. It may take the [connect timeout](ConnectOptions::connect_timeout), in addition to the time for
    /// connecting. If you store the closure in a variable first, write the type of its parameter, as in `|connection:
    /// Connection<Multiplexed>|`.
    ///
    /// # Errors
    ///
    /// If the function returns an error, takes too long or panics, the connection is closed, and calls use another one.
    /// If none is open, it depends on the error:
    ///
    /// | the function | calls |
    /// |---|---|
    /// | returns an error that [can be retried](crate::Error::is_retryable) or says that the connection was lost; takes too long | wait for the next attempt |
    /// | returns any other error, such as a rejected password; panics | return the error, until the [backoff](Self::backoff) has passed; then they wait for the next attempt |
    ///
    /// Convert the `Err` of a login with [`Error::other`](crate::Error::other), which belongs to the second row.
    ///
    /// With several connections, calls return the error when the last attempt of every connection has failed and waits
    /// for its backoff. A failure does not count if the server has answered before and has been gone for less than the
    /// longest backoff, because it is probably restarting.
    ///
    /// Calls return an error with the kind of the function's error, such as [`Other`](crate::ErrorKind::Other) or
    /// [`Rejected`](crate::ErrorKind::Rejected), the text *no connection*, and the execution
    /// [`NotSent`](crate::Execution::NotSent), because their own requests were not sent. Its
    /// [source](std::error::Error::source) names the server, and has the function's error as its source.
    /// [`connect`](Self::connect) and [`ChannelState::last_error`](crate::client::ChannelState::last_error) return the
    /// error that names the server.
    ///
    /// # Examples
    ///
    /// A client for a [module of functions](crate::server_protocol) that reconnects, and logs in on each connection:
    ///
    #[cfg_attr(feature = "json", doc = "```")]
    #[cfg_attr(not(feature = "json"), doc = "```ignore")]
    /// use std::time::Duration;
    ///
    /// use tcs::{Channel, Error, client::ChannelOptions, server_protocol};
    ///
    /// #[server_protocol(format = tcs::format::Json)]
    /// mod bank {
    ///     pub fn log_in(password: &str, #[session] is_in: &mut bool) -> Result<(), String> {
    ///         *is_in = password == "1234";
    ///         is_in.then_some(()).ok_or("wrong password".to_owned())
    ///     }
    ///
    ///     pub fn balance(#[session] is_in: &bool) -> Option<u64> {
    ///         is_in.then_some(5_000)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = tcs::ConcurrentServer::new(bank::Protocol).port(0).bind().await?;
    /// # let (one, two) = (server.local_addr(), server.local_addr());
    /// # tokio::spawn(server.listen());
    /// let password = String::from("1234");
    /// let channel = ChannelOptions::new(one)
    ///     .address(two)
    ///     .deadline(Duration::from_secs(2))
    ///     .on_connect(move |connection| {
    ///         let password = password.clone();
    ///         async move {
    ///             let mut client = bank::Client::over(connection);
    ///             client.log_in(&password).await?.map_err(Error::other)?;
    ///             Ok(client.into_inner())
    ///         }
    ///     })
    ///     .connect()
    ///     .await?;
    /// let bank: bank::Client<Channel> = bank::Client::over(channel);
    /// assert_eq!(bank.balance().await?, Some(5_000));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_connect<Fut>(
        mut self,
        prepare: impl Fn(Connection<F>) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<Connection<F>>> + Send + 'static,
    {
        self.connector.on_connect = Some(Box::new(move |connection| Box::pin(prepare(connection))));
        self
    }

    /// Sets how long each call may take, including all waits and retries. Default: `None`.
    ///
    /// [`Channel::deadline`](crate::Channel::deadline) has the details, and replaces it for single calls. Creating the channel
    /// returns an error for zero.
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.deadline = clamped(limit);
        self
    }

    /// Sets whether the channel [retries](crate::Channel#retries) failed calls. Default: `true`.
    ///
    /// With `false`, no request is retried or [hedged](crate::Channel::hedge), even if it was rejected, was lost before it was
    /// sent, or is [idempotent](crate::Channel::idempotent). Calls still wait for a connection.
    ///
    /// Retries after a rejection, and those of idempotent calls, have a budget that cannot be set: 100 at first, ten more for
    /// each second, and a fifth of the calls that are answered. More would add load to a server that fails. *Going away* counts
    /// as well, so if a server restarts with hundreds of calls in flight and few were answered before, the calls beyond 100
    /// return the rejection.
    ///
    /// For retries, the channel keeps each request that it has sent until the reply has arrived, even if the call was dropped,
    /// or until 4 MiB of others were sent after it on its connection.
    pub fn retries(mut self, enabled: bool) -> Self {
        self.retries = enabled;
        self
    }

    /// Sets the waits between attempts to connect. The wait begins with `min` and doubles with each failed attempt, up to `max`.
    /// Each wait is a random part of that time, at least a quarter, so the clients of a restarted server do not all come back at
    /// once. It begins with `min` again after a connection that received a reply, an event or an item, or that lasted for `max`
    /// without a call.
    ///
    /// After the server has ended a connection, the first attempt waits for a random time up to `min`, at most 1 s. The first
    /// connection of all, and one that replaces a connection that the channel closed as idle or old, does not wait.
    ///
    /// Creating the channel returns an error for zero, and if `min` is longer than `max`. Default: 100 ms and 10 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.connector.backoff = Backoff {
            min: min.min(MAX_TIMEOUT),
            max: max.min(MAX_TIMEOUT),
        };
        self
    }

    /// Sets how long a connection may be without a call before the channel closes it. The next call opens another.
    ///
    /// Keep this shorter than the server's [`idle_timeout`](crate::server::Server::idle_timeout), so that no request is
    /// sent while the server closes the connection. The time is accurate to within one eighth. Creating the channel
    /// returns an error for zero. Default: 4 minutes. With `None`, only the server closes idle connections.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connector.idle_timeout = clamped(limit);
        self
    }

    /// Sets the time without traffic to the server after which the channel sends a ping, so that load balancers and
    /// routers keep the connection.
    ///
    /// A ping is a frame that the server ignores. Only [`LengthPrefixed`] and `Multiplexed` have pings. A ping is not a
    /// request: it extends neither [`idle_timeout`](Self::idle_timeout) nor the server's idle timeout.
    ///
    /// To detect a lost server, use [`ConnectOptions::keepalive_timeout`], which is on by default. With pings, it takes
    /// at least the [`reply_timeout`](ConnectOptions::reply_timeout). If that is `None`, a lost server is detected only
    /// after about 15 minutes, or at the end of `idle_timeout`. Creating the channel returns an error for zero.
    /// Default: `None`.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.connector.ping_interval = clamped(interval);
        self
    }

    /// Sets the age at which a connection is replaced, or up to a tenth earlier. New servers behind a name then get a
    /// share of the connections.
    ///
    /// The channel opens the new connection first, while calls use the old one. If the attempt fails, the old one
    /// stays, and the attempt is repeated after the [backoff](Self::backoff). Then the calls in flight on the old one
    /// are answered. New calls meanwhile use the other [`connections`](Self::connections), or wait if there is only
    /// one.
    ///
    /// A connection with a [streamed reply](crate::Channel::stream) is replaced once the stream has ended. A connection
    /// that had no call and no event in all this time is closed, and the next call opens another. Creating the channel
    /// returns an error for zero. Default: `None`.
    pub fn max_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connector.max_age = clamped(limit);
        self
    }
}

impl<F: Framing> ChannelOptions<F> {
    /// Creates the channel and opens its first connection.
    ///
    /// The addresses are tried in order, each 250 ms after the one before, or as soon as that fails, and the first connection
    /// wins. Each attempt may take the [connect timeout](ConnectOptions::connect_timeout). Only here is it an error if there is
    /// no connection: later, calls wait for one.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if a value is invalid. If no address answers, returns one of the errors
    /// of [`ConnectOptions::connect`] or of the function of [`on_connect`](Self::on_connect): the first that another attempt
    /// cannot fix, such as a rejected login; if there is none, the first of all.
    ///
    /// # Panics
    ///
    /// Panics as [`ConnectOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(self) -> Result<Channel<F>> {
        let number = self.connector.targets.len();
        let channel = self.connect_lazily()?;
        inside_runtime("connect()")?;
        let mut failure = None;
        let failed = |error: Error| {
            // A rejected login is returned rather than that a server is down.
            let outranks = |former: &Error| former.is_permanent() || !error.is_permanent();
            failure = failure.take().filter(outranks).or(Some(error));
        };
        // The first connection to each address.
        let firsts: Vec<&Arc<_>> = channel.pool.subchannels.iter().take(number).collect();
        let deadline = Instant::now() + MAX_TIMEOUT;
        let connected = race(
            firsts,
            deadline,
            |subchannel| async move {
                let connection = subchannel.connect().await?;
                Ok((subchannel, connection))
            },
            failed,
        );
        if let Some((subchannel, connection)) = connected.await {
            Reconnector::spawn(subchannel, Some(connection));
        } else if let Some(error) = failure {
            return Err(error);
        }
        Ok(channel)
    }

    /// Creates the channel without a connection. The first call opens one.
    ///
    /// You can call this method outside of a runtime.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if a value is invalid, and [`Resolve`](crate::ErrorKind::Resolve) if an
    /// address is invalid.
    pub fn connect_lazily(mut self) -> Result<Channel<F>> {
        const {
            Channel::<F>::assert_framing();
        }
        self.check()?;
        // Without pings in the framing, the interval does nothing.
        if self.connector.ping_interval.is_some() && F::has_notices(Side::Client) {
            self.connect_options.keep_alive_with_pings();
        }
        let number = self.connector.targets.len() * self.connections;
        let shared = Shared::new(self.connect_options, self.connector, self.retries);
        let mut channel = Channel::over(Pool::new(number, shared));
        channel.deadline = self.deadline;
        Ok(channel)
    }

    fn check(&self) -> Result<()> {
        let Connector {
            targets,
            backoff,
            idle_timeout,
            ping_interval,
            max_age,
            ..
        } = &self.connector;
        self.connect_options.check(F::MIN_MESSAGE_LEN)?;
        for target in targets {
            if let Target::Address(address) = target {
                address.check()?;
            }
        }
        if self.connections > MAX_CONNECTIONS {
            return Err(Error::setting(
                "connections",
                format_args!("is more than {MAX_CONNECTIONS}"),
            ));
        }
        if backoff.min > backoff.max {
            return Err(Error::setting(
                "backoff",
                "has a longer first wait than the longest one",
            ));
        }
        let is_zero = |limit| limit == Some(Duration::ZERO);
        check_zero(&[
            ("connections", self.connections == 0),
            ("deadline", is_zero(self.deadline)),
            ("backoff", backoff.min.is_zero() || backoff.max.is_zero()),
            ("idle_timeout", is_zero(*idle_timeout)),
            ("ping_interval", is_zero(*ping_interval)),
            ("max_age", is_zero(*max_age)),
        ])
    }
}

/// Returns a limit that can be added to the clock.
fn clamped(limit: impl Into<Option<Duration>>) -> Option<Duration> {
    limit.into().map(|limit| limit.min(MAX_TIMEOUT))
}

impl<F: Framing> fmt::Debug for ChannelOptions<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelOptions")
            .field("connections", &self.connections)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::advance,
    };

    use super::*;
    use crate::{ErrorKind, framing::Lines, panics::lock, sync::Mutex};

    /// Returns the keepalive timeout in seconds of a channel with pings.
    fn keepalive<F: Framing>() -> Option<u64> {
        let second = Duration::from_secs(1);
        let options = ConnectOptions::new().keepalive_timeout(second);
        let channel: Channel<F> = ChannelOptions::new("127.0.0.1:1")
            .connect_options(options.reply_timeout(30 * second))
            .ping_interval(second)
            .connect_lazily()
            .expect("good options");
        let limit = channel.pool.shared.options.keepalive_timeout;
        limit.map(|limit| limit.as_secs())
    }

    #[test]
    fn interval_of_pings_changes_nothing_if_the_framing_has_none() {
        assert_eq!(keepalive::<LengthPrefixed>(), Some(30));
        assert_eq!(keepalive::<Lines>(), Some(1));
    }

    /// A test of the pages compares these with `docs/limits.md`, by the documentation of the settings.
    #[test]
    fn defaults_are_those_of_the_documentation() {
        let options = ChannelOptions::<Lines>::new("127.0.0.1:1");
        let connector = &options.connector;
        assert_eq!(connector.idle_timeout, Some(Duration::from_mins(4)));
        assert_eq!((connector.ping_interval, connector.max_age), (None, None));
        assert_eq!(connector.backoff.min, Duration::from_millis(100));
        assert_eq!(connector.backoff.max, Duration::from_secs(10));
        assert_eq!((options.connections, options.deadline), (1, None));
        assert!(options.retries);
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_restarts_is_waited_for_until_the_longest_backoff_though_another_fails_for_good()
     {
        let wrong = async || Err::<DuplexStream, _>(io::ErrorKind::InvalidData.into());
        let (near, mut far) = duplex(64);
        // The server accepts one connection, and is gone afterwards.
        let near = Mutex::new(Some(near));
        let restarts = move |()| {
            let near = lock(&near).take().map(Stream::new);
            let opened = near.ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
            Box::pin(async { opened }) as _
        };
        let mut options = ChannelOptions::<LengthPrefixed>::over(wrong);
        let targets = &mut options.connector.targets;
        targets.push(Target::Stream(Box::new(restarts)));
        let channel = options.connect().await.expect("one accepts");
        let answer = async move {
            let mut request = [0; 5];
            far.read_exact(&mut request).await.expect("a request");
            far.write_all(&request).await.expect("it is open");
        };
        let (reply, ()) = tokio::join!(channel.reply_to_bytes(false, b"x"), answer);
        assert!(reply.is_ok());
        advance(Duration::from_secs(1)).await;
        let began = Instant::now();
        let error = channel.reply_to_bytes(false, b"x").await.map(drop);
        assert_eq!(error.expect_err("both fail").kind(), ErrorKind::Connect);
        let waited = began.elapsed().as_secs();
        assert!((8..=20).contains(&waited), "{waited} s");
    }
}
