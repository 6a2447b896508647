//! Tests of wakers and the lock.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Wake},
};

use tokio::io::AsyncWriteExt as _;

use super::{
    super::{driver::Driver, pool::Pool},
    *,
};
use crate::{
    Channel,
    framing::{LengthPrefixed, Multiplexed},
};

fn open<F: Framing>(options: ConnectOptions) -> (Channel<F>, Arc<Subchannel<F>>) {
    let channel = Channel::over(Pool::new(1, options, ChannelStats::new(None), None));
    let subchannel = channel.pool.connections.first().map(Arc::clone);
    (channel, subchannel.expect("it has one"))
}

/// A waker whose drop runs code that would wait for the lock for ever.
struct Waiter {
    subchannel: Arc<Subchannel<LengthPrefixed>>,
    dropped: Arc<AtomicUsize>,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.subchannel.state.try_lock().expect("it is not locked"));
        self.dropped.fetch_add(1, Relaxed);
    }
}

/// The waker of a driver that looks whether the state is locked when it is woken.
struct DriverTask {
    subchannel: Arc<Subchannel<Multiplexed>>,
    wakes: AtomicUsize,
    /// How many of them were under the lock.
    locked: AtomicUsize,
}

impl Wake for DriverTask {
    fn wake(self: Arc<Self>) {
        let is_locked = self.subchannel.state.try_lock().is_err();
        self.locked.fetch_add(is_locked.into(), Relaxed);
        self.wakes.fetch_add(1, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn driver_is_woken_without_the_lock_when_a_call_is_late() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, subchannel) = open(options);
    let mut driver = pin!(Driver::attach(&subchannel, Connection::over(near)).run());
    let task = Arc::new(DriverTask {
        subchannel,
        wakes: AtomicUsize::new(0),
        locked: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&task));
    let mut cx = Context::from_waker(&waker);
    let mut call = pin!(channel.reply_to_bytes(false, b"x"));
    let mut is_late = false;
    for _ in 0..12 {
        // A notice that is unknown, so that the server is not silent.
        let notice = b"\x80\0\0\x01\0\0\0\0\xff";
        far.write_all(notice).await.expect("it is open");
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        is_late |= call.as_mut().poll(&mut cx).is_ready();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        if is_late {
            break;
        }
    }
    assert!(is_late);
    assert_ne!(task.wakes.load(Relaxed), 0);
    assert_eq!(task.locked.load(Relaxed), 0);
}

#[test]
fn waker_of_a_former_poll_is_dropped_without_the_lock() {
    let (near, _far) = tokio::io::duplex(64);
    let (channel, subchannel) = open(ConnectOptions::new());
    let _wire = subchannel.attach(Connection::over(near));
    let dropped = Arc::new(AtomicUsize::new(0));
    {
        let mut call = pin!(channel.reply_to_bytes(false, b"x"));
        for number in 0..3 {
            let waker = Waker::from(Arc::new(Waiter {
                subchannel: Arc::clone(&subchannel),
                dropped: Arc::clone(&dropped),
            }));
            let mut cx = Context::from_waker(&waker);
            assert!(call.as_mut().poll(&mut cx).is_pending());
            assert_eq!(dropped.load(Relaxed), number);
        }
    }
    assert_eq!(dropped.load(Relaxed), 3);
}
