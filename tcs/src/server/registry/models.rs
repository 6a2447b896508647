//! Models of what the registry and a connection share.

use std::{
    future::{pending, poll_fn},
    task::{Context, Poll, Waker},
};

use super::{super::mode::Concurrent, super::settings::Settings, *};
use crate::{
    Peer,
    models::{block_on, explore, explore_all, scope},
};

fn registry() -> Arc<Registry> {
    let mut settings = Settings::new::<Concurrent>();
    settings.memory_budget = Some(1 << 20);
    settings.limits.max_connection_age = Limit::from_secs(60);
    settings.registry()
}

/// Waits until the server drains.
async fn drained(connection: &mut Registration) {
    poll_fn(|cx| {
        let wait = connection.poll_deadline(Deadline::NEVER, cx);
        if wait.is_ready() || connection.is_draining() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

#[test]
fn abort_reaches_a_connection_that_begins_to_wait() {
    explore(|| {
        let registry = registry();
        let mut connection = registry.register();
        scope(|threads| {
            threads.spawn(|| registry.abort());
            let wait = poll_fn(|cx| connection.poll_deadline(Deadline::NEVER, cx));
            assert_eq!(block_on(wait), Err(AbortReason::ServerEnded));
        });
    });
}

#[test]
fn deadline_that_moves_during_a_sweep_ends_at_the_next_one() {
    explore(|| {
        let registry = registry();
        let mut connection = registry.register();
        let cx = Context::from_waker(Waker::noop());
        assert!(
            connection
                .poll_deadline(Deadline::from_millis(10), &cx)
                .is_pending()
        );
        scope(|threads| {
            threads.spawn(|| {
                for now in [10, 20] {
                    registry.sweep_at(now);
                }
            });
            let wait = poll_fn(|cx| connection.poll_deadline(Deadline::from_millis(20), cx));
            assert_eq!(block_on(wait), Ok(()));
        });
    });
}

#[test]
fn drain_ends_with_the_connections_that_open_meanwhile() {
    explore(|| {
        let registry = registry();
        scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| block_on(drained(&mut registry.register())));
            }
            let of_drain = block_on(registry.drain(pending::<()>())).connections;
            // A connection that opens after the last has ended is in the report.
            assert_eq!(of_drain.accepted, of_drain.closed + of_drain.aborted);
        });
        let connections = registry.report().connections;
        assert_eq!((connections.accepted, connections.closed), (2, 2));
    });
}

#[test]
fn function_learns_of_a_drain_after_its_connection() {
    for begin in [
        |registry: &Registry| registry.signal_all(Flags::DRAIN),
        |registry: &Registry| registry.retire(1 << 20),
    ] {
        explore_all(move || {
            let registry = registry();
            let connection = registry.register();
            let info = connection.info(Peer::unnamed(), None);
            scope(|threads| {
                threads.spawn(|| begin(&registry));
                block_on(info.draining().into_future());
                assert!(connection.is_draining());
            });
        });
    }
}
