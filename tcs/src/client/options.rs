//! The settings of a connection, each once.

use std::time::Duration;

use crate::{
    Result, TimeLimit,
    limit::{check_max_frame_len, check_min_frame_len, check_zero},
};

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
/// let mut connection = tcs::ConnectOptions::new()
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
    connect: Option<Duration>,
    reply: Option<Duration>,
    max_frame_len: usize,
    max_in_flight: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(5)),
            reply: Some(Duration::from_secs(30)),
            max_frame_len: 8 << 20,
            max_in_flight: 1_024,
        }
    }
}

impl ConnectOptions {
    /// The defaults of all settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Caps how long connecting may take, over all addresses of a name; each gets an equal part of
    /// the time that is left. `None` leaves it to the operating system. Default: 5 s.
    pub fn connect_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.connect = limit.duration();
        self
    }

    /// Caps how long an exchange may take, from the first byte sent to the last received.
    ///
    /// After that the connection is closed, so that the reply never reaches another caller; a
    /// [`Channel`](crate::Channel) goes on, unless nothing at all has arrived. `None` waits without
    /// end. Default: 30 s.
    pub fn reply_timeout(mut self, limit: impl TimeLimit) -> Self {
        self.reply = limit.duration();
        self
    }

    /// Caps the bytes of a message, in both directions. Zero, more than 512 MiB, and less than every
    /// message of a framing has ([`Fixed`](crate::Fixed)), are refused when it connects. Default: 8 MiB.
    pub fn max_frame_len(mut self, bytes: usize) -> Self {
        self.max_frame_len = bytes;
        self
    }

    /// Caps how many requests of a connection may be in flight, until their replies are received.
    ///
    /// At the cap a [`Pipeline`](crate::Pipeline) is full, and the callers of a
    /// [`Channel`](crate::Channel) wait. Zero is refused when it connects. Default: 1,024.
    pub fn max_in_flight(mut self, limit: usize) -> Self {
        self.max_in_flight = limit;
        self
    }

    /// Refuses values that make no sense, for a framing of which every message has so many bytes.
    pub(super) fn check(&self, min_frame_len: usize) -> Result<()> {
        check_max_frame_len(self.max_frame_len)?;
        check_min_frame_len(self.max_frame_len, min_frame_len)?;
        let zero = [
            ("max_frame_len", self.max_frame_len == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("connect_timeout", self.connect == Some(Duration::ZERO)),
            ("reply_timeout", self.reply == Some(Duration::ZERO)),
        ];
        check_zero(&zero)
    }

    pub(super) const fn connect_limit(&self) -> Option<Duration> {
        self.connect
    }

    pub(super) const fn reply(&self) -> Option<Duration> {
        self.reply
    }

    pub(super) const fn frame_len(&self) -> usize {
        self.max_frame_len
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.max_in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_limited_by_default() {
        let options = ConnectOptions::new();
        assert_eq!(options.connect, Some(Duration::from_secs(5)));
        assert_eq!(options.reply(), Some(Duration::from_secs(30)));
        assert_eq!(options.frame_len(), 8 << 20);
        assert_eq!(options.in_flight(), 1_024);
    }
}
