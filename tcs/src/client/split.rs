//! The two halves of a connection.
//!
//! Both halves poll the same connection, under a lock. A stream keeps one waker for each direction, so the halves poll
//! it with a waker that wakes both: a half that is woken for nothing polls once more. Messages are copied out, so
//! nothing borrows from the connection.
//!
//! Wakers and what encodes requests are the user's code, which may use the other half: neither runs under the lock.

use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use super::{
    connection::Connection, exchanges::Exchanges, fault::Fault, replies::Received,
    requests::encode_unframed, wire::Expected,
};
use crate::{
    Error, Peer, Result,
    checks::check_events,
    format::{Decode, Frame},
    framing::Framing,
    panics::{lock, wake_all},
    protocol::{CallContract, Contract, Pushes},
    sync::Mutex,
};

/// Why a sender without its receiver sends nothing more.
const UNRECEIVED: Fault = Fault::Broken("its receiving half was dropped");

/// The sending half of a connection, from [`Connection::split`].
///
/// Dropping a sender does not close the connection: the [`Receiver`] continues. Once both halves are dropped, the
/// connection is closed.
#[must_use = "a sender does nothing until a request is sent"]
pub struct Sender<P: Contract>(Half<P>);

/// The receiving half of a connection, from [`Connection::split`].
///
/// Without a receiver, replies would never be read, so once it is dropped, the [`Sender`] returns errors.
#[must_use = "replies and events arrive only while they are received"]
pub struct Receiver<P: Contract> {
    half: Half<P>,
    /// The message that was received last. The decoded message may borrow from it and from `scratch`.
    message: Vec<u8>,
    scratch: Vec<u8>,
}

/// What a server sends: a reply, or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyOrEvent<R, E> {
    /// The reply to the oldest request that has none.
    Reply(R),
    /// An event that the server has pushed.
    Event(E),
}

impl<F: Framing> Connection<F> {
    /// Splits the connection into two halves, for two tasks, or for two branches of a `select!`.
    ///
    /// Replies come in the order of the requests, and a request has exactly one result, as in a
    /// [`pipeline`](Self::pipeline). With [`Multiplexed`](crate::framing::Multiplexed), a request waits for the reply to the
    /// one before it. Earlier requests whose results were not received are abandoned, as by any use of the
    /// connection. A [`deadline`](Self::deadline) does not apply.
    ///
    /// Does not compile for a framing with one exchange per connection, or of values (`Codec`).
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     ConcurrentServer, Connection, client::ReplyOrEvent,
    ///     protocol::Push, server_protocol,
    /// };
    ///
    /// /// Doubles a number, and pushes its half.
    /// #[server_protocol(push = u32)]
    /// fn double(n: u32, push: Push<Double>) -> Result<u32, String> {
    ///     push.try_send(n / 2)?;
    ///     Ok(n * 2)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(Double).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let connection: Connection = Connection::connect(addr).await?;
    /// let (mut sender, mut receiver) = connection.split::<Double>();
    /// let sending = tokio::spawn(async move {
    ///     for n in [20, 22] {
    ///         sender.send(n).await?;
    ///     }
    ///     Ok::<_, tcs::Error>(())
    /// });
    /// let (mut doubled, mut halved) = (0, 0);
    /// while doubled < 84 || halved < 21 {
    ///     match receiver.next().await? {
    ///         ReplyOrEvent::Reply(double) => doubled += double,
    ///         ReplyOrEvent::Event(half) => halved += half,
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!((doubled, halved), (84, 21));
    /// sending.await.expect("no panic")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split<P>(mut self) -> (Sender<P>, Receiver<P>)
    where
        P: CallContract<Framing = F>,
    {
        const {
            assert!(
                F::EXCHANGES.are_many() && !F::HAS_VALUES,
                "this framing has one exchange per connection, or values, so it has no halves"
            );
        }
        self.note_events_of::<P>();
        let mut exchanges = self.into_exchanges();
        // If this closes the connection, the halves return the error.
        exchanges.abandon_in_flight();
        exchanges.forget_wakers();
        let peer = exchanges.peer().clone();
        let shared = Arc::new(SplitConnection {
            state: Mutex::new(SharedExchanges {
                exchanges,
                has_sender: true,
                has_receiver: true,
            }),
            wakers: Arc::default(),
        });
        let half = |shared| Half {
            shared,
            peer: peer.clone(),
            marker: PhantomData,
        };
        let receiver = Receiver {
            half: half(Arc::clone(&shared)),
            message: Vec::new(),
            scratch: Vec::new(),
        };
        (Sender(half(shared)), receiver)
    }
}

/// The state that both halves share.
struct Half<P: Contract> {
    shared: Arc<SplitConnection<P::Framing>>,
    peer: Peer,
    marker: PhantomData<fn() -> P>,
}

struct SplitConnection<F> {
    state: Mutex<SharedExchanges<F>>,
    wakers: Arc<Wakers>,
}

struct SharedExchanges<F> {
    exchanges: Exchanges<F>,
    has_sender: bool,
    has_receiver: bool,
}

/// The tasks of both halves. The stream and the timers are polled with it as the waker.
#[derive(Debug, Default)]
struct Wakers(Mutex<WaitingTasks>);

#[derive(Debug, Default)]
struct WaitingTasks {
    sender: Option<Waker>,
    receiver: Option<Waker>,
    /// Whether the connection is locked. The tasks are woken afterwards.
    is_deferred: bool,
    /// Whether the tasks are to be woken when the connection is unlocked.
    was_woken: bool,
}

impl Wakers {
    /// Registers the task that waits.
    fn register(&self, half: fn(&mut WaitingTasks) -> &mut Option<Waker>, cx: &Context<'_>) {
        let waker = cx.waker().clone();
        let former = half(&mut lock(&self.0)).replace(waker);
        drop(former);
    }

    /// Wakes the task of one half.
    fn wake_half(&self, half: fn(&mut WaitingTasks) -> &mut Option<Waker>) {
        let waker = half(&mut lock(&self.0)).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes both tasks, or notes that they are to be woken.
    fn wake_both(&self) {
        let mut waiting = lock(&self.0);
        waiting.was_woken = waiting.is_deferred;
        if !waiting.is_deferred {
            let wakers = [waiting.sender.take(), waiting.receiver.take()];
            drop(waiting);
            wake_all(wakers.into_iter().flatten());
        }
    }

    /// Defers all wakes until the value is dropped, which wakes nobody.
    fn defer(&self) -> Deferral<'_> {
        lock(&self.0).is_deferred = true;
        Deferral(self)
    }

    /// Wakes both tasks if that was deferred.
    fn wake_deferred(&self) {
        let was_woken = lock(&self.0).was_woken;
        if was_woken {
            self.wake_both();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_both();
    }
}

struct Deferral<'a>(&'a Wakers);

impl Drop for Deferral<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).is_deferred = false;
    }
}

impl<P: Contract> Half<P> {
    /// Polls the connection with the waker of both halves.
    fn poll<T>(
        &self,
        poll: impl FnOnce(&mut SharedExchanges<P::Framing>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let wakers = &self.shared.wakers;
        let waker = Waker::from(Arc::clone(wakers));
        let polled = {
            let mut state = lock(&self.shared.state);
            // Dropped before the lock, so that the other half cannot begin earlier.
            let _deferral = wakers.defer();
            poll(&mut state, &mut Context::from_waker(&waker))
        };
        wakers.wake_deferred();
        polled
    }
}

impl<P: CallContract> Sender<P> {
    /// Sends a request. The [`Receiver`] gets its result.
    ///
    /// This method waits for a greeting, while
    /// [`max_in_flight`](super::ConnectOptions::max_in_flight) requests are in flight, and until the request is sent. The
    /// receiver must be polled meanwhile, because a server may stop reading until its replies are read. All of it takes at
    /// most the reply timeout, after which the connection fails.
    ///
    /// # Errors
    ///
    /// After an error, the request is not in flight. The kinds are `Request` if it cannot be encoded, and `Broken`,
    /// `Closed`, `Io` or `TimedOut` if it cannot be sent. Without a receiver, it is `Broken`. The request is then
    /// [unknown](crate::Execution::Unknown) if a part of it was sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, the request is not in flight. If it is dropped later, the
    /// request is in flight, and both halves continue to send it.
    pub async fn send(&mut self, request: P::Request<'_>) -> Result<()> {
        let Half { shared, peer, .. } = &self.0;
        let max_frame_len = {
            let exchanges = &mut lock(&shared.state).exchanges;
            exchanges.end_send_wait();
            exchanges.options().max_frame_len
        };
        let request = encode_unframed(|out| P::encode(request, out), max_frame_len)?;
        let queued = poll_fn(|cx| {
            shared.wakers.register(|it| &mut it.sender, cx);
            self.0.poll(|state, cx| {
                if !state.has_receiver {
                    return Poll::Ready(Err(UNRECEIVED.later_error(peer)));
                }
                let exchanges = &mut state.exchanges;
                if exchanges.poll_room(P::HAS_GREETING, cx)?.is_pending() {
                    return exchanges.poll_send_timeout(cx);
                }
                let offset = exchanges.queue_request(None, |out| {
                    out.put(&request);
                    Ok(())
                })?;
                Poll::Ready(Ok((offset, exchanges.wire.requests.end_offset())))
            })
        });
        let (offset, end) = queued.await?;
        // The receiver waits for this reply from now on.
        shared.wakers.wake_half(|it| &mut it.receiver);
        poll_fn(|cx| {
            shared.wakers.register(|it| &mut it.sender, cx);
            self.0.poll(|state, cx| {
                let exchanges = &mut state.exchanges;
                if exchanges.poll_sent(cx, end).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if !state.has_receiver {
                    // The server may not read on before its replies are read, and there is no receiver.
                    let sent = exchanges.wire.sent();
                    return Poll::Ready(Err(UNRECEIVED.error_of(Some(offset), sent, peer)));
                }
                exchanges.poll_send_timeout(cx)
            })
        })
        .await
    }
}

impl<P: CallContract> Receiver<P> {
    /// Returns the next reply, which may borrow from the receiver. Events are kept for [`next`](Self::next), up to
    /// [`max_queued_events`](super::ConnectOptions::max_queued_events).
    ///
    /// Waits for a request if none is in flight. Returns `None` if there will be none, because the [`Sender`] was dropped.
    /// While a request is in flight, the reply timeout applies.
    ///
    /// # Errors
    ///
    /// The errors of [`Connection::call`], for the oldest request. Without one, `Closed`, `Io` or `Broken` if the
    /// connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call returns the reply. The reply timeout continues until then.
    pub async fn receive(&mut self) -> Result<Option<P::Value<'_>>> {
        match self.next_message(false).await? {
            Some(_) => self.decode().map(Some),
            None => Ok(None),
        }
    }

    /// Returns the next reply or event, which may borrow from the receiver.
    ///
    /// While no request is in flight, there is no limit for the wait, as for
    /// [`Connection::next_event`].
    ///
    /// # Errors
    ///
    /// The errors of [`receive`](Self::receive), and `Reply` for an event that cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call returns the message. The reply timeout continues until then.
    pub async fn next<'a>(&'a mut self) -> Result<ReplyOrEvent<P::Value<'a>, P::Event<'a>>>
    where
        P: Pushes,
        P::Event<'a>: Decode<'a, <P as Pushes>::Format>,
    {
        check_events::<<P as Contract>::Framing, P>()?;
        lock(&self.half.shared.state)
            .exchanges
            .set_is_event(P::is_push);
        match self.next_message(true).await? {
            Some(ReplyOrEvent::Event(())) => {
                let event = self.decode::<<P as Pushes>::Format, _>();
                event.map(ReplyOrEvent::Event).map_err(Error::not_sent)
            }
            _ => self
                .decode::<<P as Contract>::Format, _>()
                .map(ReplyOrEvent::Reply),
        }
    }

    /// Waits for a message, and copies it out of the connection.
    async fn next_message(&mut self, takes_events: bool) -> Result<Option<ReplyOrEvent<(), ()>>> {
        let Self { half, message, .. } = self;
        let wakers = &half.shared.wakers;
        let next = poll_fn(|cx| {
            wakers.register(|it| &mut it.receiver, cx);
            half.poll(|state, cx| state.poll_message::<P>(cx, takes_events, message))
        });
        let next = next.await;
        // A request may have room now, or the connection has failed.
        wakers.wake_half(|it| &mut it.sender);
        next
    }

    fn decode<'a, Format, T: Decode<'a, Format>>(&'a mut self) -> Result<T> {
        self.scratch.clear();
        let frame = Frame::new(&self.message).with_scratch(&mut self.scratch);
        T::decode(frame).map_err(|source| Error::decode(&self.half.peer, source))
    }
}

impl<F: Framing> SharedExchanges<F> {
    /// Waits for a message, and copies it to `message`.
    fn poll_message<P: Contract>(
        &mut self,
        cx: &mut Context<'_>,
        takes_events: bool,
        message: &mut Vec<u8>,
    ) -> Poll<Result<Option<ReplyOrEvent<(), ()>>>> {
        let exchanges = &mut self.exchanges;
        if takes_events && let Some(event) = exchanges.take_event() {
            copy(&event, message);
            return Poll::Ready(Ok(Some(ReplyOrEvent::Event(()))));
        }
        loop {
            let awaits_greeting = P::HAS_GREETING && exchanges.is_fresh();
            if exchanges.awaited() == 0 && !takes_events && !self.has_sender {
                return Poll::Ready(Ok(None));
            }
            if exchanges.is_idle() && !awaits_greeting {
                exchanges.end_reply_wait();
            }
            let expected = if awaits_greeting {
                Expected::ANY
            } else {
                Expected::NOTHING
            };
            let received = match exchanges.poll_any(cx, expected) {
                Poll::Ready(Ok(received)) => received,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(exchanges.fail(fault))),
                Poll::Pending if exchanges.is_idle() && !awaits_greeting => {
                    return Poll::Pending;
                }
                Poll::Pending => return exchanges.poll_reply_timeout(cx),
            };
            match received {
                Received::Event(range) if takes_events => {
                    copy(exchanges.event(range), message);
                    return Poll::Ready(Ok(Some(ReplyOrEvent::Event(()))));
                }
                Received::Event(range) => {
                    if let Err(fault) = exchanges.queue_event(range) {
                        return Poll::Ready(Err(exchanges.fail(fault)));
                    }
                }
                received if awaits_greeting => {
                    exchanges.note_greeting();
                    exchanges.end_reply_wait();
                    // A rejection in place of the reply is returned once. The next request may be answered.
                    exchanges.message_in(received).map_err(Error::not_sent)?;
                    // The sender waits for this reply.
                    cx.waker().wake_by_ref();
                }
                received => {
                    exchanges.end_reply_wait();
                    let reply = exchanges.message_in(received)?;
                    copy(exchanges.message(reply), message);
                    return Poll::Ready(Ok(Some(ReplyOrEvent::Reply(()))));
                }
            }
        }
    }
}

fn copy(bytes: &[u8], message: &mut Vec<u8>) {
    message.clear();
    message.extend_from_slice(bytes);
}

impl<P: Contract> Drop for Sender<P> {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        lock(&shared.state).has_sender = false;
        shared.wakers.wake_half(|it| &mut it.receiver);
    }
}

impl<P: Contract> Drop for Receiver<P> {
    fn drop(&mut self) {
        let shared = &self.half.shared;
        lock(&shared.state).has_receiver = false;
        shared.wakers.wake_half(|it| &mut it.sender);
    }
}

impl<P: Contract> fmt::Debug for Sender<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("peer", &self.0.peer)
            .finish_non_exhaustive()
    }
}

impl<P: Contract> fmt::Debug for Receiver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("peer", &self.half.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod models;
#[cfg(test)]
mod tests;
