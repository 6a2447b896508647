//! What a [`Subchannel`](super::subchannel::Subchannel) has under its lock, for the callers and the driver.

use std::{
    mem::{replace, take},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use super::{
    load::RecentFailures,
    pending_calls::{FailedCall, PendingCall, PendingCalls},
    subscribers::Subscribers,
};
use crate::{
    Error, Peer, Result,
    client::{
        deadline::PassedLimit, fault::Fault, options::ConnectOptions, requests::RequestQueue,
        wire::Wire,
    },
    framing::{ConnectionFraming, Framing, Notice},
};

/// If this many bytes of requests wait to be sent, the callers of a channel wait for room.
const MAX_QUEUED: usize = 1 << 20;

/// What the callers of a connection and its driver share.
#[derive(Debug)]
pub(super) struct SubchannelState<F> {
    /// The framing of both directions: callers write with it, and the driver reads.
    pub(super) framing: ConnectionFraming<F>,
    /// The requests that the driver has not taken yet.
    pub(super) queue: RequestQueue,
    /// Notices about requests that the driver has taken. They overtake the requests that are not sent yet, because a server
    /// may read on only after them.
    notices: Vec<(PendingCall, Notice)>,
    pub(super) calls: PendingCalls,
    /// The waker of the driver, if it waits for a request.
    pub(super) driver: Option<Waker>,
    link: Link,
    /// The number of connections so far, this one included.
    pub(super) generation: u64,
    /// Whether a call waits for the next connection. An attempt to connect ends it.
    pub(super) is_requested: bool,
    /// The server's end of the connection, or of the last one.
    pub(super) peer: Peer,
    /// The peer of the previous connection.
    former_peer: Peer,
    /// Whether a call was answered over this connection, or an event or an item has come.
    pub(super) has_worked: bool,
    /// The failures outlive the connection, because the next one is probably to the same server.
    pub(super) recent_failures: RecentFailures,
    /// The receivers of events.
    pub(super) subscribers: Subscribers,
}

/// Whether there is a connection, and what calls do if there is none.
///
/// | from | to | set by |
/// |---|---|---|
/// | any but `Released` | `Connected` | `attach`: a connection was made |
/// | `Connected` | `Ending` | `end`: it is idle, or replaced; `end_with`: a reply was for another request |
/// | `Connected`, `Ending` | `Disconnected(Some)` | `detach`: the connection has failed |
/// | `Connected`, `Ending` | `Disconnected(None)` | `detach`: the connection was idle, or is replaced |
/// | `Connected`, `Ending` | `Closed` | `detach`: the connection has ended, and there is no connector |
/// | `Off` | `Disconnected(None)` | `Reconnector::request`: a call or a wait for events needs a connection |
/// | `Disconnected` | `BackingOff` | `Reconnector`: an attempt has failed |
/// | `Disconnected` | `Disconnected(Some)` | `Reconnector`: an attempt has failed at a server that has probably restarted |
/// | `BackingOff` | `Disconnected(Some)` | `end_backoff`: the next attempt is due |
/// | `Disconnected(Some)` | `Disconnected(None)` | `Reconnector`: it is not wanted for so long that the error is no news |
/// | any but `Released` | `Off` | `Reconnector`: its runtime has ended |
/// | any | `Released` | `release`: the channel was dropped |
#[derive(Debug)]
pub(super) enum Link {
    /// There is no connection, and no task that makes one. The first call, or wait for events, starts it.
    Off,
    /// Requests can be sent. A protocol with a greeting needs a message that was received, or a request that was made,
    /// before the connection was shared.
    Connected { is_greeted: bool },
    /// The connection takes no more requests. It ends at once, for the reason of a caller, or once all calls are
    /// answered.
    Ending(Option<Arc<Fault>>),
    /// There is no connection. A call makes the task connect, and waits for it. The error is why the last connection was
    /// lost, or why the last attempt has failed.
    Disconnected(Option<Arc<Error>>),
    /// The last attempt to connect has failed with this error, and the next one is not due yet. Calls use the other
    /// connections. If there is none, they wait, or return the error if the next attempt would most likely fail as well.
    BackingOff(Arc<Error>),
    /// The connection has ended, and there is no other.
    Closed(Arc<Fault>),
    /// The last clone of the channel was dropped. The connection ends once all calls are answered, and is the last.
    Released,
}

impl Link {
    pub(super) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    pub(super) const fn is_backing_off(&self) -> bool {
        matches!(self, Self::BackingOff(_))
    }

    pub(super) const fn is_released(&self) -> bool {
        matches!(self, Self::Released)
    }
}

/// The limit of cancels, if calls have none.
const CANCEL_LIMIT: Duration = Duration::from_mins(1);

/// Returns the limit that is checked now and then: the limit of calls, or, with ids, at least the limit of cancels.
pub(super) fn tick_limit<F: Framing>(options: &ConnectOptions) -> Option<Duration> {
    options.reply_timeout.or(F::HAS_IDS.then_some(CANCEL_LIMIT))
}

/// Returns the number of ticks in a limit: eight, but at most one for each millisecond, which is as exact as a timer is.
pub(super) fn ticks_in(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).map_or(8, |millis| millis.clamp(1, 8))
}

impl<F: Framing> SubchannelState<F> {
    pub(super) fn new(options: &ConnectOptions) -> Self {
        let ticks = tick_limit::<F>(options).map_or(0, ticks_in);
        Self {
            framing: ConnectionFraming::of_client(),
            queue: RequestQueue::new(0),
            notices: Vec::new(),
            calls: PendingCalls::new(ticks, options.reply_timeout.is_some()),
            driver: None,
            link: Link::Off,
            generation: 0,
            is_requested: false,
            peer: Peer::unnamed(),
            former_peer: Peer::unnamed(),
            has_worked: false,
            recent_failures: RecentFailures::default(),
            subscribers: Subscribers::default(),
        }
    }

    /// Cancels a request at the server, for a framing with ids. The server still answers it.
    #[cold]
    pub(super) fn cancel(&mut self, slot: u32) {
        self.calls.record_cancel(slot);
        self.notice(slot, Notice::Cancel);
    }

    /// Ends the wait of a call, whose reply is still to come, and cancels its request.
    #[cold]
    pub(super) fn end_wait_and_cancel(
        &mut self,
        slot: u32,
        failure: Box<FailedCall>,
        wakers: &mut Vec<Waker>,
    ) {
        if self.calls.end_wait(slot, failure, wakers) && F::HAS_IDS {
            self.cancel(slot);
        }
    }

    /// Counts a tick, and ends the calls that are late. `limit` is the reply timeout. Returns `false` if calls are late and
    /// nothing at all has arrived, or if only late calls keep a connection that takes no more.
    pub(super) fn tick(&mut self, limit: Duration, wakers: &mut Vec<Waker>) -> bool {
        let mut late = Vec::new();
        let Self { calls, peer, .. } = self;
        let timed_out = |slot| {
            late.push(slot);
            Error::reply_timed_out(peer, PassedLimit::reply_timeout(limit))
        };
        let is_alive = calls.tick(wakers, timed_out);
        if F::HAS_IDS && is_alive {
            for slot in late {
                self.cancel(slot);
            }
        }
        // A server may push events and never reply. The next connection, or the end of the channel, waits for this one.
        let is_kept = !self.link.is_connected() && !self.is_idle() && self.calls.are_all_overdue();
        is_alive && !is_kept
    }

    /// Queues a notice about a request.
    #[cold]
    pub(super) fn notice(&mut self, slot: u32, notice: Notice) {
        let Some(call) = self.calls.at(slot) else {
            return;
        };
        if call.offset < self.queue.offset() {
            self.notices.push((call, notice));
            return;
        }
        // The notice follows its request in the queue.
        let framing = self.framing.get_mut();
        framing.set_id(slot + 1);
        self.queue.notice(framing, notice);
    }

    /// Gives the wire the notices and, once it has sent the requests before them, the requests.
    #[inline]
    pub(super) fn hand_over(&mut self, wire: &mut Wire) {
        wire.take_requests(&mut self.queue);
        if F::HAS_IDS && !self.notices.is_empty() {
            self.hand_over_notices(wire);
        }
    }

    /// Puts each notice before the first request after its own of which nothing was sent. Makes one pass over the
    /// calls: all of them may be dropped at the same time.
    #[cold]
    fn hand_over_notices(&mut self, wire: &mut Wire) {
        let mut notices = take(&mut self.notices);
        // The requests of the other notices are answered, and their ids may have been reused.
        notices.retain(|(call, _)| self.calls.at(call.index) == Some(*call));
        if notices.is_empty() {
            return;
        }
        // The sort is stable: notices about one request keep their order.
        notices.sort_by_key(|(call, _)| call.offset);
        let mut notices = notices.into_iter().peekable();
        let framing = self.framing.get_mut();
        let (sent, end) = (wire.sent(), wire.requests.end_offset());
        let unsent = wire.requests.take_unsent();
        let mut rest = &unsent[..];
        let mut moved = 0;
        // Returns where a request begins after the notices that are put before it.
        let mut put_before = |offset: u64| {
            let is_before = |(call, _): &(PendingCall, _)| offset >= sent && call.offset < offset;
            while let Some((call, notice)) = notices.next_if(is_before) {
                let after = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
                let place = rest.len().saturating_sub(after);
                let (before, others) = rest.split_at(place);
                wire.requests.put_back(before);
                rest = others;
                framing.set_id(call.index + 1);
                let start = wire.requests.end_offset();
                wire.requests.notice(framing, notice);
                moved += wire.requests.end_offset() - start;
            }
            offset.saturating_add(moved)
        };
        self.calls.move_each(&mut put_before);
        put_before(u64::MAX);
        wire.requests.put_back(rest);
        self.queue.move_by(moved);
    }

    /// Drops the requests and notices that were not handed over.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.notices.clear();
    }
}

impl<F> SubchannelState<F> {
    #[inline]
    pub(super) fn has_room(&self, options: &ConnectOptions) -> bool {
        self.link.is_connected()
            && self.calls.len() < options.max_in_flight
            && self.queue.unsent() < MAX_QUEUED
    }

    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    /// Sets whether there is a connection, unless the channel was dropped. Returns what must be dropped without the lock: an
    /// error may have a value of the user's type.
    pub(super) fn set_link(&mut self, link: Link) -> Link {
        match self.link {
            Link::Released => link,
            _ => replace(&mut self.link, link),
        }
    }

    /// Takes no more requests. The driver ends once all calls are answered.
    pub(super) fn end(&mut self) {
        if let Link::Connected { .. } = self.link {
            self.link = Link::Ending(None);
        }
    }

    /// Ends the connection and its calls, if it is of this generation.
    pub(super) fn end_with(&mut self, generation: u64, fault: Arc<Fault>) {
        if self.generation == generation
            && let Link::Connected { .. } | Link::Ending(None) = self.link
        {
            self.link = Link::Ending(Some(fault));
        }
    }

    /// Lets calls wait for the next attempt to connect, which is due.
    pub(super) fn end_backoff(&mut self) {
        if let Link::BackingOff(error) = &self.link {
            self.link = Link::Disconnected(Some(Arc::clone(error)));
        }
    }

    /// Sets the server's end of a new connection. Returns what must be dropped without the lock.
    pub(super) fn set_peer(&mut self, peer: Peer) -> Peer {
        replace(&mut self.former_peer, replace(&mut self.peer, peer))
    }

    /// Returns the server's end of the connection of this generation, unless two others have followed.
    pub(super) fn peer_of(&self, generation: u64) -> Peer {
        match self.generation.checked_sub(generation) {
            Some(0) => self.peer.clone(),
            Some(1) => self.former_peer.clone(),
            _ => Peer::unnamed(),
        }
    }

    /// Returns `true` if a request of a protocol with a greeting can be sent.
    pub(super) const fn is_greeted(&self) -> bool {
        matches!(self.link, Link::Connected { is_greeted: true })
    }

    /// Returns the error of a request that cannot be sent now, unless it can wait.
    #[cold]
    pub(super) fn check_waiting(&self, has_greeting: bool) -> Result<()> {
        match &self.link {
            Link::Connected { is_greeted: false } if has_greeting => Err(Error::not_greeted()),
            Link::Closed(fault) => Err(fault.later_error(&self.peer)),
            _ => Ok(()),
        }
    }

    /// Returns `true` if no call is in flight. Pings may be queued.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.oldest().is_none()
    }

    /// Returns `true` if no call is in flight, and no events are received.
    pub(super) fn is_unused(&self) -> bool {
        self.is_idle() && self.subscribers.is_empty()
    }

    /// Queues a frame that the server skips, if the framing has one.
    pub(super) fn ping(&mut self)
    where
        F: Framing,
    {
        self.queue.notice(self.framing.get_mut(), Notice::Ping);
    }

    /// Returns why the driver must end, if it must.
    pub(super) fn end_reason(&self) -> Option<Arc<Fault>> {
        match &self.link {
            Link::Connected { .. } => None,
            Link::Ending(Some(fault)) => Some(Arc::clone(fault)),
            _ if !self.is_idle() => None,
            _ => Some(Fault::Retired.into()),
        }
    }
}
