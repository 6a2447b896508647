//! The maximum number of connections of a server, and its policy at the maximum.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::registry::Registry;
use crate::Rejection;

/// What a server with [`max_connections`](super::Server::max_connections) open connections does with further peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtCapacity {
    /// Further peers wait in the backlog of the operating system until a connection ends.
    #[default]
    Wait,
    /// Further peers receive *too many connections*, and are closed. A peer that begins with a handshake, such as TLS,
    /// is closed without a message. So is a peer that comes while 64 others are receiving their rejection.
    Reject,
    /// The connection that waits longest for a request receives *idle*, and is closed. The new connection is served. If
    /// no connection waits for a request, the new one is rejected.
    EvictIdle,
}

/// The maximum number of attempts to evict a connection for a new one. A connection that has just received a request
/// goes on.
const EVICTIONS: usize = 8;
/// The time that each evicted connection has to end.
const EVICTION_TIME: Duration = Duration::from_millis(50);
/// The server must not be full for this long before the next warning.
const EPISODE: Duration = Duration::from_secs(10);

/// The permits of a server's connections.
pub(super) struct Capacity {
    permits: Arc<Semaphore>,
    max_connections: usize,
    policy: AtCapacity,
    /// The time at which the server was last full.
    last_full: Option<Instant>,
}

impl Capacity {
    pub(super) fn new(max_connections: usize, policy: AtCapacity) -> Self {
        let permits = max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            max_connections,
            policy,
            last_full: None,
        }
    }

    /// Returns `true` if there is no permit left.
    pub(super) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Waits for a permit, if peers wait in the backlog when there is none. Otherwise [`make_room`](Self::make_room)
    /// takes one when a peer was accepted.
    pub(super) async fn wait(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.policy != AtCapacity::Wait {
            return None;
        }
        // With a limit of one, peers always wait, as for an iterative server.
        let was_full = self.max_connections > 1 && self.is_full();
        if was_full {
            self.warn();
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        if was_full {
            // The server was full until now.
            self.last_full = Some(Instant::now());
        }
        permit
    }

    /// Returns the permit of a peer that was accepted, or takes one, or rejects the peer.
    ///
    /// A server that stops drops this future with the accept loop. The peer is then closed without a message, like the
    /// peers in the backlog.
    pub(super) async fn make_room(
        &mut self,
        permit: Option<OwnedSemaphorePermit>,
        registry: &Registry,
    ) -> Result<OwnedSemaphorePermit, Rejection> {
        let free = || Arc::clone(&self.permits).try_acquire_owned().ok();
        if let Some(permit) = permit.or_else(free) {
            return Ok(permit);
        }
        self.warn();
        for _ in 0..EVICTIONS {
            if self.policy != AtCapacity::EvictIdle || !registry.evict_longest_idle() {
                break;
            }
            let freed = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = timeout(EVICTION_TIME, freed).await {
                return Ok(permit);
            }
        }
        let most = self.max_connections;
        let text = format!("{most} connections are open (`max_connections`)");
        Err(Rejection::too_many_connections(text))
    }

    /// Logs that the server is full, unless it was also full within the last [`EPISODE`].
    fn warn(&mut self) {
        let last = self.last_full.replace(Instant::now());
        if last.is_none_or(|last| last.elapsed() > EPISODE) {
            let most = self.max_connections;
            let peers = match self.policy {
                AtCapacity::Wait => "further peers wait",
                AtCapacity::Reject => "further peers are rejected",
                AtCapacity::EvictIdle => "further peers replace idle ones",
            };
            tracing::warn!("{most} connections are open (`max_connections`); {peers}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::time::advance;

    use super::{
        super::{
            mode::Concurrent,
            settings::Settings,
            time::{ClockTime, Deadline},
        },
        *,
    };

    /// Returns `true` if a warning would be logged now.
    fn would_warn(capacity: &Capacity) -> bool {
        capacity
            .last_full
            .is_none_or(|last| last.elapsed() > EPISODE)
    }

    #[tokio::test(start_paused = true)]
    async fn new_peer_waits_for_eight_connections_that_do_not_end() {
        let registry = Settings::new::<Concurrent>().registry();
        let mut connections = [(); EVICTIONS + 1].map(|()| registry.register());
        for connection in &mut connections {
            let cx = Context::from_waker(Waker::noop());
            let wait = connection.poll_deadline(Deadline::NEVER, &cx);
            assert!(wait.is_pending());
            connection.set_idle_since(ClockTime::MIN);
        }
        let mut capacity = Capacity::new(1, AtCapacity::EvictIdle);
        let _open = capacity.make_room(None, &registry).await.expect("room");
        let began = Instant::now();
        let rejected = capacity.make_room(None, &registry).await;
        rejected.expect_err("nobody leaves");
        let waited = began.elapsed().as_millis();
        assert!((400..410).contains(&waited), "{waited}");
        let evicted = connections.iter().filter(|peer| peer.must_close()).count();
        assert_eq!(evicted, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_stays_full_warns_once() {
        let mut capacity = Capacity::new(2, AtCapacity::Wait);
        let mut open = vec![capacity.wait().await, capacity.wait().await];
        assert!(would_warn(&capacity));
        for _ in 0..10 {
            let ended = open.remove(0);
            let next = capacity.wait();
            let ending = async {
                advance(3 * EPISODE).await;
                drop(ended);
            };
            open.push(tokio::join!(next, ending).0);
            assert!(!would_warn(&capacity));
        }
        open.clear();
        advance(EPISODE + Duration::from_millis(1)).await;
        open.push(capacity.wait().await);
        assert!(would_warn(&capacity));
    }
}
