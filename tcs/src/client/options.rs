//! The settings of a connection, each once.

use std::{net::SocketAddr, pin::pin, time::Duration};

use tokio::{net::TcpStream, time::Instant};

use crate::{
    Address, Framing, Peer, Result,
    error::Repr,
    limit::{check_max_frame_len, check_min_frame_len, check_zero, min_frame_len},
    race::{Either, deadline_of, passed, race},
    runtime::{BoxFuture, Instead, inside_runtime},
    socket::{connect, send_without_delay},
};

use super::Connection;

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
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.connect = limit.into();
        self
    }

    /// Caps how long an exchange may take, from the first byte sent to the last received.
    ///
    /// After that the connection is closed, so that the reply never reaches another caller; a
    /// [`Channel`](crate::Channel) goes on, unless nothing at all has arrived. `None` waits without
    /// end. Default: 30 s.
    pub fn reply_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.reply = limit.into();
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

    /// Connects to the first address of `address` that answers.
    ///
    /// # Errors
    ///
    /// [`Resolve`](crate::ErrorKind::Resolve), [`Connect`](crate::ErrorKind::Connect) or
    /// [`TimedOut`](crate::ErrorKind::TimedOut); [`Setting`](crate::ErrorKind::Setting) for a value
    /// that makes no sense.
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection that was begun is closed.
    pub async fn connect<F: Framing>(&self, address: impl Into<Address>) -> Result<Connection<F>> {
        let reached = self.reach(address.into(), min_frame_len::<F>()).await;
        let (stream, peer, options) = reached?;
        Ok(Connection::new(stream, peer, options))
    }

    /// Connects to the first of all addresses of a name that answers; returns what makes the
    /// connection.
    fn reach(
        &self,
        address: Address,
        min_frame_len: usize,
    ) -> BoxFuture<'_, Result<(TcpStream, Peer, Self)>> {
        Box::pin(async move {
            self.check(min_frame_len)?;
            inside_runtime("connect()", Instead::Nothing)?;
            let deadline = deadline_of(self.connect);
            let resolved = race(pin!(address.resolve()), pin!(passed(deadline))).await;
            let Either::First(addrs) = resolved else {
                return Err(self.timed_out(&address).into());
            };
            match reach_any(addrs?, deadline).await {
                Ok((stream, addr)) => Ok((stream, Peer::at(addr), self.clone())),
                Err(Some(failure)) => Err(failure.into()),
                Err(None) => Err(self.timed_out(&address).into()),
            }
        })
    }

    fn timed_out(&self, address: &Address) -> Repr {
        Repr::ConnectTimedOut {
            host: address.text(),
            limit: self.connect.unwrap_or_default(),
        }
    }

    /// Speaks over a stream that is connected already: a Unix socket, a pipe in memory.
    ///
    /// # Errors
    ///
    /// [`Setting`](crate::ErrorKind::Setting) for a value that makes no sense.
    pub fn over<F: Framing, S>(&self, stream: S) -> Result<Connection<F, S>> {
        self.check(min_frame_len::<F>())?;
        Ok(Connection::new(stream, Peer::unnamed(), self.clone()))
    }

    /// Refuses values that make no sense, for a framing of which every message has so many bytes.
    fn check(&self, min_frame_len: usize) -> Result<()> {
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

/// Connects to the first of `addrs` that answers; `None` is an error of time.
async fn reach_any(
    addrs: Vec<SocketAddr>,
    deadline: Option<Instant>,
) -> Result<(TcpStream, SocketAddr), Option<Repr>> {
    let mut failure = None;
    let mut left = u32::try_from(addrs.len()).unwrap_or(u32::MAX);
    for addr in addrs {
        let now = Instant::now();
        let share = deadline.map(|end| now + end.saturating_duration_since(now) / left);
        failure = match race(pin!(connect(addr)), pin!(passed(share))).await {
            Either::First(Ok(stream)) => {
                send_without_delay(&stream);
                return Ok((stream, addr));
            }
            Either::First(Err(source)) => Some(Repr::Connect { addr, source }),
            Either::Second(()) => None,
        };
        left = left.saturating_sub(1).max(1);
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn all_addresses_are_tried_in_their_order() {
        let listen = async || {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let addr = listener.local_addr().expect("it listens");
            (listener, addr)
        };
        let ((first, dead), (_second, alive), (_third, too)) =
            (listen().await, listen().await, listen().await);
        drop(first);
        let connect = async |addrs: &[SocketAddr]| {
            let deadline = Instant::now() + Duration::from_secs(20);
            reach_any(addrs.to_vec(), Some(deadline)).await
        };
        let (_, reached) = connect(&[dead, alive, too]).await.expect("it listens");
        assert_eq!(reached, alive);
        let error = connect(&[dead, dead]).await.expect_err("nobody listens");
        assert!(matches!(error, Some(Repr::Connect { addr, .. }) if addr == dead));
    }

    #[test]
    fn everything_is_limited_by_default() {
        let options = ConnectOptions::new();
        assert_eq!(options.connect, Some(Duration::from_secs(5)));
        assert_eq!(options.reply(), Some(Duration::from_secs(30)));
        assert_eq!(options.frame_len(), 8 << 20);
        assert_eq!(options.in_flight(), 1_024);
    }
}
