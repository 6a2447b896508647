//! The events that servers push over the connections of a channel.
//!
//! The driver publishes each event, without decoding it, to the subscribers of its connection. Each subscriber has a
//! queue of its own, so that a subscriber that does not read affects neither the others nor the calls.

#[cfg(feature = "stream")]
use std::pin::Pin;
use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll, ready},
};

#[cfg(feature = "stream")]
use futures_core::Stream;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Channel, backoff::wait_before_retry, pool::Pool, reconnector::Reconnector,
    subscribers::Subscriber,
};
#[cfg(feature = "stream")]
use crate::client::owned::Owned;
use crate::{
    Error, Result,
    checks::check_events,
    client::{event_queue::Entry, requests::encode_unframed},
    format::{Decode, Frame, Writer},
    framing::Framing,
    panics::lock,
    protocol::{CallOwned, Contract, Pushes},
    runtime::inside_runtime,
    sync::Mutex,
};

/// An event of a [`Channel`], or a gap in its events, from [`Events::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelEvent<E> {
    /// The server has pushed this event.
    Event(E),
    /// A connection was lost, and there is another one. Events may have been missed in between.
    ///
    /// A channel with several connections returns it for each of them. If no event comes between two, they are returned
    /// as one. A subscription ([`Channel::subscribe`]) was renewed before.
    Reconnected,
    /// This many events were dropped, because those before them were not received in time
    /// ([`max_queued_events`](crate::client::ConnectOptions::max_queued_events)).
    Missed(u64),
}

/// The events that servers push over a [`Channel`], from [`Channel::events`] and [`Channel::subscribe`].
///
/// While this value exists, its connections are reopened without a call, and the
/// [`idle_timeout`](crate::client::ChannelOptions::idle_timeout) does not close them.
#[must_use = "events are received by `next`"]
pub struct Events<P: Contract> {
    channel: Channel<P::Framing>,
    subscriber: Arc<Mutex<Subscriber>>,
    subscription: Option<Subscription>,
    /// The event that was received last. The decoded event may borrow from it and from `scratch`.
    event: Arc<[u8]>,
    scratch: Vec<u8>,
    marker: PhantomData<fn() -> P>,
}

/// A request that is sent again over each new connection.
struct Subscription {
    request: Arc<[u8]>,
    /// The generation of the connection over which the request was sent last, or is to be sent.
    generation: u64,
    /// Whether the request must be sent again. It stays `true` if there is no runtime for that.
    must_renew: bool,
    /// How many renewals have failed, one after the other.
    failures: u32,
    /// The task of the current renewal. Later calls wait behind a renewal that waits for room, so it must run even if `next`
    /// is not polled.
    renewal: JoinSet<Result<u64>>,
}

impl Subscription {
    /// Sends the request again, if it must be. Returns the generation of the connection over which that is done, if its
    /// entry was taken before. Ready with `None` if events need not wait.
    fn poll_renewed<F: Framing>(
        &mut self,
        channel: &Channel<F>,
        has_greeting: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<u64>>> {
        loop {
            if self.must_renew && self.renewal.is_empty() {
                inside_runtime("next()")?;
                self.must_renew = false;
                let (channel, request) = (channel.clone(), Arc::clone(&self.request));
                let failures = self.failures;
                self.renewal.spawn(async move {
                    if failures > 0 {
                        sleep(wait_before_retry(failures)).await;
                    }
                    let sent = channel.reply_to_bytes(has_greeting, &request).await;
                    sent.map(|reply| reply.generation)
                });
            }
            let renewed = match self.renewal.poll_join_next(cx) {
                // After a failure, events do not wait for the renewal.
                Poll::Pending if self.failures > 0 => None,
                renewed => ready!(renewed),
            };
            let Some(renewed) = renewed else {
                return Poll::Ready(Ok(None));
            };
            // The runtime of the renewal may have ended.
            let renewed = renewed.map_err(|_| Error::outside_runtime("next()", ""));
            let renewed = renewed.flatten().inspect_err(|_| {
                // Without the subscription, no event would come for as long as the connection lasts.
                self.must_renew = true;
                self.failures = self.failures.saturating_add(1);
            })?;
            self.failures = 0;
            let awaited = self.generation;
            if renewed < awaited {
                // The connection was lost meanwhile, and another one awaits its renewal.
                continue;
            }
            self.must_renew = false;
            self.generation = renewed;
            // If they differ, that connection was lost, and the entry of the next one comes after its last events.
            return Poll::Ready(Ok((renewed == awaited).then_some(awaited)));
        }
    }
}

impl<F: Framing> Channel<F> {
    /// Returns the events that servers push over the connections of this channel, from now on.
    ///
    /// This method sends nothing: use it if the server pushes events after ordinary calls, or after
    /// [`on_connect`](crate::client::ChannelOptions::on_connect). Each returned value receives every event of [all
    /// connections](crate::client::ChannelOptions::connections).
    ///
    /// With framings that do not announce events, all protocols that are used over a channel must recognize them in the
    /// same way. The channel keeps the first [`Pushes::is_push`], or [`IS_EVENT`](Contract::IS_EVENT) of a call.
    pub fn events<P>(&self) -> Events<P>
    where
        P: Contract<Framing = F> + Pushes,
    {
        let subscriber = Subscriber::new(self.pool.shared.options.max_queued_events);
        self.pool.set_is_event(P::is_push);
        for subchannel in &self.pool.subchannels {
            subchannel.add_subscriber(&subscriber);
            Reconnector::request_in_background(subchannel);
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

    /// Sends a request that makes the server push events, and returns its reply and the events.
    ///
    /// The request is sent over the first connection only, even if the channel has several. When that connection is
    /// replaced, [`Events::next`] sends the request again, after
    /// [`on_connect`](crate::client::ChannelOptions::on_connect) and before it returns [`ChannelEvent::Reconnected`].
    /// Later replies are dropped.
    ///
    /// As with [`events`](Self::events), the value receives every event of the connection, even those of another
    /// subscription. To unsubscribe, send a request that does so: dropping the value does not tell the server.
    ///
    /// For a [module](macro@crate::server_protocol#the-client), `P` is its `Contract`, and the request is one of its
    /// `Request`: `channel.subscribe::<shop::Contract>(shop::Request::Follow {})`. The channel of a client is
    /// `client.clone().into_inner()`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`call`](Self::call), and `Setting` if events look like replies, because the protocol has
    /// the option `push` without `is_push`. The request counts as [idempotent](Self::idempotent), because what it does
    /// ends with its connection.
    ///
    /// # Cancel safety
    ///
    /// As for [`call`](Self::call): a server that has executed the request pushes events, which are dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::{
    ///     Channel, ConcurrentServer, client::ChannelEvent, protocol::{Push, PushGroup}, server_protocol,
    /// };
    ///
    /// /// Sends each message to all who have sent one.
    /// #[server_protocol(push = &str)]
    /// fn chat(text: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> Result<usize, String> {
    ///     room.join(&push);
    ///     Ok(room.send(text)?)
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
        check_events::<F, P>()?;
        let encode = |out: &mut Writer<'_>| P::encode(request, out);
        let request = encode_unframed(encode, self.pool.shared.options.max_frame_len);
        let request = request.inspect_err(|_| self.pool.shared.stats.record_failure())?;
        let request: Arc<[u8]> = request.into();
        // What the request does ends with its connection, so it may be executed again.
        let mut channel = self.idempotent();
        channel.pool = Pool::first_of(&self.pool);
        let mut events = channel.events::<P>();
        let sent = channel.reply_to_bytes(P::HAS_GREETING, &request).await;
        let reply = sent?;
        let decoded = reply.decode_owned::<P>()?;
        events.subscription = Some(Subscription {
            request,
            generation: reply.generation,
            must_renew: false,
            failures: 0,
            renewal: JoinSet::new(),
        });
        Ok((decoded, events))
    }
}

impl<P: Contract + Pushes> Events<P> {
    /// Waits for the next event, which may borrow from this value.
    ///
    /// The wait has no limit, because a server may push nothing for a long time.
    ///
    /// # Errors
    ///
    /// `Reply` for an event that cannot be decoded, after which the next one can be received. For a subscription that
    /// cannot be renewed, the error of its request. The next call sends it again, after a random wait of up to a
    /// second. [`Runtime`](crate::ErrorKind::Runtime) if the runtime of the channel has ended, or there was none, and
    /// this is outside of a tokio runtime with a clock (`enable_time`). If the channel does not reconnect
    /// ([`Connection::into_channel`](crate::Connection::into_channel)) and its connection has ended, `Closed`, `Io` or
    /// `Broken`.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: no event is lost.
    pub async fn next<'a>(&'a mut self) -> Result<ChannelEvent<P::Event<'a>>>
    where
        P::Event<'a>: Decode<'a, <P as Pushes>::Format>,
    {
        check_events::<P::Framing, P>()?;
        let entry = poll_fn(|cx| self.poll_entry(cx)).await?;
        self.decode(entry)
    }

    fn decode<'a, T>(&'a mut self, entry: Entry) -> Result<ChannelEvent<T>>
    where
        T: Decode<'a, <P as Pushes>::Format>,
    {
        match entry {
            Entry::Event(event, peer) => {
                self.event = event;
                self.scratch.clear();
                let frame = Frame::new(&self.event).with_scratch(&mut self.scratch);
                let event = T::decode(frame)
                    .map_err(|source| Error::decode(&peer.unwrap_or_default(), source).not_sent());
                event.map(ChannelEvent::Event)
            }
            Entry::Connected(_) => Ok(ChannelEvent::Reconnected),
            Entry::Missed(number) => Ok(ChannelEvent::Missed(number)),
        }
    }

    /// Makes the connections in this runtime, if their runtime has ended, or there was none. Returns an error if there
    /// is no connection from which events could come.
    fn connect_if_off(&self) -> Result<()> {
        let subchannels = &self.channel.pool.subchannels;
        let mut requested = Ok(());
        for subchannel in subchannels.iter().filter(|it| it.lock().link().is_off()) {
            requested = Reconnector::request(subchannel, "next()");
        }
        if subchannels.iter().all(|it| it.lock().link().is_off()) {
            return requested;
        }
        Ok(())
    }

    /// Waits for the next entry. Renews the subscription meanwhile.
    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Entry>> {
        loop {
            if let Some(subscription) = &mut self.subscription
                && let Some(generation) =
                    ready!(subscription.poll_renewed(&self.channel, P::HAS_GREETING, cx))?
            {
                return Poll::Ready(Ok(Entry::Connected(generation)));
            }
            let entry = match Subscriber::poll_next(&self.subscriber, cx) {
                Poll::Ready(Ok(entry)) => entry,
                Poll::Ready(Err(fault)) => {
                    return Poll::Ready(Err(fault.later_error(&self.channel.peer())));
                }
                Poll::Pending => {
                    self.connect_if_off()?;
                    return Poll::Pending;
                }
            };
            match (&entry, &mut self.subscription) {
                (Entry::Connected(generation), Some(subscription))
                    if *generation > subscription.generation =>
                {
                    subscription.generation = *generation;
                    subscription.must_renew = true;
                }
                _ => return Poll::Ready(Ok(entry)),
            }
        }
    }
}

#[cfg(feature = "stream")]
impl<P: Contract> Events<P> {
    /// Returns the events as a `futures_core::Stream` of `ChannelEvent<T>` (feature `stream`).
    ///
    /// `T` is a type of the events that borrows nothing, such as `String` where the events are `&str`. The stream ends
    /// after the error that says why there are no more connections.
    pub fn owned<T>(self) -> Owned<Self, T>
    where
        P: Pushes,
        T: for<'a> Decode<'a, <P as Pushes>::Format>,
    {
        Owned::new(self)
    }
}

#[cfg(feature = "stream")]
impl<P, T> Stream for Owned<Events<P>, T>
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
        if let Err(error) = check_events::<P::Framing, P>() {
            self.is_over = true;
            return Poll::Ready(Some(Err(error)));
        }
        let entry = ready!(self.inner.poll_entry(cx));
        self.is_over = entry.is_err() && lock(&self.inner.subscriber).is_closed();
        Poll::Ready(Some(entry.and_then(|entry| self.inner.decode(entry))))
    }
}

/// Takes the waker, which is the user's code, so that a driver with a lock does not drop it.
impl<P: Contract> Drop for Events<P> {
    fn drop(&mut self) {
        let waker = lock(&self.subscriber).waker.take();
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
