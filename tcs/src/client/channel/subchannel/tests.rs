//! Tests of wakers and the lock.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Wake},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::Instant,
};

use super::{
    super::{
        call::{Call, Request},
        driver::Driver,
        pool::Pool,
    },
    *,
};
use crate::{
    Channel, Execution, Rejection, RejectionKind,
    client::{ChannelOptions, ConnectOptions, text_contract::Text},
    deadline::with_inherited,
    framing::{LengthPrefixed, Lines, Multiplexed},
    transport::Stream,
};

fn open<F: Framing>(options: ConnectOptions) -> (Channel<F>, Arc<Subchannel<F>>) {
    let channel = Channel::of_connections(1, options, false);
    let subchannel = channel.pool.subchannels.first().map(Arc::clone);
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

impl DriverTask {
    fn new(subchannel: Arc<Subchannel<Multiplexed>>) -> Arc<Self> {
        Arc::new(Self {
            subchannel,
            wakes: AtomicUsize::new(0),
            locked: AtomicUsize::new(0),
        })
    }
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
    let task = DriverTask::new(subchannel);
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

#[tokio::test(start_paused = true)]
async fn tick_that_ends_no_call_wakes_the_driver_once() {
    let (near, _far) = tokio::io::duplex(1 << 10);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, subchannel) = open(options);
    let mut driver = pin!(Driver::attach(&subchannel, Connection::over(near)).run());
    let task = DriverTask::new(subchannel);
    let waker = Waker::from(Arc::clone(&task));
    let mut cx = Context::from_waker(&waker);
    let mut call = pin!(channel.reply_to_bytes(false, b"x"));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert!(driver.as_mut().poll(&mut cx).is_pending());
    let before = task.wakes.load(Relaxed);
    for ticks in 1..=3 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        assert_eq!(task.wakes.load(Relaxed), before + ticks);
    }
}

#[test]
fn waker_of_a_former_poll_is_dropped_without_the_lock() {
    let (near, _far) = tokio::io::duplex(64);
    let (channel, subchannel) = open(ConnectOptions::new());
    let _wire = subchannel.attach(Connection::over(near), &mut Vec::new());
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

/// A channel with two connections, which are served, and the server's ends.
fn pair() -> (Channel, Arc<Pool<LengthPrefixed>>, [DuplexStream; 2]) {
    let channel = Channel::of_connections(2, ConnectOptions::new(), true);
    let pool = Arc::clone(&channel.pool);
    let ends = [0, 1].map(|index| {
        let (near, far) = tokio::io::duplex(1 << 10);
        let subchannel = pool.subchannels.get(index).expect("two");
        tokio::spawn(Driver::attach(subchannel, Connection::over(near)).run());
        far
    });
    (channel, pool, ends)
}

/// Receives a request of one byte.
async fn receive(far: &mut DuplexStream) {
    far.read_exact(&mut [0; 5]).await.expect("a request");
}

#[tokio::test(start_paused = true)]
async fn failure_of_one_request_of_a_hedge_is_recorded_at_its_connection() {
    for fails in [0, 1] {
        let (channel, pool, mut ends) = pair();
        let hedged = channel.idempotent().hedge(Duration::from_secs(1));
        let call = tokio::spawn(async move {
            let reply = hedged.reply_to_bytes(false, b"x").await;
            reply.map(|reply| reply.bytes.clone())
        });
        for far in &mut ends {
            receive(far).await;
        }
        let [one, two] = &mut ends;
        let (failing, other) = if fails == 0 { (one, two) } else { (two, one) };
        failing.write_all(b"\x80\0\0\x01\x04").await.expect("open");
        tokio::time::sleep(Duration::from_millis(1)).await;
        other.write_all(b"\0\0\0\x01y").await.expect("open");
        assert_eq!(call.await.expect("no panic").expect("a reply"), b"y");
        let loads = pool.subchannels.iter().map(|it| it.load());
        let loads: Vec<_> = loads.collect();
        let expected = if fails == 0 { [1, 0] } else { [0, 1] }.map(|sum| (sum, 0));
        assert_eq!(loads, expected.map(Some));
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_caller_is_no_failure_of_the_server() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    let options = ConnectOptions::new().reply_timeout(Duration::from_hours(1));
    let (channel, subchannel) = open::<LengthPrefixed>(options);
    tokio::spawn(Driver::attach(&subchannel, Connection::over(near)).run());
    let hasty = channel.deadline(Duration::from_secs(1));
    let late = hasty.reply_to_bytes(false, b"x").await;
    let error = late.map(|_| ()).expect_err("it is late");
    assert_eq!(error.kind(), crate::ErrorKind::TimedOut);
    let replies = async {
        for _ in 0..2 {
            receive(&mut far).await;
            far.write_all(b"\0\0\0\x01y").await.expect("open");
        }
    };
    let (reply, ()) = tokio::join!(channel.reply_to_bytes(false, b"x"), replies);
    assert!(reply.is_ok());
    assert_eq!(subchannel.load(), Some((0, 0)));
}

#[tokio::test(start_paused = true)]
async fn failure_of_a_streamed_reply_is_recorded() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    let (channel, subchannel) = open(ConnectOptions::new());
    tokio::spawn(Driver::attach(&subchannel, Connection::over(near)).run());
    let mut items = channel
        .stream::<Text<Multiplexed>>("x")
        .await
        .expect("it is open");
    let mut request = [0; 9];
    far.read_exact(&mut request).await.expect("a request");
    let [_, _, _, _, id @ .., _] = request;
    far.write_all(b"\x80\0\0\x01").await.expect("open");
    far.write_all(&id).await.expect("open");
    far.write_all(b"\x04").await.expect("open");
    let error = items.next().await.map(|_| ()).expect_err("it is busy");
    assert!(error.rejection().is_some(), "{error:?}");
    assert_eq!(subchannel.load(), Some((1, 0)));
}

/// Opens all connections, which nobody serves.
fn attach_all(pool: &Pool<LengthPrefixed>) -> Vec<(Wire, DuplexStream)> {
    let attach = |subchannel: &Arc<Subchannel<_>>| {
        let (near, far) = tokio::io::duplex(64);
        let wire = subchannel.attach(Connection::over(near), &mut Vec::new());
        (wire, far)
    };
    pool.subchannels.iter().map(attach).collect()
}

#[tokio::test(start_paused = true)]
async fn retry_prefers_another_address() {
    let channel: Channel = ChannelOptions::new("127.0.0.1:1")
        .address("127.0.0.1:2")
        .connections(2)
        .connect_lazily()
        .expect("good options");
    let pool = &channel.pool;
    let _open = attach_all(pool);
    // The connection 2 is to the same address, and the least loaded one.
    let busy = Error::rejected(&Peer::unnamed(), Rejection::busy(""));
    for subchannel in [1, 1, 3].map(|index| pool.subchannels.get(index)) {
        subchannel.expect("four").record_failure(&busy);
    }
    assert_eq!(pool.choose_other(0).map(|it| it.index), Some(3));
    for index in [1, 3] {
        pool.subchannels.get(index).expect("four").lock().end();
    }
    assert_eq!(pool.choose_other(0).map(|it| it.index), Some(2));
}

#[tokio::test]
async fn retry_prefers_a_connection_with_room() {
    let options = ConnectOptions::new().max_in_flight(1);
    let channel: Channel = ChannelOptions::new("127.0.0.1:1")
        .address("127.0.0.1:2")
        .connections(2)
        .connect_options(options)
        .connect_lazily()
        .expect("good options");
    let pool = &channel.pool;
    let _open = attach_all(pool);
    let mut calls = Vec::new();
    // The connections 1 and 3 are to the other address.
    for (full, chosen) in [(1, 3), (3, 2), (2, 1)] {
        let subchannel = pool.subchannels.get(full).expect("four");
        let request = Request {
            bytes: b"x",
            has_greeting: false,
            has_items: false,
            deadline: None,
        };
        let call = Call::try_queue(subchannel, Waker::noop(), &request);
        calls.push(call.expect("it is open").expect("room"));
        assert_eq!(pool.choose_other(0).map(|it| it.index), Some(chosen));
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_overtakes_no_call_that_waits_for_room() {
    for is_awaited in [false, true] {
        let channel: Channel = Channel::of_connections(2, ConnectOptions::new(), true);
        let mut open = Vec::new();
        for subchannel in &channel.pool.subchannels {
            let (near, far) = tokio::io::duplex(64);
            tokio::spawn(Driver::attach(subchannel, Connection::over(near)).run());
            open.push(far);
        }
        let first = channel.pool.subchannels.first().expect("two");
        let _waiting = is_awaited.then(|| first.shared.room.subscribe());
        let second = Duration::from_secs(1);
        let hedging = channel.idempotent().hedge(second);
        let hedged = tokio::time::timeout(2 * second, hedging.reply_to_bytes(false, b"x")).await;
        assert!(hedged.is_err(), "there is no reply");
        assert_eq!(channel.state().retries, u64::from(!is_awaited));
    }
}

#[test]
fn first_connection_tells_events_from_replies_as_the_others_do() {
    for is_first in [false, true] {
        let channel: Channel<Lines> = Channel::of_connections(2, ConnectOptions::new(), false);
        let (all, first) = (&channel.pool, Pool::first_of(&channel.pool));
        let (former, later) = if is_first {
            (&first, all)
        } else {
            (all, &first)
        };
        former.set_is_event(|_| true);
        later.set_is_event(|_| false);
        for subchannel in &all.subchannels {
            let is_event = subchannel.lock().framing.is_event().expect("it is set");
            assert!(is_event(b"x"));
        }
    }
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn waker_that_panics_keeps_no_call_from_its_error() {
    let (near, far) = tokio::io::duplex(64);
    let options = ConnectOptions::new().max_in_flight(1).reply_timeout(None);
    let (channel, subchannel) = open::<LengthPrefixed>(options);
    let mut state = channel.watch();
    state.mark_unchanged();
    tokio::spawn(Driver::attach(&subchannel, Connection::over(near)).run());
    let bomb = Waker::from(Arc::new(Bomb));
    let mut cx = Context::from_waker(&bomb);
    let first = channel.clone();
    let first = tokio::spawn(async move { first.reply_to_bytes(false, b"x").await.map(drop) });
    tokio::task::yield_now().await;
    // One waits for room, and one for the next state.
    let mut second = pin!(channel.reply_to_bytes(false, b"y"));
    assert!(second.as_mut().poll(&mut cx).is_pending());
    state.mark_unchanged();
    let mut changed = pin!(state.changed());
    assert!(changed.as_mut().poll(&mut cx).is_pending());
    drop(far);
    let limit = Duration::from_secs(20);
    let error = tokio::time::timeout(limit, first).await;
    let error = error.expect("it ends").expect("no panic");
    assert_eq!(
        error.expect_err("it is lost").kind(),
        crate::ErrorKind::Closed
    );
}

/// Serves a connection to a peer with this name.
fn serve(subchannel: &Arc<Subchannel<Multiplexed>>, name: &str) -> DuplexStream {
    let (near, far) = tokio::io::duplex(1 << 10);
    let options = subchannel.shared.options.clone();
    let connection = Connection::new(Stream::new(near), Peer::named(name), options);
    tokio::spawn(Driver::attach(subchannel, connection).run());
    far
}

/// Waits until the channel has no connection.
async fn until_lost(channel: &Channel<Multiplexed>) {
    let mut state = channel.watch();
    let lost = state.wait_for(|state| state.connected == 0).await;
    lost.expect("the channel is there");
}

#[tokio::test]
async fn reply_is_that_of_the_peer_that_has_sent_it_though_there_is_another_now() {
    let (channel, subchannel) = open::<Multiplexed>(ConnectOptions::new());
    let mut far = serve(&subchannel, "one");
    let requests = async {
        let mut requests = [0; 2 * 9];
        far.read_exact(&mut requests).await.expect("two requests");
        // A reply, and an item that is no text, with the notice before it.
        far.write_all(b"\0\0\0\x01\0\0\0\x01y").await.expect("open");
        far.write_all(b"\x80\0\0\x05\0\0\0\x02\x81\0\0\0\x01")
            .await
            .expect("open");
        far.write_all(b"\0\0\0\x01\0\0\0\x02\xff")
            .await
            .expect("open");
        far
    };
    let (reply, items, far) = tokio::join!(
        channel.reply_to_bytes(false, b"x"),
        channel.stream::<Text<Multiplexed>>("x"),
        requests
    );
    let reply = reply.expect("a reply");
    let mut items = items.expect("room");
    assert_eq!(reply.peer().to_string(), "one");
    drop(far);
    until_lost(&channel).await;
    let far = serve(&subchannel, "two");
    assert_eq!(channel.peer().to_string(), "two");
    assert_eq!(reply.peer().to_string(), "one");
    let error = items.next().await.map(|_| ()).expect_err("it is no text");
    assert_eq!(error.to_string(), "cannot read the reply of one");
    drop(far);
    until_lost(&channel).await;
    let _far = serve(&subchannel, "three");
    assert_eq!(reply.peer().to_string(), "unnamed peer");
}

#[tokio::test]
async fn call_that_was_answered_returns_the_answer_though_no_time_is_left_to_retry() {
    let (near, mut far) = tokio::io::duplex(64);
    let options = ConnectOptions::new().reply_timeout(None);
    let (channel, subchannel) = open::<LengthPrefixed>(options);
    let driver = tokio::spawn(Driver::attach(&subchannel, Connection::over(near)).run());
    let mut call = pin!(channel.reply_to_bytes(false, b"x"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    far.read_exact(&mut [0; 5]).await.expect("a request");
    let mut answer = Vec::new();
    let rejection = Rejection::new(RejectionKind::Error, "no such account");
    assert!(LengthPrefixed.reject(&mut answer, &rejection));
    far.write_all(&answer).await.expect("it is open");
    drop(far);
    driver.await.expect("no panic");
    let past = Some(Instant::now() - Duration::from_secs(1));
    let Poll::Ready(reply) = with_inherited(past, || call.poll(&mut cx)) else {
        panic!("it was answered");
    };
    let error = reply.map(drop).expect_err("it has failed");
    assert_eq!(error.execution(), Execution::Executed);
}
