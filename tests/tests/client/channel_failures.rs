//! What ends a channel is told to every call, with whether it can have been executed.

use std::{
    fmt, io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tcs::{
    Channel, Connection, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    framing::{LengthPrefixed, Multiplexed},
    testing::FaultyStream,
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::{chain, events, hears, told},
    control, frame, memory,
    script::{expects, resets, serve},
    within,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Moves a paused clock on, from timer to timer.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test]
async fn final_rejection_leaves_all_open_calls_unexecuted() {
    let (channel, mut peer) = memory::channel(64);
    let long = "x".repeat(60);
    let calls = ["one", "two", &long, "not sent"].map(|request| call(&channel, request));
    settle().await;
    within(peer.send([frame(b"1"), control(0x40, "stopping")].concat())).await;
    let [first, others @ ..] = calls;
    assert_eq!(first.reply().await, "1");
    for other in others {
        let rejected = (ErrorKind::Rejected, Execution::NotExecuted);
        assert_eq!(told(&other.error().await), rejected);
    }
    let error = call(&channel, "later").error().await;
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    assert_eq!(
        chain(&error),
        ["unnamed peer ended the connection", "going away: stopping"]
    );
}

#[tokio::test]
async fn calls_open_when_the_server_closes_tell_whether_they_were_sent() {
    let (channel, mut peer) = memory::channel(64);
    // 44 bytes each: the second is sent in part, the third not at all.
    let request = "x".repeat(40);
    let [first, second, third] = [(); 3].map(|()| call(&channel, &request));
    settle().await;
    // This one the driver has not even taken.
    let fourth = call(&channel, "four");
    settle().await;
    within(peer.send(frame(b"1"))).await;
    drop(peer);
    assert_eq!(first.reply().await, "1");
    assert_eq!(told(&second.error().await).1, Execution::Unknown);
    assert_eq!(told(&third.error().await).1, Execution::NotSent);
    assert_eq!(told(&fourth.error().await).1, Execution::NotSent);
    let error = call(&channel, "later").error().await;
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
    assert_eq!(
        error.to_string(),
        "unnamed peer closed the connection before the request was sent"
    );
}

#[tokio::test]
async fn reset_is_told_to_all_open_calls() {
    let (addr, server) = serve([expects(frame("one")), expects(frame("two")), resets()]).await;
    let connection = within(Connection::connect(addr)).await.expect("it listens");
    let channel = connection.into_channel().expect("it is open");
    for call in [call(&channel, "one"), call(&channel, "two")] {
        let error = call.error().await;
        assert_eq!(
            (error.kind(), error.execution(), error.peer_addr()),
            (ErrorKind::Io, Execution::Unknown, Some(addr))
        );
        assert!(error.to_string().starts_with("cannot receive from"));
    }
    let error = call(&channel, "later").error().await;
    assert_eq!(error.execution(), Execution::NotSent);
    server.finished().await;
}

#[tokio::test]
async fn what_the_server_said_before_a_request_could_not_be_sent_is_heard() {
    for (said, expected) in [
        (
            control(0x43, "too large"),
            (ErrorKind::Rejected, Execution::NotExecuted),
        ),
        (Vec::new(), (ErrorKind::Closed, Execution::Unknown)),
    ] {
        let (channel, mut peer) = memory::channel(64);
        let large = call(&channel, &"x".repeat(100_000));
        within(peer.receive(4)).await;
        within(peer.send(said)).await;
        drop(peer);
        assert_eq!(told(&large.error().await), expected);
    }
}

#[tokio::test]
async fn bytes_that_are_no_frame_fail_all_open_calls() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let calls = ["one", "two"].map(|request| call(&channel, request));
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    within(peer.send([frame(b"1"), b"\xff\xff\xff\xff".to_vec()].concat())).await;
    let [first, second] = calls;
    assert_eq!(first.reply().await, "1");
    let malformed = (ErrorKind::Reply, Execution::Unknown);
    assert_eq!(told(&second.error().await), malformed);
    let broken = (ErrorKind::Broken, Execution::NotSent);
    assert_eq!(told(&call(&channel, "later").error().await), broken);
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test(start_paused = true)]
async fn late_call_ends_alone_while_the_server_replies_to_others() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let quick = call(&channel, "quick");
    let began = tokio::time::Instant::now();
    let (first, slow) = (call(&channel, "first"), call(&channel, "slow"));
    for request in ["quick", "first", "slow"] {
        hears(&mut peer, request).await;
    }
    pass(Duration::from_secs(5)).await;
    within(peer.send(frame(b"0"))).await;
    assert_eq!(quick.reply().await, "0");
    let later = call(&channel, "later");
    hears(&mut peer, "later").await;
    for late in [first, slow] {
        let error = late.error().await;
        assert_eq!(
            (error.kind(), error.execution(), error.to_string().as_str()),
            (
                ErrorKind::TimedOut,
                Execution::Unknown,
                "no reply from unnamed peer within 8s (`reply_timeout`)"
            )
        );
        // Not early, and at most an eighth late.
        assert!((8..=9).contains(&began.elapsed().as_secs()));
    }
    // Their replies are still to come, and reach nobody.
    let last = call(&channel, "last");
    hears(&mut peer, "last").await;
    let replies = [b"1", b"2", b"3", b"4"].map(frame);
    within(peer.send(replies.concat())).await;
    assert_eq!(later.reply().await, "3");
    assert_eq!(last.reply().await, "4");
}

#[tokio::test(start_paused = true)]
async fn short_timeout_ends_at_most_an_eighth_or_two_milliseconds_late() {
    for micros in [
        1_000, 1_900, 2_000, 3_000, 5_000, 7_000, 8_000, 12_000, 15_000, 100_000,
    ] {
        let limit = Duration::from_micros(micros);
        let options = ConnectOptions::new().reply_timeout(limit);
        let (channel, _peer) = memory::channel_with(&options, 1 << 10);
        let began = tokio::time::Instant::now();
        let error = call(&channel, "one").error().await;
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let passed = began.elapsed();
        let latest = limit + (limit / 8).max(Duration::from_millis(2));
        // Timers are rounded up to milliseconds.
        let latest = latest + Duration::from_micros(999);
        assert!(
            (limit..=latest).contains(&passed),
            "{passed:?} instead of {limit:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn silent_server_is_taken_for_dead() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 64);
    let began = tokio::time::Instant::now();
    // Nothing arrives for the whole time of the first.
    let long = "x".repeat(100);
    let calls = ["one", &long, "not sent"].map(|request| call(&channel, request));
    hears(&mut peer, "one").await;
    let expected = [
        (ErrorKind::TimedOut, Execution::Unknown),
        (ErrorKind::TimedOut, Execution::Unknown),
        (ErrorKind::TimedOut, Execution::NotSent),
    ];
    for (call, expected) in calls.into_iter().zip(expected) {
        assert_eq!(told(&call.error().await), expected);
        assert!((8..=9).contains(&began.elapsed().as_secs()));
    }
    let error = call(&channel, "later").error().await;
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: an earlier exchange timed out"
    );
}

#[tokio::test(start_paused = true)]
async fn call_behind_a_request_that_is_never_read_does_not_wait_for_ever() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 64);
    let first = call(&channel, &"x".repeat(100));
    settle().await;
    // The server does not wait for the end of the request, and never reads again.
    within(peer.send(frame(b"early"))).await;
    assert_eq!(first.reply().await, "early");
    pass(Duration::from_secs(3)).await;
    let began = tokio::time::Instant::now();
    let behind = told(&call(&channel, "behind").error().await);
    assert_eq!(behind, (ErrorKind::TimedOut, Execution::NotSent));
    assert!((8..=9).contains(&began.elapsed().as_secs()));
    // Nor does it live on when nobody needs it any more.
    drop(channel);
    pass(Duration::from_secs(20)).await;
    assert!(within(peer.rest()).await.len() <= 64);
}

#[tokio::test(start_paused = true)]
async fn channel_whose_request_is_never_read_ends_with_its_last_clone() {
    let (channel, mut peer) = memory::channel(64);
    let first = call(&channel, &"x".repeat(100));
    settle().await;
    within(peer.send(frame(b"early"))).await;
    assert_eq!(first.reply().await, "early");
    // Long enough for the timer to stop.
    pass(Duration::from_secs(20)).await;
    drop(channel);
    settle().await;
    assert!(within(peer.rest()).await.len() <= 64);
}

#[tokio::test(start_paused = true)]
async fn idle_channel_stays_open_and_its_next_call_has_all_its_time() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    for _ in 0..3 {
        let one = call(&channel, "one");
        hears(&mut peer, "one").await;
        pass(Duration::from_secs(7)).await;
        within(peer.send(frame(b"1"))).await;
        assert_eq!(one.reply().await, "1");
        pass(Duration::from_hours(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_channel_is_woken_by_no_timer() {
    let (channel, mut peer, writes) = memory::counted_channel(&ConnectOptions::new(), 1 << 10);
    let one = call(&channel, "one");
    hears(&mut peer, "one").await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(one.reply().await, "1");
    // Long enough for the timer to stop.
    pass(Duration::from_mins(1)).await;
    let reads = writes.reads();
    pass(Duration::from_hours(1)).await;
    assert_eq!(writes.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn no_timeout_waits_without_end() {
    let options = ConnectOptions::new().reply_timeout(None);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let one = call(&channel, "one");
    hears(&mut peer, "one").await;
    pass(Duration::from_hours(1)).await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(one.reply().await, "1");
}

#[test]
fn runtime_that_ends_fails_all_calls() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let (near, far) = tokio::io::duplex(1 << 10);
    let other = runtime();
    let channel = other.block_on(async {
        let connection = Connection::<LengthPrefixed>::over(near);
        connection.into_channel().expect("a runtime")
    });
    runtime().block_on(async {
        let mut peer = RawPeer::over(far);
        let open = call(&channel, "one");
        hears(&mut peer, "one").await;
        other.shutdown_background();
        let error = open.error().await;
        assert_eq!(
            (error.kind(), error.execution(), error.to_string().as_str()),
            (
                ErrorKind::Broken,
                Execution::Unknown,
                "the connection to unnamed peer was lost: the task that serves it was ended"
            )
        );
        let broken = (ErrorKind::Broken, Execution::NotSent);
        assert_eq!(told(&call(&channel, "later").error().await), broken);
    });
}

#[tokio::test]
async fn broken_connection_makes_no_channel() {
    let (near, far) = tokio::io::duplex(1 << 10);
    drop(far);
    let mut connection = Connection::<LengthPrefixed>::over(near);
    within(connection.call::<Owned>("x"))
        .await
        .expect_err("nobody is there");
    let error = connection.into_channel().expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
}

#[test]
fn channel_needs_a_runtime() {
    let (near, _far) = tokio::io::duplex(8);
    let connection = Connection::<LengthPrefixed>::over(near);
    let error = connection.into_channel().expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Runtime);
}

#[test]
fn channel_with_a_reply_timeout_needs_a_clock() {
    let without_clock = tokio::runtime::Builder::new_current_thread().build();
    without_clock.expect("a runtime").block_on(async {
        let (near, mut far) = tokio::io::duplex(64);
        let connection = Connection::<LengthPrefixed>::over(near);
        let error = connection.into_channel().expect_err("it needs a clock");
        assert_eq!(told(&error), (ErrorKind::Runtime, Execution::NotSent));
        assert!(error.to_string().contains("enable_time"), "{error}");
        // The connection is closed.
        assert_eq!(far.read(&mut [0]).await.expect("it was open"), 0);

        let options = ConnectOptions::new().reply_timeout(None);
        let (near, mut far) = tokio::io::duplex(64);
        let connection = options.over::<LengthPrefixed>(near);
        let channel = connection.expect("good options").into_channel();
        let channel = channel.expect("it needs none");
        let server = async {
            far.read_exact(&mut [0; 5]).await.expect("a request");
            far.write_all(&frame("1")).await.expect("it is open");
        };
        let (reply, ()) = tokio::join!(channel.call::<Owned>("x"), server);
        assert_eq!(reply.expect("a reply"), "1");
        // With ids, cancels have a limit.
        let (near, _far) = tokio::io::duplex(64);
        let connection = options.over::<Multiplexed>(near).expect("good options");
        let error = connection.into_channel().expect_err("it needs a clock");
        assert_eq!(error.kind(), ErrorKind::Runtime);
    });
}

#[tokio::test(start_paused = true)]
async fn silence_since_a_dropped_call_is_not_told_as_the_wait_of_a_later_one() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 64);
    let dropped = call(&channel, "one");
    hears(&mut peer, "one").await;
    dropped.drop().await;
    pass(Duration::from_secs(7)).await;
    let error = call(&channel, "two").error().await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    let text = "no complete message from unnamed peer within 8s (`reply_timeout`)";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn call_that_moves_to_another_task_is_woken_there() {
    let (channel, mut peer) = memory::channel(64);
    let mut call = Box::pin(async move { channel.call::<Owned>("one").await });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    let call = tokio::spawn(call);
    hears(&mut peer, "one").await;
    settle().await;
    within(peer.send(frame(b"1"))).await;
    let reply = within(call).await.expect("no panic");
    assert_eq!(reply.expect("a reply"), "1");
}

#[tokio::test]
async fn waker_that_panics_keeps_no_other_call_from_its_reply() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let (channel, mut peer) = memory::channel(64);
    let waker = Waker::from(Arc::new(Panics));
    let mut first = pin!(channel.call::<Owned>("one"));
    let mut cx = Context::from_waker(&waker);
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let second = call(&channel, "two");
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    within(peer.send([frame(b"1"), frame(b"2")].concat())).await;
    assert_eq!(second.reply().await, "2");
    assert_eq!(within(first).await.expect("a reply"), "1");
}

/// A stream that reports, once something was written, an error whose text cannot be written.
#[derive(Debug, Default)]
struct Untold {
    reader: Option<Waker>,
    is_written: bool,
}

impl fmt::Display for Untold {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("on purpose");
    }
}

impl std::error::Error for Untold {}

impl AsyncRead for Untold {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_written {
            return Poll::Ready(Err(io::Error::other(Self::default())));
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Untold {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_written = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn error_of_a_stream_whose_text_panics_fails_all_calls() {
    let connection = Connection::<LengthPrefixed>::over(Untold::default());
    let channel = connection.into_channel().expect("a runtime");
    let calls = ["one", "two"].map(|request| call(&channel, request));
    let lost = (ErrorKind::Broken, Execution::Unknown);
    for call in calls {
        assert_eq!(told(&call.error().await), lost);
    }
}

#[tokio::test(start_paused = true)]
async fn reply_before_a_message_that_nobody_expects_does_not_wait_for_the_shutdown() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().reply_timeout(None);
    let connection = options.over::<LengthPrefixed>(FaultyStream::new(near).unclosable());
    let channel = connection.expect("good options").into_channel();
    let call = call(&channel.expect("a runtime"), "one");
    hears(&mut peer, "one").await;
    let began = tokio::time::Instant::now();
    peer.send([frame("1"), frame("2")].concat()).await;
    assert_eq!(call.reply().await, "1");
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The connection does not wait for ever, either.
    assert_eq!(within(peer.rest()).await, b"");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn call_does_not_wait_for_the_close_of_an_idle_connection() {
    let second = Duration::from_secs(1);
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let options = ChannelOptions::over(move || {
        let (near, far) = tokio::io::duplex(64);
        drop(sender.send(RawPeer::over(far)));
        async { Ok(FaultyStream::new(near).unclosable()) }
    });
    let channel: Channel = options
        .idle_timeout(8 * second)
        .connect_lazily()
        .expect("good options");
    for _ in 0..2 {
        let first = call(&channel, "one");
        let mut peer = ends.recv().await.expect("a connection");
        assert_eq!(within(peer.ask_back()).await, "one");
        assert_eq!(first.reply().await, "one");
        // The checks come every second, at most a millisecond late. It is idle at the ninth.
        pass(9 * second + second / 2).await;
        // The end is not sent yet.
        assert_eq!(channel.state().connected, 1);
        let began = tokio::time::Instant::now();
        let second = call(&channel, "two");
        let mut peer = ends.recv().await.expect("another connection");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(within(peer.ask_back()).await, "two");
        assert_eq!(second.reply().await, "two");
        drop(peer);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_channel_does_not_wait_for_ever_for_a_server_that_only_pushes() {
    let second = Duration::from_secs(1);
    let (channel, mut peer) =
        memory::channel_with(&ConnectOptions::new().reply_timeout(second), 64);
    let dropped = call(&channel, "one");
    hears(&mut peer, "one").await;
    dropped.drop().await;
    drop(channel);
    let began = tokio::time::Instant::now();
    while peer.try_send(events(&["x"])).await.is_ok() {
        assert!(began.elapsed() < 3 * second, "it is open");
        pass(second / 4).await;
    }
    assert!(began.elapsed() > second / 2, "{:?}", began.elapsed());
}
