//! The connections of a channel, and which of them a call takes.

use std::{
    iter,
    sync::{Arc, OnceLock},
};

use tokio::sync::Semaphore;

use super::{
    reconnector::Reconnector, shared::Shared, subchannel::Subchannel, subchannel_state::Link,
};
use crate::{Error, Peer, Result, client::deadline::PassedLimit, framing::Framing};

/// The connections of a channel, which all its clones share. Dropping the pool ends the tasks of the connections.
pub(super) struct Pool<F: Framing> {
    pub(super) subchannels: Box<[Arc<Subchannel<F>>]>,
    pub(super) shared: Arc<Shared<F>>,
    /// Has one permit, which the first of the calls that wait for room holds. The others wait for it, in order.
    pub(super) turn: Semaphore,
    /// Returns `true` if a message is an event. For framings without notices. That of the first protocol applies to all.
    is_event: OnceLock<fn(&[u8]) -> bool>,
    /// The whole pool, which this one keeps alive if it has only the first connection.
    whole: Option<Arc<Self>>,
}

impl<F: Framing> Pool<F> {
    /// Creates a pool of this many connections.
    pub(super) fn new(number: usize, shared: Shared<F>) -> Self {
        let shared = Arc::new(shared);
        let new = |index| Arc::new(Subchannel::new(index, Arc::clone(&shared)));
        Self::of((0..number).map(new).collect(), shared, None)
    }

    /// Returns a pool with the first connection of `whole`. Its calls have a queue of their own.
    pub(super) fn first_of(whole: &Arc<Self>) -> Arc<Self> {
        if let [_] = *whole.subchannels {
            return Arc::clone(whole);
        }
        let first = whole.subchannels.iter().take(1).cloned().collect();
        Self::of(first, Arc::clone(&whole.shared), Some(Arc::clone(whole))).into()
    }

    fn of(
        subchannels: Box<[Arc<Subchannel<F>>]>,
        shared: Arc<Shared<F>>,
        whole: Option<Arc<Self>>,
    ) -> Self {
        Self {
            subchannels,
            shared,
            turn: Semaphore::new(1),
            is_event: OnceLock::new(),
            whole,
        }
    }

    /// Sets how the protocol distinguishes events from replies. Each connection passes it on to the next one.
    #[cold]
    pub(super) fn set_is_event(&self, is_event: fn(&[u8]) -> bool) {
        if let Some(whole) = &self.whole {
            return whole.set_is_event(is_event);
        }
        if self.is_event.get().is_none() {
            for subchannel in &self.subchannels {
                subchannel.lock().framing.set_is_event(is_event);
            }
            // Set last, because a call that finds the function set uses the connections at once.
            self.is_event.get_or_init(|| is_event);
        }
    }

    /// Returns the server's end of the first connection.
    pub(super) fn peer(&self) -> Peer {
        let first = self.subchannels.first();
        first.map_or_else(Peer::unnamed, |subchannel| subchannel.peer())
    }

    /// Returns the connection for a call: the less loaded one of two that are chosen at random.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn choose_for_call(&self) -> &Arc<Subchannel<F>> {
        match &*self.subchannels {
            [only] => only,
            many => with_fewer_calls(many),
        }
    }

    /// Returns the least loaded of the other connections that are open. Prefers connections with room, and of these the ones
    /// to another address, because the server is slow or in trouble.
    #[cold]
    pub(super) fn choose_other(&self, index: usize) -> Option<&Arc<Subchannel<F>>> {
        let connector = &self.shared.connector;
        let rank = |other: &Subchannel<F>| {
            let has_same_address = connector.have_same_address([index, other.index]);
            (!other.has_room(), has_same_address, other.load())
        };
        let others = self.subchannels.iter().filter(|it| it.index != index);
        let open = others.filter(|it| it.load().is_some());
        open.min_by_key(|it| rank(it))
    }

    /// Returns the least loaded connection that has room.
    pub(super) fn choose_with_room(&self) -> Option<&Arc<Subchannel<F>>> {
        least_loaded(self.subchannels.iter().filter(|it| it.has_room()))
    }

    /// Returns an error if calls need not wait: no attempt to connect is due, and one has failed for good.
    pub(super) fn check_attempts(&self) -> Result<()> {
        let mut permanent = None;
        for subchannel in &self.subchannels {
            let error = match subchannel.lock().link() {
                Link::BackingOff(error) => Arc::clone(error),
                _ => return Ok(()),
            };
            permanent = Some(error).filter(|it| it.is_permanent()).or(permanent);
        }
        permanent.map_or(Ok(()), |error| Err(Error::not_connected(&error)))
    }

    /// Returns the error of a request for which there was no room in time.
    pub(super) fn no_room(&self, late: PassedLimit) -> Error {
        let mut cause = None;
        for subchannel in &self.subchannels {
            let state = subchannel.lock();
            match state.link() {
                Link::Connected { .. } => return Error::no_room(&state.peer, late),
                Link::Disconnected(Some(error)) | Link::BackingOff(error) => {
                    cause = Some(Arc::clone(error));
                }
                Link::Off
                | Link::Ending(_)
                | Link::Disconnected(None)
                | Link::Closed(_)
                | Link::Released => {}
            }
        }
        Error::no_connection(cause.as_ref(), late)
    }
}

impl<F: Framing> Drop for Pool<F> {
    fn drop(&mut self) {
        if self.whole.is_none() {
            for subchannel in &self.subchannels {
                subchannel.release();
            }
        }
    }
}

/// Returns the less loaded connection of two that are chosen at random. If neither is open, returns the least loaded of
/// all open connections.
///
/// A chosen connection that is not open connects meanwhile, so that later calls use it.
#[expect(
    clippy::indexing_slicing,
    reason = "both indices are less than the length"
)]
fn with_fewer_calls<F: Framing>(many: &[Arc<Subchannel<F>>]) -> &Arc<Subchannel<F>> {
    let first = fastrand::usize(..many.len());
    let second = (first + fastrand::usize(1..many.len())) % many.len();
    let chosen = [&many[first], &many[second]].map(|it| (it.load(), it));
    let open = chosen.iter().filter(|(load, _)| load.is_some());
    let open = open.min_by_key(|(load, _)| *load).map(|(_, least)| *least);
    let least = open.or_else(|| least_loaded(many.iter()));
    let Some(least) = least else {
        // A connection for which a call can wait, if there is one.
        let mut all = iter::once(&many[first]).chain(many);
        let is_waited_for = |it: &&Arc<Subchannel<F>>| !it.lock().link().is_backing_off();
        return all.find(is_waited_for).unwrap_or(&many[first]);
    };
    if let Some((_, closed)) = chosen.iter().find(|(load, _)| load.is_none()) {
        Reconnector::request_in_background(closed);
    }
    least
}

/// Returns the least loaded of these connections that is open.
fn least_loaded<'a, F: Framing>(
    connections: impl Iterator<Item = &'a Arc<Subchannel<F>>>,
) -> Option<&'a Arc<Subchannel<F>>> {
    let open = connections.filter_map(|it| Some((it.load()?, it)));
    open.min_by_key(|(load, _)| *load).map(|(_, least)| least)
}
