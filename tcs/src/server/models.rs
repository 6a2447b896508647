//! Models of what limits the connections and functions of a server.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use tokio::runtime::{Builder, Runtime};

use super::{
    addresses::Addresses,
    capacity::{AtCapacity, Capacity},
    mode::Concurrent,
    registry::Registry,
    settings::Settings,
    time::{ClockTime, Deadline},
};
use crate::{
    Peer,
    blocking_permits::BlockingPermits,
    models::{block_on, explore, explore_all, scope},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

fn registry() -> Arc<Registry> {
    let mut settings = Settings::new::<Concurrent>();
    settings.memory_budget = Some(1 << 20);
    settings.registry()
}

/// A runtime whose timers never fire, because nobody runs it.
fn stopped_clock() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let built = Builder::new_current_thread().enable_time().build();
        built.expect("a runtime")
    })
}

#[test]
fn permit_of_an_evicted_connection_goes_to_the_new_one() {
    explore(|| {
        let registry = registry();
        let mut capacity = Capacity::new(1, AtCapacity::EvictIdle);
        let permit = block_on(capacity.make_room(None, &registry)).expect("room");
        let mut connection = registry.register();
        let cx = Context::from_waker(Waker::noop());
        assert!(connection.poll_deadline(Deadline::NEVER, &cx).is_pending());
        connection.set_idle_since(ClockTime::MIN);
        scope(|threads| {
            threads.spawn(move || {
                block_on(poll_fn(|cx| {
                    let wait = connection.poll_deadline(Deadline::NEVER, cx);
                    connection.set_idle_since(ClockTime::MIN);
                    if wait.is_pending() && !connection.take_eviction() {
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                }));
                drop((connection, permit));
            });
            let _entered = stopped_clock().enter();
            let room = block_on(capacity.make_room(None, &registry));
            if room.is_err() {
                // It was not idle for a moment.
                registry.abort();
            }
        });
        assert!(!capacity.is_full());
        assert_eq!(registry.report().connections.open, 0);
    });
}

#[test]
fn permit_of_a_blocking_function_goes_to_the_next_though_another_gives_up() {
    explore_all(|| {
        let (permits, running) = (BlockingPermits::new(1, None), AtomicUsize::new(0));
        let call = || {
            permits.run(|| {
                assert_eq!(running.fetch_add(1, SeqCst), 0);
                running.fetch_sub(1, SeqCst);
            })
        };
        let poll = || {
            let mut cx = Context::from_waker(Waker::noop());
            pin!(call()).poll(&mut cx).is_ready()
        };
        scope(|threads| {
            threads.spawn(|| block_on(call()).expect("it runs"));
            threads.spawn(poll);
            block_on(call()).expect("it runs");
        });
        assert!(poll());
    });
}

#[test]
fn address_never_has_more_connections_than_its_limit() {
    explore_all(|| {
        let (addresses, open) = (Addresses::new(1), AtomicUsize::new(0));
        let peer = Peer::at(([192, 0, 2, 1], 1).into());
        let connect = || {
            let connected = addresses.connect(&peer);
            if connected.is_ok() {
                assert_eq!(open.fetch_add(1, SeqCst), 0);
                open.fetch_sub(1, SeqCst);
            }
        };
        scope(|threads| {
            threads.spawn(connect);
            threads.spawn(connect);
        });
        assert!(addresses.connect(&peer).is_ok());
    });
}
