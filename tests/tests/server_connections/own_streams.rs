//! What a server does with a stream of one's own that behaves in an unusual way.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tcs::{ConcurrentServer, Peer, framing::LengthPrefixed};
use tcs_tests::{
    Heard, Kind, LATE, RawPeer, code, each_kind, ended_between, ended_in_time, frame, gate,
    patiently, tester_of, with_shutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

each_kind!(
    paused:
    shutdown_that_never_ends_is_given_up,
    idle_connection_leaves_nothing_unread_when_it_closes,
    stream_that_panics_is_a_panic_of_the_server,
);
each_kind!(
    [ready_async, waiting] paused:
    stream_that_panics_while_a_function_waits_is_a_panic_of_the_server,
);

async fn shutdown_that_never_ends_is_given_up<K: Kind>() {
    let limit = Duration::from_secs(7);
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(near);
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()))
        .write_timeout(limit)
        .linger(None);
    let far = with_shutdown(far, |_, _| Poll::Pending);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let began = Instant::now();
    patiently(peer.send(frame(b"last bye"))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("bye"));
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    let report = patiently(serving).await.expect("no panic");
    ended_in_time(began, limit);
    assert_eq!(report.expect("served").connections.closed, 1);
}

/// A stream whose input arrives when the first bytes are written.
struct Late {
    input: Vec<u8>,
    has_arrived: bool,
    /// Set to how much of the input is unread, when the stream is dropped.
    unread: Arc<AtomicUsize>,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_arrived && !self.input.is_empty() {
            let count = usize::min(self.input.len(), buffer.remaining());
            buffer.put_slice(&self.input[..count]);
            self.input.drain(..count);
            return Poll::Ready(Ok(()));
        }
        // The server has limits for both waits, so nothing needs to wake it.
        Poll::Pending
    }
}

impl AsyncWrite for Late {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_arrived = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.unread.store(self.input.len(), Ordering::SeqCst);
    }
}

/// A socket that is closed with unread input is reset, which can destroy what its peer has not read yet. More
/// may follow what has arrived, so the connection lingers.
async fn idle_connection_leaves_nothing_unread_when_it_closes<K: Kind>() {
    let (idle, linger) = (Duration::from_secs(5), Duration::from_secs(2));
    for length in [1, 1_000_000] {
        let unread = Arc::new(AtomicUsize::new(usize::MAX));
        let stream = Late {
            input: vec![0; length],
            has_arrived: false,
            unread: Arc::clone(&unread),
        };
        let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()))
            .idle_timeout(idle)
            .linger(linger);
        let began = Instant::now();
        let report = patiently(server.serve_stream(stream, Peer::unnamed())).await;
        // Two waits, each of which may end late.
        ended_between(began, idle + linger, idle + linger + LATE);
        assert_eq!(unread.load(Ordering::SeqCst), 0);
        assert_eq!(report.expect("served").requests.received, 0);
    }
}

/// A stream whose input is one request. It panics when it is written to, once, or else when it is read again.
struct Panics {
    input: &'static [u8],
    in_write: bool,
}

impl AsyncRead for Panics {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.input.is_empty(), "of the stream");
        buffer.put_slice(std::mem::take(&mut self.input));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Panics {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!std::mem::take(&mut self.in_write), "of the stream");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn stream_that_panics_is_a_panic_of_the_server<K: Kind>() {
    panics::<K>(b"", false).await;
    panics::<K>(b"\0\0\0\x04text", false).await;
    panics::<K>(b"\0\0\0\x04text", true).await;
}

async fn stream_that_panics_while_a_function_waits_is_a_panic_of_the_server<K: Kind>() {
    panics::<K>(b"\0\0\0\x04wait", false).await;
}

async fn panics<K: Kind>(input: &'static [u8], in_write: bool) {
    // A second panic, as the connection closes, would hide that the first one was taken for another's.
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate())).linger(None);
    let serving = tokio::spawn(server.serve_stream(Panics { input, in_write }, Peer::unnamed()));
    let error = patiently(serving).await.expect_err("the stream panics");
    let payload = error.into_panic();
    assert_eq!(payload.downcast_ref(), Some(&"of the stream"));
}
