//! A write that fails sends nothing. So a request of which no byte was sent before is *not sent*, and any other one is
//! *unknown*.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tcs::{
    Channel, Connection, ErrorKind,
    Execution::{NotSent, Unknown},
    client::ChannelOptions,
    framing::LengthPrefixed,
};
use tcs_tests::{
    RawPeer,
    channel::{Owned, call},
    frame, within,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
};

/// A stream that takes some bytes. Then its writes and flushes fail, and nothing arrives.
pub(crate) struct Failing {
    stream: DuplexStream,
    /// How many bytes it still takes.
    left: Arc<AtomicUsize>,
}

impl Failing {
    /// Returns the stream, its other end, and how many bytes it still takes.
    pub(crate) fn new(left: usize) -> (Self, DuplexStream, Arc<AtomicUsize>) {
        let (stream, far) = duplex(1 << 20);
        let left = Arc::new(AtomicUsize::new(left));
        let counter = Arc::clone(&left);
        (Self { stream, left }, far, counter)
    }

    fn check(&self) -> io::Result<usize> {
        match self.left.load(Relaxed) {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            left => Ok(left),
        }
    }
}

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Failing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.check()?;
        let bytes = &bytes[..left.min(bytes.len())];
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.left.fetch_sub(written, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check().map(drop))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests. Their frames have 5 and 6 bytes.
const REQUESTS: [&str; 2] = ["1", "22"];
const LENGTH: usize = 5 + 6;

/// Returns where the frame of each request begins.
const OFFSETS: [usize; 2] = [0, 5];

#[tokio::test(start_paused = true)]
async fn call_of_a_connection_is_not_sent_if_no_byte_of_it_was() {
    for taken in 0..=5 {
        let (near, mut far, _) = Failing::new(taken);
        let mut connection: Connection<LengthPrefixed> = Connection::over(near);
        let error = within(connection.call::<Owned>("1")).await;
        let error = error.expect_err("it was not sent");
        let expected = if taken == 0 { NotSent } else { Unknown };
        assert_eq!(error.execution(), expected, "{taken} bytes");
        drop(connection);
        assert_eq!(received(&mut far).await, frame("1")[..taken]);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_shared_connection_are_not_sent_if_no_byte_of_them_was() {
    for taken in 0..=LENGTH {
        let (near, mut far, _) = Failing::new(taken);
        let connection: Connection<LengthPrefixed> = Connection::over(near);
        let channel = connection.into_channel().expect("a runtime");
        let calls = REQUESTS.map(|request| call(&channel, request));
        for (call, offset) in calls.into_iter().zip(OFFSETS) {
            let expected = if taken <= offset { NotSent } else { Unknown };
            assert_eq!(call.error().await.execution(), expected, "{taken} bytes");
        }
        let all = REQUESTS.map(frame).concat();
        assert_eq!(received(&mut far).await, all[..taken]);
    }
}

#[tokio::test(start_paused = true)]
async fn channel_repeats_the_calls_of_which_no_byte_was_sent_and_those_that_are_idempotent() {
    for is_idempotent in [false, true] {
        for taken in 0..=LENGTH {
            let (channel, mut servers) = lasting(taken);
            let channel = if is_idempotent {
                channel.idempotent()
            } else {
                channel
            };
            let calls = REQUESTS.map(|request| call(&channel, request));
            let mut first = within(servers.recv()).await.expect("a connection");
            assert_eq!(
                received(&mut first).await,
                REQUESTS.map(frame).concat()[..taken]
            );
            let repeated = |offset: usize| is_idempotent || taken <= offset;
            if OFFSETS.into_iter().any(repeated) {
                let second = within(servers.recv()).await.expect("another connection");
                let mut second = RawPeer::over(second);
                let mut heard = Vec::new();
                for _ in OFFSETS.into_iter().filter(|offset| repeated(*offset)) {
                    heard.push(within(second.ask_back()).await);
                }
                heard.sort();
                let expected = REQUESTS.into_iter().zip(OFFSETS);
                let expected = expected.filter(|(_, offset)| repeated(*offset));
                let expected: Vec<_> = expected.map(|(request, _)| request).collect();
                assert_eq!(heard, expected, "{taken} bytes");
            }
            for ((call, request), offset) in calls.into_iter().zip(REQUESTS).zip(OFFSETS) {
                let outcome = call.outcome().await;
                if repeated(offset) {
                    assert_eq!(outcome.expect("a reply"), request, "{taken} bytes");
                } else {
                    assert_eq!(outcome.expect_err("no reply").execution(), Unknown);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_that_passes_before_a_failed_write_is_repeated_leaves_the_call_not_sent() {
    let (near, _far, _) = Failing::new(0);
    let first = Mutex::new(Some(near));
    let options = ChannelOptions::over(move || {
        let opened = first.lock().expect("no panic").take();
        async { opened.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) }
    });
    let channel: Channel = options.connect_lazily().expect("good options");
    let limit = Duration::from_millis(22);
    let error = within(channel.deadline(limit).call::<Owned>("1")).await;
    let error = error.expect_err("there is no connection");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::TimedOut, NotSent)
    );
}

/// Returns a channel, and the servers' ends of its connections. The first connection takes this many bytes.
fn lasting(taken: usize) -> (Channel, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, servers) = mpsc::unbounded_channel();
    let left = AtomicUsize::new(taken);
    let options = ChannelOptions::over(move || {
        let (near, far, _) = Failing::new(left.swap(usize::MAX, Relaxed));
        drop(sender.send(far));
        async { Ok(near) }
    });
    (options.connect_lazily().expect("good options"), servers)
}

/// Returns all that arrives, though the connection may end without the end of its stream.
pub(crate) async fn received(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut received = Vec::new();
    drop(within(stream.read_to_end(&mut received)).await);
    received
}
