//! The events that a server pushes over a connection.

use std::{
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    connection::Connection,
    fault::{Fault, UNEXPECTED},
    replies::Received,
    wire::Expected,
};
use crate::{
    Error, Result,
    deadline::Deadline,
    format::Decode,
    framing::Framing,
    protocol::{Contract, Pushes},
};

impl<F: Framing> Connection<F> {
    /// Waits for an event that the server pushes, and returns it. It may borrow from the connection.
    ///
    /// `P` is the protocol, which names the type of the events ([`Pushes`]). Events that have arrived during a call were
    /// kept in order, and are returned first, also after the connection has ended. What is kept is limited by
    /// [`max_queued_events`](super::ConnectOptions::max_queued_events).
    ///
    /// There is no limit for the wait, because a server may have nothing to say for long: the reply timeout does not
    /// apply. A [`deadline`](Self::deadline) does. A server whose machine is gone is found by
    /// [`keepalive_timeout`](super::ConnectOptions::keepalive_timeout).
    ///
    /// With framings that do not announce events, which are all but [`LengthPrefixed`](crate::framing::LengthPrefixed) and
    /// [`Multiplexed`](crate::framing::Multiplexed), [`Pushes::is_push`] recognizes them, from the first use
    /// of this method on, or, if the protocol has [`IS_EVENT`](Contract::IS_EVENT), from the first call. If the server
    /// has a greeting, [`receive`](Self::receive) it first.
    ///
    /// # Errors
    ///
    /// `Reply` for an event that cannot be decoded, after which the next one can be received; `TimedOut` at the deadline;
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
    ///     ConcurrentServer, Connection, format::Plain,
    ///     protocol::{Push, Pushes}, server_protocol,
    /// };
    ///
    /// /// Counts down in events.
    /// #[server_protocol]
    /// fn count_down(from: u32, push: Push<CountDown>) -> Result<u32, String> {
    ///     for number in (0..from).rev() {
    ///         push.try_send(number)?;
    ///     }
    ///     Ok(from)
    /// }
    ///
    /// impl Pushes for CountDown {
    ///     type Format = Plain;
    ///     type Event<'a> = u32;
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
        self.framing.set_is_event(P::is_push);
        let deadline = self.take_deadline()?;
        if self.take_event() {
            return self.decode_queued().map_err(Error::not_sent);
        }
        let event = self.receive_event(deadline).await?;
        let decoded = self.decode(event, |event, _| Ok(event));
        decoded.map_err(Error::not_sent)
    }

    /// Waits for an event, and returns where it is in the read buffer.
    async fn receive_event(&mut self, deadline: Option<Deadline>) -> Result<Range<usize>> {
        self.prepare()?;
        poll_fn(|cx| match self.poll_event(cx) {
            Poll::Ready(event) => {
                if self.in_flight.abandoned() == 0 {
                    self.waits.reply_timer.reset();
                }
                Poll::Ready(event.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => match &deadline {
                Some(deadline) => {
                    ready!(self.waits.reply_timer.poll_until(deadline.at, cx));
                    Poll::Ready(Err(self.late(None, deadline)))
                }
                None => Poll::Pending,
            },
        })
        .await
    }

    /// Waits for an event. Skips the replies to abandoned requests.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Range<usize>, Arc<Fault>>> {
        match ready!(self.poll_any(cx, Expected::NOTHING))? {
            Received::Event(range) => Poll::Ready(Ok(range)),
            // A framing of one exchange has replies without requests.
            _ => Poll::Ready(Err(Fault::Broken(UNEXPECTED).into())),
        }
    }

    /// Takes the oldest event that was kept. Returns `false` if there is none.
    pub(super) fn take_event(&mut self) -> bool {
        let event = self.events.pop_event();
        let is_there = event.is_some();
        self.event = event.unwrap_or_default();
        is_there
    }

    /// Keeps an event for [`next_event`](Self::next_event).
    #[cold]
    pub(super) fn queue_event(&mut self, event: Range<usize>) -> Result<(), Arc<Fault>> {
        let event = Arc::from(self.wire.message(event));
        if self.events.push(event, self.options.max_queued_events) {
            return Ok(());
        }
        let reason = "its events were not received, and are more than `max_queued_events`";
        Err(Fault::Broken(reason).into())
    }

    /// Sets how the protocol distinguishes events from replies, if it does.
    #[inline]
    pub(super) fn note_events_of<P: Contract>(&mut self) {
        if let Some(is_event) = P::IS_EVENT {
            self.framing.set_is_event(is_event);
        }
    }
}
