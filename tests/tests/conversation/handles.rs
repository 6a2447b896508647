//! Handles that the user's code uses in unusual ways: within `Encode`, and in futures that are dropped.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use tcs::{
    ConnectionInfo, Peer,
    format::{Encode, EncodeError, Plain, Writer},
    protocol::{Push, PushGroup, Pushes, Receives, Streams},
};
use tcs_tests::threads::joined;

/// Names all messages.
enum All {}

impl Pushes for All {
    type Format = Plain;
    type Event<'a> = Calls<'a>;
}

impl Streams for All {
    type Format = Plain;
    type Item<'a> = Calls<'a>;
}

impl Receives for All {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

/// A message whose encoding calls this.
struct Calls<'a>(&'a dyn Fn());

impl Encode<Plain> for Calls<'_> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        (self.0)();
        out.put(b"message");
        Ok(())
    }
}

/// Runs a test that can wait for itself.
fn in_time(test: impl FnOnce() + Send + 'static) {
    joined(std::thread::spawn(test));
}

fn info() -> ConnectionInfo {
    ConnectionInfo::new(Peer::unnamed())
}

fn is_pending<T>(future: impl Future<Output = T>, waker: &Waker) -> bool {
    pin!(future)
        .poll(&mut Context::from_waker(waker))
        .is_pending()
}

#[test]
fn event_can_use_its_group_while_it_is_encoded() {
    in_time(|| {
        let info = info();
        let (group, push) = (PushGroup::<All>::new(), info.push::<All>());
        group.join(&push);
        let sent = group.send(Calls(&|| {
            assert_eq!(group.len(), 1);
            assert!(!group.join(&push));
            group.send(Calls(&|| ())).expect("there is room");
        }));
        assert_eq!(sent.expect("there is room"), 1);
        push.try_send(Calls(&|| {
            push.try_send(Calls(&|| ())).expect("there is room");
        }))
        .expect("there is room");
    });
}

#[test]
fn member_that_joins_while_an_event_is_encoded_gets_it() {
    in_time(|| {
        let (first, second) = (info(), info());
        let group = PushGroup::<All>::new();
        let push: Push<All> = second.push();
        group.join(&first.push());
        let sent = group.send(Calls(&|| assert!(group.join(&push))));
        assert_eq!(sent.expect("there is room"), 2);
    });
}

#[test]
fn item_can_use_its_connection_while_it_is_encoded() {
    in_time(|| {
        let info = info();
        let send = |calls: &dyn Fn()| {
            let mut out = info.replies::<All>();
            assert!(!is_pending(out.send(Calls(calls)), Waker::noop()));
        };
        send(&|| send(&|| ()));
    });
}

struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn futures_that_are_dropped_leave_no_wakers() {
    let info = info();
    let counted = Arc::new(Counted);
    let waker = Waker::from(Arc::clone(&counted));
    let mut out = info.replies::<All>();
    // More than fits.
    while !is_pending(out.send(Calls(&|| ())), &waker) {}
    let mut more = info.requests::<All>();
    assert!(is_pending(more.next(), &waker));
    let mut body = more.exactly(1);
    assert!(is_pending(body.next(), &waker));
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 1);
}
