//! The events that servers push over the connections of a channel.
//!
//! The driver publishes each event, without decoding it, to those who subscribed at its connection. Each has a queue of its
//! own, so that one that does not read harms nobody else, and not the calls either.

#[cfg(feature = "stream")]
use std::pin::Pin;
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    mem::take,
    slice::from_ref,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

#[cfg(feature = "stream")]
use futures_core::Stream;
use tokio::time::{sleep, timeout};

use super::{
    Channel,
    connector::BoxFuture,
    reencode::{again, encode_alone},
    reply::Reply,
    retry::{Retry, wait_before},
    subchannel::{Link, Subchannel},
};
use crate::{
    Error, Result,
    client::{events::EVENT_OVERHEAD, fault::Fault, options::MAX_TIMEOUT},
    deadline::Late,
    format::{Decode, Frame, Writer},
    framing::Framing,
    protocol::{CallOwned, Contract, Pushes},
    runtime::poll_once,
};

/// What the events of a [`Channel`] are, from [`Events::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelEvent<E> {
    /// The server has pushed this event.
    Event(E),
    /// A connection was lost, and there is another one. Events may have been missed in between.
    ///
    /// A subscription ([`Channel::subscribe`]) was renewed before.
    Reconnected,
    /// This many events were dropped, because those before them were not received in time
    /// ([`max_queued_events`](crate::client::ConnectOptions::max_queued_events)).
    Missed(u64),
}

/// The events that servers push over a [`Channel`], from [`Channel::events`] and [`Channel::subscribe`].
///
/// As long as there is one, its connections are kept: they are made again when they have ended, also without calls, and
/// the [`idle_timeout`](crate::client::ChannelOptions::idle_timeout) does not close them.
#[must_use = "events are received by `next`"]
pub struct Events<P: Contract> {
    channel: Channel<P::Framing>,
    subscriber: Arc<Subscriber>,
    subscription: Option<Subscription<P::Framing>>,
    /// The event that was received last. What it is decoded to may borrow from it and from `scratch`.
    event: Arc<[u8]>,
    scratch: Vec<u8>,
    marker: PhantomData<fn() -> P>,
}

/// A request that is sent again over each new connection.
struct Subscription<F: Framing> {
    subchannel: Arc<Subchannel<F>>,
    request: Arc<[u8]>,
    /// The connection over which it was sent last.
    connection: u64,
    /// The renewal, while it runs. It is kept here, so that a wait that is dropped does not drop it.
    renewal: Option<BoxFuture<Result<(Reply, u64)>>>,
}

impl<F: Framing> Channel<F> {
    /// Returns the events that servers push over the connections of this channel, from now on. It subscribes to nothing:
    /// use it where the server pushes events after the calls that are made anyway, or after
    /// [`on_connect`](crate::client::ChannelOptions::on_connect).
    ///
    /// Each value that this method returns receives each event. With [several
    /// connections](crate::client::ChannelOptions::connections), it receives the events of all of them.
    pub fn events<P>(&self) -> Events<P>
    where
        P: Contract<Framing = F> + Pushes,
    {
        self.events_of(&self.handle.connections)
    }

    /// Sends a request that makes the server push events, and returns its reply and the events.
    ///
    /// The request is sent again over each new connection, before [`ChannelEvent::Reconnected`] is returned. Its later
    /// replies are dropped. It is sent over one connection, also if the channel has several.
    ///
    /// # Errors
    ///
    /// The errors of [`call`](Self::call). The request counts as [idempotent](Self::idempotent), because what it does ends
    /// with its connection.
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call): a server that has executed the request pushes events, which are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     Channel, ConcurrentServer, client::ChannelEvent, format::Plain,
    ///     protocol::{Push, PushGroup, Pushes}, server_protocol,
    /// };
    ///
    /// /// Sends each message to all who have sent one.
    /// #[server_protocol]
    /// fn chat(text: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> Result<usize, String> {
    ///     room.join(&push);
    ///     Ok(room.send(text)?)
    /// }
    ///
    /// impl Pushes for Chat {
    ///     type Format = Plain;
    ///     type Event<'a> = &'a str;
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tcs::Result<()> {
    /// # let server = ConcurrentServer::new(Chat::new(PushGroup::new())).port(0).bind().await?;
    /// # let addr = server.local_addr();
    /// # tokio::spawn(server.listen());
    /// let channel: Channel = Channel::connect(addr).await?;
    /// let (receivers, mut events) = channel.subscribe::<Chat>("Ann is here").await?;
    /// assert_eq!(receivers, 1);
    /// assert_eq!(events.next().await?, ChannelEvent::Event("Ann is here"));
    /// channel.call::<Chat>("Hello!").await?;
    /// assert_eq!(events.next().await?, ChannelEvent::Event("Hello!"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe<P>(&self, request: P::Request<'_>) -> Result<(P::Owned, Events<P>)>
    where
        P: CallOwned<Framing = F> + Pushes,
    {
        let encode = |out: &mut Writer<'_>| P::encode(request, out);
        let request: Arc<[u8]> = encode_alone::<F>(encode, self.max_frame_len())?.into();
        let Some(subchannel) = self.handle.connections.first() else {
            return Err(Error::setting("connections", "are none"));
        };
        let mut events = self.events_of::<P>(from_ref(subchannel));
        let subscribing = renew(
            Arc::clone(subchannel),
            P::HAS_GREETING,
            Arc::clone(&request),
        );
        let limit = self.options.deadline.or(subchannel.options.reply_timeout);
        let subscribed = match limit {
            Some(limit) => {
                let subscribed = timeout(limit.min(MAX_TIMEOUT), subscribing).await;
                let late =
                    || Error::reply_timed_out(&subchannel.peer(), Late::reply_timeout(limit));
                subscribed.unwrap_or_else(|_| Err(late()))
            }
            None => subscribing.await,
        };
        let (reply, connection) = subscribed?;
        let reply = P::decode_owned(Frame::new(&reply.0))
            .map_err(|source| Error::decode(&subchannel.peer(), source))?;
        events.subscription = Some(Subscription {
            subchannel: Arc::clone(subchannel),
            request,
            connection,
            renewal: None,
        });
        Ok((reply, events))
    }

    fn events_of<P>(&self, connections: &[Arc<Subchannel<F>>]) -> Events<P>
    where
        P: Contract<Framing = F> + Pushes,
    {
        let limit = connections
            .first()
            .map_or(0, |first| first.options.max_queued_events);
        let subscriber = Arc::new(Subscriber {
            limit,
            inner: Mutex::default(),
        });
        for subchannel in connections {
            subchannel.add_subscriber(&subscriber, P::is_push);
        }
        Events {
            channel: self.clone(),
            subscriber,
            subscription: None,
            event: Arc::default(),
            scratch: Vec::new(),
            marker: PhantomData,
        }
    }
}

/// Sends a request over a connection, and over the next one if that is lost. Returns its reply, and the number of the
/// connection.
async fn renew<F: Framing>(
    subchannel: Arc<Subchannel<F>>,
    has_greeting: bool,
    request: Arc<[u8]>,
) -> Result<(Reply, u64)> {
    let mut failures = 0;
    loop {
        let mut encode = Some(again(&request));
        let waiting = subchannel.waiters.acquire().await;
        let (connection, mut call) = loop {
            // Read before the request is queued: if there is another connection then, the request is sent once more.
            let connection = subchannel.hub.connection();
            let pushed =
                poll_once(|cx| subchannel.try_push(cx.waker(), has_greeting, &mut encode)).await?;
            if let Some(call) = pushed {
                break (connection, call);
            }
            subchannel.want();
            subchannel.room.notified().await;
        };
        drop(waiting);
        let failure = match poll_fn(|cx| call.poll_reply(cx)).await {
            Ok(reply) => return Ok((reply, connection)),
            Err(failure) => failure,
        };
        // What it does ends with its connection, so it may be executed again.
        match Retry::after(&failure.error, true) {
            Retry::Never => return Err(failure.error),
            Retry::AtOnce => {}
            Retry::Later => {
                sleep(wait_before(failures)).await;
                failures += 1;
            }
        }
    }
}

impl<P: Contract + Pushes> Events<P> {
    /// Waits for the next event, which may borrow from this value.
    ///
    /// There is no limit for the wait, because a server may have nothing to say for long.
    ///
    /// # Errors
    ///
    /// `Reply` for an event that cannot be decoded, after which the next one can be received. For a subscription that
    /// cannot be renewed, the error of its request. It is tried again over the next connection. If the channel does not
    /// reconnect ([`Connection::into_channel`](crate::Connection::into_channel)) and its connection has ended, `Closed`,
    /// `Io` or `Broken`.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost.
    pub async fn next<'a>(&'a mut self) -> Result<ChannelEvent<P::Event<'a>>>
    where
        P::Event<'a>: Decode<'a, <P as Pushes>::Format>,
    {
        let entry = poll_fn(|cx| self.poll_entry(cx)).await?;
        self.decode(entry)
    }

    fn decode<'a, T>(&'a mut self, entry: Entry) -> Result<ChannelEvent<T>>
    where
        T: Decode<'a, <P as Pushes>::Format>,
    {
        match entry {
            Entry::Event(event) => {
                self.event = event;
                self.scratch.clear();
                let frame = Frame::new(&self.event).with_scratch(&mut self.scratch);
                let event = T::decode(frame);
                let event = event.map_err(|source| Error::decode(&self.channel.peer(), source));
                event.map(ChannelEvent::Event).map_err(Error::not_sent)
            }
            Entry::Connected(_) => Ok(ChannelEvent::Reconnected),
            Entry::Missed(number) => Ok(ChannelEvent::Missed(number)),
        }
    }

    /// Waits for what comes next. Renews the subscription meanwhile.
    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Entry>> {
        loop {
            if let Some(subscription) = &mut self.subscription
                && let Some(renewal) = &mut subscription.renewal
            {
                let renewed = ready!(renewal.as_mut().poll(cx));
                subscription.renewal = None;
                let (_, connection) = renewed?;
                subscription.connection = connection;
                return Poll::Ready(Ok(Entry::Connected(connection)));
            }
            let entry = match ready!(self.subscriber.poll_next(cx)) {
                Ok(entry) => entry,
                Err(fault) => {
                    return Poll::Ready(Err(fault.later_error(&self.channel.peer())));
                }
            };
            match (&entry, &mut self.subscription) {
                (Entry::Connected(connection), Some(subscription))
                    if *connection > subscription.connection =>
                {
                    subscription.renewal = Some(Box::pin(renew(
                        Arc::clone(&subscription.subchannel),
                        P::HAS_GREETING,
                        Arc::clone(&subscription.request),
                    )));
                }
                _ => return Poll::Ready(Ok(entry)),
            }
        }
    }
}

/// The events of a channel that borrow nothing, as a [`Stream`] (feature `stream`), from [`Events::owned`].
///
/// It ends after the error that says why there are no more connections.
#[cfg(feature = "stream")]
#[must_use = "streams do nothing unless polled"]
pub struct OwnedEvents<P: Contract, T> {
    events: Events<P>,
    is_over: bool,
    marker: PhantomData<fn() -> T>,
}

#[cfg(feature = "stream")]
impl<P: Contract> Events<P> {
    /// Returns the events as a `futures_core::Stream` of `ChannelEvent<T>` (feature `stream`).
    ///
    /// `T` is a type of the events that borrows nothing, such as `String` where the events are `&str`.
    pub fn owned<T>(self) -> OwnedEvents<P, T>
    where
        P: Pushes,
        T: for<'a> Decode<'a, <P as Pushes>::Format>,
    {
        OwnedEvents {
            events: self,
            is_over: false,
            marker: PhantomData,
        }
    }
}

#[cfg(feature = "stream")]
impl<P, T> Stream for OwnedEvents<P, T>
where
    P: Contract + Pushes,
    T: for<'a> Decode<'a, <P as Pushes>::Format>,
{
    type Item = Result<ChannelEvent<T>>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<ChannelEvent<T>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let entry = ready!(self.events.poll_entry(cx));
        self.is_over = entry.is_err() && self.events.subscriber.is_closed();
        Poll::Ready(Some(entry.and_then(|entry| self.events.decode(entry))))
    }
}

#[cfg(feature = "stream")]
impl<P: Contract, T> fmt::Debug for OwnedEvents<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedEvents").field(&self.events).finish()
    }
}

/// Takes the waker, which is foreign code, so that it is not dropped by a driver that has a lock.
impl<P: Contract> Drop for Events<P> {
    fn drop(&mut self) {
        let waker = lock(&self.subscriber.inner).waker.take();
        drop(waker);
    }
}

impl<P: Contract> fmt::Debug for Events<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("channel", &self.channel)
            .field("is_subscription", &self.subscription.is_some())
            .finish_non_exhaustive()
    }
}

/// Those who receive the events of a connection of a channel, and of its successors.
#[derive(Debug, Default)]
pub(super) struct EventHub {
    /// Returns `true` if a message is an event. For framings without notices.
    is_event: OnceLock<fn(&[u8]) -> bool>,
    /// The number of connections so far.
    connections: AtomicU64,
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
}

impl EventHub {
    /// Returns the number of the current connection.
    fn connection(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    pub(super) fn is_event(&self) -> Option<fn(&[u8]) -> bool> {
        self.is_event.get().copied()
    }

    /// Returns `true` if somebody receives events.
    pub(super) fn has_subscribers(&self) -> bool {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        !subscribers.is_empty()
    }

    /// Adds an event for each subscriber.
    #[cold]
    pub(super) fn publish(&self, event: &[u8], wakers: &mut Vec<Waker>) {
        let mut shared = None;
        for subscriber in self.subscribers() {
            let event = shared.get_or_insert_with(|| Arc::from(event));
            wakers.extend(subscriber.add(Entry::Event(Arc::clone(event))));
        }
    }

    /// Counts a connection, before requests can be sent over it. Returns its number.
    pub(super) fn count_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Tells subscribers that there is another connection, with this number.
    pub(super) fn note_connected(&self, number: u64) {
        for subscriber in self.subscribers() {
            wake(subscriber.note_connected(number));
        }
    }

    /// Notes that the connection is lost. With a fault, there is no other.
    pub(super) fn note_lost(&self, fault: Option<&Arc<Fault>>) {
        for subscriber in self.subscribers() {
            wake(subscriber.note_lost(fault));
        }
    }

    fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        lock(&self.subscribers)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl<F: Framing> Subchannel<F> {
    /// Adds a subscriber, and makes a connection for it, if there is none.
    fn add_subscriber(self: &Arc<Self>, subscriber: &Arc<Subscriber>, is_push: fn(&[u8]) -> bool) {
        lock(&self.hub.subscribers).push(Arc::downgrade(subscriber));
        self.note_events(is_push);
        let fault = match &self.lock().link {
            Link::Connected => return,
            Link::Closed(fault) => Some(Arc::clone(fault)),
            Link::Disconnected(_) | Link::Rejected(_) => None,
        };
        match fault {
            Some(fault) => wake(subscriber.note_lost(Some(&fault))),
            None => self.want(),
        }
    }

    /// Notes how the protocol tells events from replies, also for later connections.
    #[cold]
    pub(super) fn note_events(&self, is_event: fn(&[u8]) -> bool) {
        if self.hub.is_event.set(is_event).is_ok() {
            self.lock().framing.set_is_event(is_event);
        }
    }
}

/// The events that one [`Events`] has not received yet.
#[derive(Debug)]
struct Subscriber {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// The bytes of all events, each with [`EVENT_OVERHEAD`].
    bytes: usize,
    /// Whether a connection was lost, so that the next one is a new one.
    was_lost: bool,
    /// Why there are no more connections.
    fault: Option<Arc<Fault>>,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Entry {
    Event(Arc<[u8]>),
    /// There is another connection, with this number.
    Connected(u64),
    /// So many events were dropped.
    Missed(u64),
}

impl Subscriber {
    /// Adds an event, or counts it as missed. Returns the task to wake, which the caller does without a lock.
    fn add(&self, entry: Entry) -> Option<Waker> {
        let mut inner = lock(&self.inner);
        if let Entry::Event(event) = &entry {
            let bytes = inner.bytes + event.len() + EVENT_OVERHEAD;
            if bytes > self.limit {
                match inner.entries.back_mut() {
                    Some(Entry::Missed(number)) => *number += 1,
                    _ => inner.entries.push_back(Entry::Missed(1)),
                }
                return inner.waker.take();
            }
            inner.bytes = bytes;
        }
        inner.entries.push_back(entry);
        inner.waker.take()
    }

    fn note_connected(&self, number: u64) -> Option<Waker> {
        let mut inner = lock(&self.inner);
        if !take(&mut inner.was_lost) {
            return None;
        }
        match inner.entries.back_mut() {
            Some(Entry::Connected(last)) => *last = number,
            _ => inner.entries.push_back(Entry::Connected(number)),
        }
        inner.waker.take()
    }

    fn note_lost(&self, fault: Option<&Arc<Fault>>) -> Option<Waker> {
        let mut inner = lock(&self.inner);
        inner.was_lost = true;
        inner.fault = fault.cloned();
        inner.waker.take()
    }

    #[cfg(feature = "stream")]
    fn is_closed(&self) -> bool {
        let inner = lock(&self.inner);
        inner.fault.is_some() && inner.entries.is_empty()
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Result<Entry, Arc<Fault>>> {
        // Cloned and dropped without the lock, because wakers are foreign code.
        let waker = cx.waker().clone();
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.entries.pop_front() {
            if let Entry::Event(event) = &entry {
                inner.bytes -= event.len() + EVENT_OVERHEAD;
            }
            return Poll::Ready(Ok(entry));
        }
        if let Some(fault) = &inner.fault {
            return Poll::Ready(Err(Arc::clone(fault)));
        }
        let former = inner.waker.replace(waker);
        drop(inner);
        drop(former);
        Poll::Pending
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
