//! Tests that no foreign code runs while the connection is locked.

use std::{
    pin::pin,
    sync::{
        OnceLock, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::io::{AsyncWriteExt as _, duplex};

use super::*;
use crate::{
    format::{Encode, EncodeError, Plain, Writer},
    framing::LengthPrefixed,
};

/// Foreign code, which must not find the connection locked.
struct Probe {
    shared: Arc<SplitConnection<LengthPrefixed>>,
    ran: AtomicUsize,
}

impl Probe {
    fn new(shared: &Arc<SplitConnection<LengthPrefixed>>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            ran: AtomicUsize::new(0),
        })
    }

    fn run(&self) {
        let is_locked = matches!(self.shared.state.try_lock(), Err(TryLockError::WouldBlock));
        assert!(!is_locked);
        self.ran.fetch_add(1, Relaxed);
    }
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.run();
    }
}

impl Encode<Plain> for &Probe {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.run();
        out.put(b"request");
        Ok(())
    }
}

#[derive(Debug)]
enum Greeted {}

impl Contract for Greeted {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a Probe;
    type Reply<'a> = String;
    const HAS_GREETING: bool = true;
}

#[tokio::test]
async fn neither_wakers_nor_encoders_run_under_the_lock() {
    let (near, mut far) = duplex(64);
    let (mut sender, mut receiver) = Connection::over(near).split::<Greeted>();
    let shared = Arc::clone(&sender.0.shared);
    let [request, sent_wakes, read_wakes] = [(); 3].map(|()| Probe::new(&shared));
    let [send_waker, receive_waker] =
        [&sent_wakes, &read_wakes].map(|it| Waker::from(Arc::clone(it)));
    let (mut send_cx, mut receive_cx) = (
        Context::from_waker(&send_waker),
        Context::from_waker(&receive_waker),
    );
    let mut sending = pin!(sender.send(&*request));
    let mut receiving = pin!(receiver.receive());
    assert!(sending.as_mut().poll(&mut send_cx).is_pending());
    assert_eq!(request.ran.load(Relaxed), 1);
    // The greeting, which the receiver takes, and the sender waits for.
    far.write_all(b"\0\0\0\x02hi").await.expect("it is open");
    assert!(receiving.as_mut().poll(&mut receive_cx).is_pending());
    assert_eq!(sent_wakes.ran.load(Relaxed), 1);
    assert!(sending.as_mut().poll(&mut send_cx).is_ready());
    assert_ne!(read_wakes.ran.load(Relaxed), 0);
}

#[tokio::test]
async fn wake_while_a_half_polls_reaches_both_afterwards() {
    let (near, _far) = duplex(64);
    let (sender, _receiver) = Connection::over(near).split::<Greeted>();
    let half = &sender.0;
    let probe = Probe::new(&half.shared);
    let waker = Waker::from(Arc::clone(&probe));
    let cx = Context::from_waker(&waker);
    let wakers = &half.shared.wakers;
    for count in 1..3 {
        wakers.register(|it| &mut it.receiver, &cx);
        let polled = half.poll(|_, cx| {
            cx.waker().wake_by_ref();
            assert_eq!(probe.ran.load(Relaxed), count - 1);
            Poll::Ready(())
        });
        assert!(polled.is_ready());
        assert_eq!(probe.ran.load(Relaxed), count);
        // A panic does not defer it for ever.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            half.poll(|_, _| -> Poll<()> { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
    }
    wakers.register(|it| &mut it.receiver, &cx);
    wakers.wake_both();
    assert_eq!(probe.ran.load(Relaxed), 3);
}

/// The waker of a task that has used the connection before it was split.
struct Earlier {
    shared: OnceLock<Arc<SplitConnection<LengthPrefixed>>>,
    was_locked: Arc<AtomicBool>,
}

impl Wake for Earlier {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Earlier {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            let is_locked = matches!(shared.state.try_lock(), Err(TryLockError::WouldBlock));
            self.was_locked.fetch_or(is_locked, Relaxed);
        }
    }
}

#[tokio::test]
async fn waker_of_a_task_before_the_split_is_not_dropped_under_the_lock() {
    let (near, _far) = duplex(64);
    let mut connection = Connection::over(near);
    let was_locked = Arc::new(AtomicBool::new(false));
    let earlier = Arc::new(Earlier {
        shared: OnceLock::new(),
        was_locked: Arc::clone(&was_locked),
    });
    let waker = Waker::from(Arc::clone(&earlier));
    let mut cx = Context::from_waker(&waker);
    let polled = pin!(connection.receive::<String, Plain>()).poll(&mut cx);
    assert!(polled.is_pending());
    let (sender, mut receiver) = connection.split::<Greeted>();
    let shared = Arc::clone(&sender.0.shared);
    assert!(earlier.shared.set(shared).is_ok());
    drop((waker, earlier));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(receiver.receive()).poll(&mut cx).is_pending());
    assert!(!was_locked.load(Relaxed));
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn waker_that_panics_does_not_keep_the_other_half_from_its_wake() {
    let (near, _far) = duplex(64);
    let (sender, receiver) = Connection::over(near).split::<Greeted>();
    let shared = &sender.0.shared;
    let probe = Probe::new(shared);
    let [bomb, waker] = [Waker::from(Arc::new(Bomb)), Waker::from(Arc::clone(&probe))];
    let wakers = &shared.wakers;
    wakers.register(|it| &mut it.sender, &Context::from_waker(&bomb));
    wakers.register(|it| &mut it.receiver, &Context::from_waker(&waker));
    wakers.wake_both();
    assert_eq!(probe.ran.load(Relaxed), 1);
    drop(receiver);
}

#[tokio::test(start_paused = true)]
async fn request_after_a_rejected_greeting_has_the_whole_reply_timeout() {
    let (near, mut far) = duplex(64);
    let (mut sender, mut receiver) = Connection::over(near).split::<Greeted>();
    let request = Probe::new(&sender.0.shared);
    let server = async {
        for answer in [&b"\x80\0\0\x01\x04"[..], b"\0\0\0\x02hi"] {
            tokio::time::sleep(Duration::from_secs(20)).await;
            far.write_all(answer).await.expect("it is open");
        }
    };
    let client = async {
        let rejected = receiver.receive().await;
        rejected.expect_err("the server is busy");
        sender.send(&*request).await.expect("there is room");
        receiver.receive().await
    };
    let (reply, ()) = tokio::join!(client, server);
    assert_eq!(reply.expect("it is in time").as_deref(), Some("hi"));
}
