//! The settings of a connection.

use std::time::Duration;

#[cfg(feature = "tls")]
use crate::transport::ClientTls;
use crate::{
    Result,
    limit::{check_max_frame_len, check_zero},
};

/// The longest wait, a year: adding it to the clock does not overflow.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 365);
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
    pub(super) max_frame_len: usize,
    pub(super) max_in_flight: usize,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ClientTls>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(5)),
            reply_timeout: Some(Duration::from_secs(30)),
            max_frame_len: DEFAULT_MAX_FRAME_LEN,
            max_in_flight: 1_024,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ConnectOptions {
    /// Creates options with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits how long connecting may take.
    ///
    /// The limit is for all addresses of a name together: each gets an equal part of the time that is
    /// left. With `None`, only the limits of the operating system apply. Connecting returns an error for
    /// zero. Default: 5 s.
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = limit.into();
        self
    }

    /// Limits each wait for a message, and each wait until requests are sent. An exchange is one such
    /// wait, from its request to its whole reply.
    ///
    /// When the limit passes, the connection is closed, so that the reply never reaches another caller.
    /// A [`Channel`](crate::Channel) goes on, unless nothing at all has arrived. `None` waits forever,
    /// and needs no tokio runtime with a clock (`enable_time`). Connecting returns an error for zero.
    /// Default: 30 s.
    pub fn reply_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.reply_timeout = limit.into();
        self
    }

    /// Limits the size of a message in bytes, in both directions.
    ///
    /// Connecting returns an error for zero, for more than 512 MiB, and for less than the minimum of a
    /// framing such as [`Fixed`](crate::framing::Fixed). Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.max_frame_len = bytes;
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

    /// Connects over TLS, which `tls` sets up. Default: only to an address `tls://host:port`, with the roots of
    /// the operating system.
    ///
    /// [`connect_timeout`](Self::connect_timeout) limits the handshake as well. It does not apply to a
    /// Unix socket, or to [`over`](Self::over).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Returns an error for invalid values. The messages of the framing have at least `min_frame_len`
    /// bytes.
    pub(super) fn check(&self, min_frame_len: usize) -> Result<()> {
        check_max_frame_len(self.max_frame_len, min_frame_len)?;
        let is_zero = |limit| limit == Some(Duration::ZERO);
        let zero = [
            ("max_frame_len", self.max_frame_len == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("connect_timeout", is_zero(self.connect_timeout)),
            ("reply_timeout", is_zero(self.reply_timeout)),
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
        assert_eq!(options.max_frame_len, 8 << 20);
        assert_eq!(options.max_in_flight, 1_024);
    }
}
