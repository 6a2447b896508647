//! The events that a server pushes over a connection.

use super::connection::Connection;
use crate::{
    Error, Result, checks::check_events, format::Decode, framing::Framing, protocol::Pushes,
};

impl<F: Framing> Connection<F> {
    /// Waits for an event that the server pushes, and returns it. The event may borrow from the connection.
    ///
    /// `P` is the protocol, which names the type of the events ([`Pushes`]). Events that have arrived during a call were
    /// kept in order, and are returned first, also after the connection has ended. What is kept is limited by
    /// [`max_queued_events`](super::ConnectOptions::max_queued_events).
    ///
    /// There is no limit for the wait, because a server may have nothing to say for long: the reply timeout applies only
    /// while replies to dropped calls are still to be skipped. A [`deadline`](Self::deadline) always does. A server whose machine
    /// is gone is found by [`keepalive_timeout`](super::ConnectOptions::keepalive_timeout).
    ///
    /// With framings that do not announce events, which are all but [`LengthPrefixed`](crate::framing::LengthPrefixed) and
    /// [`Multiplexed`](crate::framing::Multiplexed), [`Pushes::is_push`] recognizes them, from the first use
    /// of this method on, or, if the protocol has [`IS_EVENT`](crate::protocol::Contract::IS_EVENT), from the first call. If the server
    /// has a greeting, [`receive`](Self::receive) it first.
    ///
    /// # Errors
    ///
    /// `Setting` if events look like replies, because the protocol has the option `push` without `is_push`; `Reply` for an
    /// event that cannot be decoded, after which the next one can be received; `TimedOut` at the deadline;
    /// `Closed`, `Io` or `Broken` if the connection has ended. A message that is no event ends it, because no request is
    /// in flight.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost. The next use of the connection gets it, or keeps it for this method.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     ConcurrentServer, Connection,
    ///     protocol::Push, server_protocol,
    /// };
    ///
    /// /// Counts down in events.
    /// #[server_protocol(push = u32)]
    /// fn count_down(from: u32, push: Push<CountDown>) -> Result<u32, String> {
    ///     for number in (0..from).rev() {
    ///         push.try_send(number)?;
    ///     }
    ///     Ok(from)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(CountDown).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let mut connection = Connection::connect(addr).await?;
    /// assert_eq!(connection.call::<CountDown>(2).await?, 2);
    /// assert_eq!(connection.next_event::<CountDown>().await?, 1);
    /// assert_eq!(connection.next_event::<CountDown>().await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_event<'a, P>(&'a mut self) -> Result<P::Event<'a>>
    where
        P: Pushes,
        P::Event<'a>: Decode<'a, P::Format>,
    {
        check_events::<F, P>()?;
        self.checked_exchanges().set_is_event(P::is_push);
        let deadline = self.take_deadline()?;
        if self.take_event() {
            return self.decode_event().map_err(Error::not_sent);
        }
        let event = self.checked_exchanges().receive_event(deadline).await?;
        let decoded = self.decode(event, |event, _| Ok(event));
        decoded.map_err(Error::not_sent)
    }
}
