//! A model of functions that run side by side.

use std::{future::poll_fn, task::Poll};

use tokio::sync::Notify;

use super::slots::Slots;
use crate::{
    ConnectionInfo, Peer,
    models::{block_on, explore, scope},
    runtime::wait_until,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

#[test]
fn slots_that_are_woken_as_the_task_begins_to_wait_are_polled() {
    explore(|| {
        let (count, changed) = (AtomicU32::new(0), Notify::new());
        let mut slots = Slots::new();
        let info = ConnectionInfo::new(Peer::unnamed());
        for least in [1, 2] {
            let index = slots.open(&info);
            let (count, changed) = (&count, &changed);
            let function = wait_until(changed, move || count.load(SeqCst) >= least);
            slots.start(index, function);
            assert!(slots.poll(index).is_none());
        }
        scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    count.fetch_add(1, SeqCst);
                    changed.notify_waiters();
                });
            }
            block_on(poll_fn(|cx| {
                loop {
                    slots.collect_woken();
                    while let Some(index) = slots.next_woken() {
                        drop(slots.poll(index));
                    }
                    if slots.running() == 0 {
                        return Poll::Ready(());
                    }
                    if slots.sleep(cx) {
                        return Poll::Pending;
                    }
                }
            }));
        });
    });
}
