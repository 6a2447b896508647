//! The settings of a channel, and how it is created from them.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    Channel,
    backoff::Backoff,
    budget::RetryBudget,
    connector::{Connector, Target},
    driver::Driver,
    pool::Pool,
    reconnector::Reconnector,
    stats::ChannelStats,
    upkeep::UpkeepSettings,
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
    sync::Mutex,
    transport::{Address, Stream},
};

/// The most connections to each address.
const MAX_CONNECTIONS: usize = 65_536;

/// The settings of a [`Channel`](crate::Channel): where it connects to, how many connections it has, and whether it sends
/// requests again.
///
/// # Examples
///
/// In the format `Plain`, the `Err` of a function is an error of the call, so `?` is enough for the login. In `Json`,
/// `MessagePack` and `Postcard`, the call returns `Ok(Err(…))`, and a login that checks only the outer result ignores
/// that it has failed. See the example of [`on_connect`](Self::on_connect).
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
    connections: usize,
    retries: bool,
    deadline: Option<Duration>,
}

impl<F: Framing> ChannelOptions<F> {
    /// Creates options for a channel to the server at `address`, with the defaults. Without a port, it is 1234.
    pub fn new(address: impl Into<Address>) -> Self {
        Self::with_target(Target::Address(address.into()))
    }

    /// Creates options for a channel over streams that `open` returns, such as a transport of your own.
    ///
    /// `open` is called for each connection, and has the [connect timeout](ConnectOptions::connect_timeout).
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
        Self::with_target(Target::Stream(Box::new(move || {
            let opened = open();
            Box::pin(async move { opened.await.map(Stream::new) })
        })))
    }

    fn with_target(target: Target) -> Self {
        Self {
            connector: Connector {
                options: ConnectOptions::new(),
                targets: vec![target],
                on_connect: None,
                upkeep: UpkeepSettings {
                    // A minute less than the idle timeout of a server.
                    idle_timeout: Some(Duration::from_mins(4)),
                    ping_interval: None,
                    max_age: None,
                },
                backoff: Backoff {
                    min: Duration::from_millis(100),
                    max: Duration::from_secs(10),
                },
                address_stats: Mutex::default(),
            },
            connections: 1,
            retries: true,
            deadline: None,
        }
    }

    /// Adds the address of another server that answers the same requests.
    ///
    /// Each address has its own [`connections`](Self::connections). A call picks two connections at random, and uses the
    /// one with fewer calls in flight. If one of them is not open, it connects in the background while calls use the
    /// others. Calls wait only while no connection is open. A call that waits asks for another connection every 250 ms,
    /// and for all of them once an attempt has failed.
    ///
    /// Each call that the server rejects as *busy*, whose function panics or takes too long, or whose reply is late makes
    /// the connection seem busier for a while: the first as by one call, ten as by 1,023 calls. One is forgiven each
    /// second. So a server in trouble gets few calls until it recovers. A [retry](crate::Channel#retries) uses another
    /// connection than the one that has rejected the call, if another is open.
    ///
    /// [`connect`](Self::connect) makes one connection, to any of the addresses, and fails if no server answers. To start
    /// without one, use [`connect_lazily`](Self::connect_lazily).
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.connector.targets.push(Target::Address(address.into()));
        self
    }

    /// Sets the number of connections to each address. A connection is made when a call would use it.
    ///
    /// A name is resolved for each connection. If it has several addresses, a new connection goes to the one with the
    /// fewest connections of this channel. So with as many connections as there are servers behind a name, calls spread
    /// over all of them.
    ///
    /// Except with [`Multiplexed`](crate::framing::Multiplexed), a connection returns replies in the order of its requests,
    /// so a slow request delays those after it on the same connection. Creating the channel returns an error for zero, and
    /// for more than 65,536. Default: 1.
    pub fn connections(mut self, number: usize) -> Self {
        self.connections = number;
        self
    }

    /// Sets the timeouts and limits of each connection, and TLS. Default: [`ConnectOptions::new`].
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.connector.options = options;
        self
    }

    /// Prepares each new connection before calls use it: logs in, or receives the greeting.
    ///
    /// The function gets the connection, and returns it. It runs for each connection, so it clones what its future owns,
    /// as in the example. It may take the [connect timeout](ConnectOptions::connect_timeout), in addition to connecting,
    /// which has this timeout as well. A closure that is written outside of this call names the type of its parameter, as in
    /// `|connection: Connection<Multiplexed>|`. Default: nothing.
    ///
    /// # Errors
    ///
    /// If the function returns an error, takes too long or panics, the connection is closed. While another connection of
    /// the channel is open, calls use that. If none is, it depends on the error:
    ///
    /// | the function | calls |
    /// |---|---|
    /// | returns an error that [can be retried](crate::Error::is_retryable) or says that the connection was lost; takes too long | wait for the next attempt |
    /// | returns any other error, such as a rejected password; panics | return the error, until the [backoff](Self::backoff) has passed; then they wait for the next attempt |
    ///
    /// With several connections, calls return the error when the last attempt of each connection has failed, and each
    /// waits for its backoff. An attempt does not count while a server that has answered is gone for less than the longest
    /// backoff: it probably restarts.
    ///
    /// Turn the `Err` of a login into an error with [`Error::other`](crate::Error::other): it belongs to the second row.
    ///
    /// The error that calls return has the kind of the function's error, such as [`Other`](crate::ErrorKind::Other) or
    /// [`Rejected`](crate::ErrorKind::Rejected), and [`NotSent`](crate::Execution::NotSent), because their own requests
    /// were not sent. Its text is *no connection*. Its [source](std::error::Error::source) names the server, and the
    /// source of that is the function's error. [`connect`](Self::connect) returns the error that names the server.
    /// [`ChannelState::last_error`](crate::client::ChannelState::last_error) has it in both cases.
    ///
    /// # Examples
    ///
    /// The client of a [module of functions](crate::server_protocol) that reconnects, and logs in on each connection:
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

    /// Limits how long each call takes, with all waits and retries. Default: `None`.
    ///
    /// [`Channel::deadline`](crate::Channel::deadline) replaces it for single calls, and explains it. Creating the channel
    /// returns an error for zero.
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.deadline = clamped(limit);
        self
    }

    /// Sets whether calls send their requests again, as the [table of `Channel`](crate::Channel#retries) says.
    /// Default: `true`.
    ///
    /// `false` turns all of it off: no request is sent again or [hedged](crate::Channel::hedge), not even one that was
    /// rejected, was lost before it was sent, or is [idempotent](crate::Channel::idempotent). Calls still wait for a
    /// connection.
    ///
    /// The number of retries cannot be set. Those after a rejection or of idempotent calls are at most 100 at first, ten
    /// more for each second, and a fifth of the calls that are answered: beyond that, a server that fails would get even more
    /// load. *Going away* counts as well. So if a server restarts while hundreds of calls are in flight, and few were answered
    /// before, the calls beyond 100 return the rejection.
    ///
    /// For its retries, the channel keeps each request that it has sent until the reply has arrived, even if the call
    /// was dropped, or until 4 MiB of others were sent after it on its connection.
    pub fn retries(mut self, enabled: bool) -> Self {
        self.retries = enabled;
        self
    }

    /// Sets the wait before the second and before later attempts to connect. The wait begins with `min` and doubles with
    /// each failed attempt, up to `max`. It is a random part of that, from a quarter to the whole, so that the clients of
    /// a server that restarts do not all come back at the same time. It begins with `min` again after a connection on which
    /// a call was answered, or an event or an item has come, or which has lasted for `max` without a call.
    ///
    /// For the same reason, the first attempt after the server has ended a connection waits from zero up to `min`, and at
    /// most 1 s. Only calls of that time wait with it, if no other connection is open. A first connection, and one after the
    /// channel has closed one that was idle or old, has no wait.
    ///
    /// Creating the channel returns an error for zero, and if `min` is longer than `max`. Default: 100 ms and 10 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.connector.backoff = Backoff {
            min: min.min(MAX_TIMEOUT),
            max: max.min(MAX_TIMEOUT),
        };
        self
    }

    /// Closes a connection on which no call was made for this time. The next call makes another.
    ///
    /// This time should be shorter than the server's [`idle_timeout`](crate::server::Server::idle_timeout), so that no
    /// request is sent while the server closes the connection. The time is accurate to within one eighth. Creating the
    /// channel returns an error for zero. Default: 4 minutes. `None` leaves it to the server.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connector.upkeep.idle_timeout = clamped(limit);
        self
    }

    /// Sends a ping when nothing has been sent for this time, so that a balancer or a router between the two ends keeps
    /// the connection.
    ///
    /// A ping is a frame that the server skips. [`LengthPrefixed`] and `Multiplexed` have one; with other framings, this
    /// setting does nothing. A ping is not a request: it extends neither [`idle_timeout`](Self::idle_timeout) nor the server's idle
    /// timeout. To detect that a server is gone, use [`ConnectOptions::keepalive_timeout`]. It is on by default. With
    /// pings, it is at least the [`reply_timeout`](ConnectOptions::reply_timeout). Without a reply timeout, pings keep it
    /// from working: a server that is gone is found after about 15 minutes, or at the end of `idle_timeout`.
    /// Creating the channel returns an error for zero. Default: `None`.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.connector.upkeep.ping_interval = clamped(interval);
        self
    }

    /// Replaces each connection after this time, or up to a tenth earlier. So new servers behind a name get a share of
    /// the connections.
    ///
    /// The next connection is opened first, and calls use the old one meanwhile, so for a moment there are two. If the
    /// attempt fails, the old one stays, and the attempt is repeated after the [backoff](Self::backoff). Then the calls in
    /// flight on the old one are answered. New calls wait for these on a channel with one connection, and with two
    /// [`connections`](Self::connections) or more, they use the others.
    ///
    /// A connection with a [streamed reply](crate::Channel::stream) is replaced once that has ended, because calls would
    /// have to wait for its end. A connection without a call or an event during all of its time is closed, and the next
    /// call makes another. Creating the channel returns an error for zero. Default: `None`.
    pub fn max_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connector.upkeep.max_age = clamped(limit);
        self
    }
}

impl<F: Framing> ChannelOptions<F> {
    /// Creates the channel, and makes its first connection.
    ///
    /// The connection is to any of the addresses. They are tried in their order, the next one 250 ms after the one before,
    /// or at once when that fails. The first connection is taken. Each attempt has the
    /// [connect timeout](ConnectOptions::connect_timeout). To have no connection is an error only here: later, calls wait
    /// for one.
    ///
    /// # Errors
    ///
    /// If no address answers, the first error, or the first that another attempt would not mend, such as a rejected login: an
    /// error of [`ConnectOptions::connect`], or of the function of [`on_connect`](Self::on_connect).
    /// [`Setting`](crate::ErrorKind::Setting) for an invalid value.
    ///
    /// # Panics
    ///
    /// As [`ConnectOptions::connect`] does.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future closes the connection.
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
        let firsts = channel.pool.subchannels.iter().take(number);
        let firsts = firsts.filter_map(|it| Some((it, it.connector.as_ref()?)));
        let deadline = Instant::now() + MAX_TIMEOUT;
        let connected = race(
            firsts.collect(),
            deadline,
            |(subchannel, connector)| async move {
                let connection = connector.connect(subchannel.index).await?;
                Ok((subchannel, connector, connection))
            },
            failed,
        );
        if let Some((subchannel, connector, connection)) = connected.await {
            let driver = Driver::attach(subchannel, connection);
            let (subchannel, connector) = (Arc::clone(subchannel), Arc::clone(connector));
            Reconnector::new(subchannel, connector, Some(driver)).spawn();
        } else if let Some(error) = failure {
            return Err(error);
        }
        Ok(channel)
    }

    /// Creates the channel without a connection. The first call makes one.
    ///
    /// This method can be called outside of a runtime. If the runtime in which a connection was made ends, the next
    /// call makes another one in its own runtime.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) for an invalid value, and [`Resolve`](crate::ErrorKind::Resolve) for an
    /// invalid address.
    pub fn connect_lazily(mut self) -> Result<Channel<F>> {
        const {
            Channel::<F>::assert_framing();
        }
        self.check()?;
        let connector = &mut self.connector;
        // Without pings in the framing, the interval does nothing.
        if connector.upkeep.ping_interval.is_some() && F::has_notices(Side::Client) {
            connector.options.keep_alive_with_pings();
        }
        let number = connector.targets.len() * self.connections;
        let options = connector.options.clone();
        let stats = ChannelStats::new(self.retries.then(RetryBudget::new));
        let pool = Pool::new(number, options, stats, Some(&Arc::new(self.connector)));
        let mut channel = Channel::over(pool);
        channel.options.deadline = self.deadline;
        Ok(channel)
    }

    fn check(&self) -> Result<()> {
        let Connector {
            options,
            targets,
            upkeep,
            backoff,
            ..
        } = &self.connector;
        options.check(F::MIN_MESSAGE_LEN)?;
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
            ("idle_timeout", is_zero(upkeep.idle_timeout)),
            ("ping_interval", is_zero(upkeep.ping_interval)),
            ("max_age", is_zero(upkeep.max_age)),
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
    use crate::{ErrorKind, framing::Lines, panics::lock};

    /// Returns the keepalive timeout in seconds of a channel with pings.
    fn keepalive<F: Framing>() -> Option<u64> {
        let second = Duration::from_secs(1);
        let options = ConnectOptions::new().keepalive_timeout(second);
        let channel: Channel<F> = ChannelOptions::new("127.0.0.1:1")
            .connect_options(options.reply_timeout(30 * second))
            .ping_interval(second)
            .connect_lazily()
            .expect("good options");
        let limit = channel.pool.options.keepalive_timeout;
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
        let upkeep = &connector.upkeep;
        assert_eq!(upkeep.idle_timeout, Some(Duration::from_mins(4)));
        assert_eq!((upkeep.ping_interval, upkeep.max_age), (None, None));
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
        let restarts = move || {
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
