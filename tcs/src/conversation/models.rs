//! Models of what the loop of a connection shares with those who have a handle.

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{push_queue::RequestNumber, staged_items::FULL, *};
use crate::{
    ConnectionInfo, Peer,
    buffer::Messages,
    format::Plain,
    models::{block_on, explore, explore_all, scope},
};

fn queue(limits: ConversationLimits) -> PushQueue {
    PushQueue::new(limits, MemoryBudget::new(1 << 20))
}

fn push(queue: &PushQueue, request: RequestNumber) -> bool {
    let (pushed, waker) = queue.push(Bytes::from_static(b"event"), request);
    waker.into_iter().for_each(Waker::wake);
    pushed.is_ok()
}

/// Waits for this many events, as the loop does.
async fn take(queue: &PushQueue, count: usize) {
    let mut taken = Vec::new();
    poll_fn(|cx| {
        while queue.take_events(1, &mut taken, Some(cx)) == Some(true) {}
        if taken.len() < count {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[test]
fn events_reach_a_connection_that_begins_to_wait() {
    explore(|| {
        let queue = queue(ConversationLimits::DEFAULT);
        scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| assert!(push(&queue, RequestNumber::NONE)));
            }
            block_on(take(&queue, 2));
        });
    });
}

#[test]
fn event_that_is_pushed_as_its_request_ends_follows_the_reply() {
    explore_all(|| {
        let queue = queue(ConversationLimits::DEFAULT);
        let request = queue.current_request();
        scope(|threads| {
            threads.spawn(|| assert!(push(&queue, request)));
            queue.end_request();
            block_on(take(&queue, 1));
        });
    });
}

#[test]
fn connection_that_begins_to_wait_learns_that_its_queue_has_overflowed() {
    explore_all(|| {
        let queue = queue(ConversationLimits {
            push_queue: 40,
            push_overflow: PushOverflow::Close,
            ..ConversationLimits::DEFAULT
        });
        // The event waits for the reply, and so nobody takes the event.
        assert!(push(&queue, queue.current_request()));
        scope(|threads| {
            threads.spawn(|| assert!(!push(&queue, RequestNumber::NONE)));
            // As `Outgoing::write_events` does.
            block_on(poll_fn(|cx| {
                match queue.take_events(1, &mut Vec::new(), Some(cx)) {
                    None => Poll::Ready(()),
                    Some(_) => Poll::Pending,
                }
            }));
        });
    });
}

#[test]
fn connection_that_ends_during_a_push_keeps_no_event_and_leaves_its_groups() {
    enum Chat {}
    impl Pushes for Chat {
        type Format = Plain;
        type Event<'a> = &'a str;
    }
    explore(|| {
        let info = ConnectionInfo::new(Peer::unnamed());
        let (handle, group) = (info.push::<Chat>(), PushGroup::new());
        group.join(&handle);
        scope(|threads| {
            threads.spawn(|| assert!(group.send("event").expect("it can be encoded") <= 1));
            threads.spawn(|| drop(handle.try_send("event")));
            drop(info);
        });
        assert!(handle.is_closed() && handle.try_send("event").is_err());
        assert!(group.is_empty());
        drop(group);
        let mut kept = Vec::new();
        handle.queue().take_events(usize::MAX, &mut kept, None);
        assert!(kept.is_empty());
        assert_eq!(Arc::strong_count(handle.queue()), 1);
    });
}

#[test]
fn function_that_waits_for_room_goes_on_when_its_items_are_taken() {
    explore_all(|| {
        let items = StagedItems::default();
        assert!(items.try_stage("x".repeat(FULL).as_bytes()));
        scope(|threads| {
            threads.spawn(|| drop(items.take()));
            block_on(items.room());
        });
    });
}

#[test]
fn function_that_waits_for_a_chunk_gets_it() {
    explore_all(|| {
        let chunks = Chunks::default();
        scope(|threads| {
            threads.spawn(|| {
                let mut progress = Progress::default();
                progress.messages.push(b"chunk");
                chunks.give(progress);
            });
            let mut batch = Messages::default();
            let received = block_on(chunks.receive(Demand::Chunks, &mut batch));
            assert_eq!((received, batch.next()), (Ok(()), Some(&b"chunk"[..])));
        });
    });
}

#[test]
fn all_who_wait_learn_that_the_peer_has_closed() {
    explore_all(|| {
        let info = ConnectionInfo::new(Peer::unnamed());
        let conversation = info.conversation();
        scope(|threads| {
            threads.spawn(|| {
                let mut closed = pin!(info.closed().into_future());
                // A wait that is dropped takes nobody's place.
                let mut cx = Context::from_waker(Waker::noop());
                let _: Poll<()> = closed.as_mut().poll(&mut cx);
            });
            threads.spawn(|| conversation.close());
            block_on(info.closed().into_future());
            assert!(info.closed().is_closed());
        });
    });
}
