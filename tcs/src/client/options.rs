//! The settings of a connection.

use std::time::Duration;

#[cfg(feature = "tls")]
use crate::transport::ClientTls;
use crate::{
    Result,
    checks::{check_message_len, check_zero},
    socket::Keepalive,
};

/// How long a client waits until the end of the stream is sent, such as the end of TLS. Usually, sending takes no time,
/// but a peer that does not read may block it.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest wait, a year: adding it to the clock does not overflow.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);
/// The default of `max_frame_len`: 8 MiB.
pub(super) const DEFAULT_MAX_FRAME_LEN: usize = 8 << 20;

/// How a client connects and how long it waits.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn example() -> tcs::Result<()> {
/// # #[tcs::server_protocol]
/// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
/// let mut connection = tcs::client::ConnectOptions::new()
///     .reply_timeout(Duration::from_secs(3))
///     .connect("localhost:7000")
///     .await?;
/// let reply = connection.call::<Greet>("Ann").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect` or `over` uses them"]
pub struct ConnectOptions {
    pub(super) connect_timeout: Option<Duration>,
    pub(super) reply_timeout: Option<Duration>,
    pub(super) keepalive_timeout: Option<Duration>,
    pub(super) max_frame_len: usize,
    /// `None`: `max_frame_len`.
    max_reply_len: Option<usize>,
    pub(super) max_in_flight: usize,
    pub(super) max_queued_events: usize,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
    /// TLS with the roots of the operating system, once a connection has needed it.
    #[cfg(feature = "tls")]
    pub(super) platform_tls: std::sync::Arc<tokio::sync::OnceCell<ClientTls>>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(5)),
            reply_timeout: Some(Duration::from_secs(30)),
            // Long enough for a machine that changes its network.
            keepalive_timeout: Some(Duration::from_mins(2)),
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            max_reply_len: None,
            max_in_flight: 1_024,
            // Room for thousands of small events while one call waits.
            max_queued_events: 1 << 20,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            platform_tls: std::sync::Arc::default(),
        }
    }
}

impl ConnectOptions {
    /// Creates options with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how long connecting may take.
    pub(super) fn connect_limit(&self) -> Duration {
        self.connect_timeout.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT)
    }

    /// Limits how long connecting may take.
    ///
    /// The limit is for all addresses of a name together, which are tried 250 ms apart. With `None`, only the limits of
    /// the operating system apply. Connecting returns an error for zero. Default: 5 s.
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = limit.into();
        self
    }

    /// Limits each wait for a message, and each wait until requests are sent. An exchange is one such
    /// wait, from its request to its whole reply.
    ///
    /// When the limit passes, the connection is closed, so that the reply never reaches another caller.
    /// The connection of a [`Channel`](crate::Channel) stays open, unless nothing at all has arrived. `None` waits
    /// forever, and needs no tokio runtime with a clock (`enable_time`), except for a channel over
    /// [`Multiplexed`](crate::framing::Multiplexed). Connecting returns an error for zero.
    /// Default: 30 s.
    pub fn reply_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.reply_timeout = limit.into();
        self
    }

    /// Ends a connection over TCP to a server whose machine has not answered for this time.
    ///
    /// A server whose machine has lost its power or its network says nothing, and an idle connection to it would
    /// never end. The system sends it probes after half of this time (`SO_KEEPALIVE`, tcp(7)), and the connection
    /// ends as after a reset.
    ///
    /// There are no probes while a request is sent that the other machine has not acknowledged. On Linux, the
    /// connection then ends after this time as well (`TCP_USER_TIMEOUT`), if [`reply_timeout`](Self::reply_timeout) is not
    /// longer. `TCP_USER_TIMEOUT` also ends the connection to a server that is alive and reads nothing for this time,
    /// because it is busy with earlier requests: a channel then loses all calls in flight. So if `reply_timeout` is longer,
    /// that limit ends the wait, and with `None`, the system gives up after about 15 minutes.
    ///
    /// The system counts in whole seconds, from 2 s to about 18 hours. `None` keeps the options of the system.
    /// Connecting returns an error for zero. Default: 2 minutes.
    pub fn keepalive_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.keepalive_timeout = limit.into();
        self
    }

    /// Lets the system find a server that is gone though pings are sent to it.
    ///
    /// While a ping is not acknowledged, the system sends no probes. So it needs the limit of unacknowledged bytes,
    /// which is for connections with a reply timeout only, and must not be shorter than the reply timeout.
    pub(super) fn keep_alive_with_pings(&mut self) {
        let limit = self.keepalive_timeout;
        self.keepalive_timeout = limit.map(|limit| limit.max(self.reply_timeout.unwrap_or(limit)));
    }

    /// Returns the socket options of `keepalive_timeout`.
    pub(super) fn keepalive(&self) -> Option<Keepalive> {
        let limit = self.keepalive_timeout?;
        Some(Keepalive {
            limit,
            // This option also ends the connection to a server that does not read, which is for `reply_timeout` to
            // decide.
            is_for_unacknowledged: self.reply_timeout.is_some_and(|reply| reply <= limit),
        })
    }

    /// Limits the size of a message in bytes, in both directions unless there is a
    /// [`max_reply_len`](Self::max_reply_len).
    ///
    /// Connecting returns an error for zero, for more than 512 MiB, and for less than the minimum of a
    /// framing such as [`Fixed`](crate::framing::Fixed). Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.max_frame_len = bytes;
        self
    }

    /// Limits the size in bytes of a message that the client accepts: a reply, an item of a streamed reply, an event,
    /// or the greeting.
    ///
    /// A larger one is an error of the kind [`Reply`](crate::ErrorKind::Reply). Set it if requests are small and replies
    /// are large. Connecting returns an error for the same values as of `max_frame_len`.
    /// Default: [`max_frame_len`](Self::max_frame_len).
    pub fn max_reply_len(mut self, bytes: usize) -> Self {
        self.max_reply_len = Some(bytes);
        self
    }

    /// Limits the number of requests in flight on a connection. A request is in flight until its reply
    /// is received.
    ///
    /// At the limit, a [`Pipeline`](crate::client::Pipeline) is full, and the callers of a
    /// [`Channel`](crate::Channel) wait. Connecting returns an error for zero. Default: 1,024.
    pub fn max_in_flight(mut self, limit: usize) -> Self {
        self.max_in_flight = limit;
        self
    }

    /// Limits the events that have arrived and wait to be received, in bytes, each with 32 bytes more.
    ///
    /// Events arrive while a [`Connection`](crate::Connection) waits for a reply. Beyond the limit, the connection is
    /// closed: call [`next_event`](crate::Connection::next_event) between calls. On a [`Channel`](crate::Channel), each
    /// [`Events`](crate::client::Events) has this limit for itself, and beyond it, new events are dropped. Connecting
    /// returns an error for zero. Default: 1 MiB.
    pub fn max_queued_events(mut self, bytes: usize) -> Self {
        self.max_queued_events = bytes;
        self
    }

    /// Connects over TLS, which `tls` sets up. Default: only to an address `tls://host:port`, with the roots of
    /// the operating system. These options and their clones read the roots once, so keep them for more
    /// connections.
    ///
    /// [`connect_timeout`](Self::connect_timeout) limits the handshake as well. To connect to a Unix socket is then an
    /// error, and streams given to [`over`](Self::over) are not encrypted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Returns `max_reply_len`.
    pub(super) fn reply_len(&self) -> usize {
        self.max_reply_len.unwrap_or(self.max_frame_len)
    }

    /// Returns an error for invalid values. The messages of the framing have at least `min_frame_len`
    /// bytes.
    pub(super) fn check(&self, min_frame_len: usize) -> Result<()> {
        check_message_len("max_frame_len", self.max_frame_len, min_frame_len)?;
        check_message_len("max_reply_len", self.reply_len(), min_frame_len)?;
        #[cfg(feature = "tls")]
        self.tls.as_ref().map_or(Ok(()), ClientTls::check)?;
        let is_zero = |limit| limit == Some(Duration::ZERO);
        let zero = [
            ("max_frame_len", self.max_frame_len == 0),
            ("max_reply_len", self.max_reply_len == Some(0)),
            ("max_in_flight", self.max_in_flight == 0),
            ("max_queued_events", self.max_queued_events == 0),
            ("connect_timeout", is_zero(self.connect_timeout)),
            ("reply_timeout", is_zero(self.reply_timeout)),
            ("keepalive_timeout", is_zero(self.keepalive_timeout)),
        ];
        check_zero(&zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_limited_by_default() {
        let options = ConnectOptions::new();
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(5)));
        assert_eq!(options.reply_timeout, Some(Duration::from_secs(30)));
        assert_eq!(options.keepalive_timeout, Some(Duration::from_mins(2)));
        assert_eq!(options.max_frame_len, 8 << 20);
        assert_eq!(options.reply_len(), 8 << 20);
        assert_eq!(options.max_in_flight, 1_024);
        assert_eq!(options.max_queued_events, 1 << 20);
    }
}
