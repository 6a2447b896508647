use std::{
    future::pending,
    io,
    panic::panic_any,
    pin::Pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context as TaskContext, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
        duplex, join, sink,
    },
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{super::settings::Settings, memory::wait_for_memory, *};
use crate::{
    Peer, Rejection, RejectionKind,
    buffer::{ReadAhead, ReadBuffer},
    format::Plain,
    framing::{LengthPrefixed, Multiplexed},
    protocol::{Concurrency, Context, Receives, Streams},
    server::{Concurrent, registry::Registry, report::RequestCounts, time::Limit},
    transport::Stream,
};

/// Keeps this many bytes while it waits.
struct Keeps<const N: usize>;

impl<const N: usize> ServerProtocol for Keeps<N> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = usize;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(&self, _: Context<'_, ()>, (): ()) -> Result<usize, Rejection> {
        let block = [0_u8; N];
        yield_now().await;
        Ok(block.len())
    }
}

/// Opens a connection of a concurrent server, as if it were accepted with `permit`.
fn open<const N: usize>(
    registry: &Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    permit: Option<OwnedSemaphorePermit>,
) -> Connection<Keeps<N>> {
    open_for(Keeps::<N>, registry, stream, permit)
}

fn open_for<P: ServerProtocol>(
    protocol: P,
    registry: &Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    permit: Option<OwnedSemaphorePermit>,
) -> Connection<P> {
    let settings = Settings::new::<Concurrent>();
    open_with(&settings, protocol, registry, stream, permit)
}

fn open_with<P: ServerProtocol>(
    settings: &Settings,
    protocol: P,
    registry: &Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    permit: Option<OwnedSemaphorePermit>,
) -> Connection<P> {
    let mut new = NewConnection::register(registry, Stream::new(stream), Peer::unnamed(), None);
    new.permit = permit;
    let shared = Arc::new(Shared::new(protocol, settings, false));
    Connection::open(shared, new)
}

fn registry() -> Arc<Registry> {
    Settings::new::<Concurrent>().registry()
}

/// An input without bytes. When it is closed, it notes what its connection still holds.
struct Socket {
    registry: Arc<Registry>,
    permits: Arc<Semaphore>,
    closed: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Held {
    open_connections: u64,
    free_permits: usize,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let held = Held {
            open_connections: self.registry.stats().connections.open,
            free_permits: self.permits.available_permits(),
        };
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }
}

#[tokio::test]
async fn socket_is_closed_before_the_connection_ends_and_its_permit_is_free() {
    let registry = registry();
    let permits = Arc::new(Semaphore::new(1));
    let closed = Arc::<Mutex<_>>::default();
    let socket = Socket {
        registry: Arc::clone(&registry),
        permits: Arc::clone(&permits),
        closed: Arc::clone(&closed),
    };
    let permit = Arc::clone(&permits).try_acquire_owned().ok();
    let mut connection = open::<0>(&registry, join(socket, sink()), permit);
    connection.serve().await;
    drop(connection);
    let held = closed.lock().unwrap_or_else(PoisonError::into_inner).take();
    let expected = Held {
        open_connections: 1,
        free_permits: 0,
    };
    assert_eq!(held, Some(expected));
    assert_eq!(registry.report().connections.closed, 1);
    assert_eq!(permits.available_permits(), 1);
}

/// An input without bytes. The server stops whenever it is read.
struct Stops {
    registry: Arc<Registry>,
    stop: fn(&Registry),
}

impl AsyncRead for Stops {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        (self.stop)(&self.registry);
        Poll::Pending
    }
}

fn begin_drain(registry: &Registry) {
    let drain = pin!(registry.drain(pending::<()>()));
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(drain.poll(&mut cx).is_pending());
}

#[tokio::test(start_paused = true)]
async fn stop_before_the_waker_is_set_is_reported_to_an_idle_peer() {
    for stop in [begin_drain, Registry::abort] {
        let registry = registry();
        let (out, mut peer) = duplex(1 << 10);
        let stops = Stops {
            registry: Arc::clone(&registry),
            stop,
        };
        let mut connection = open::<0>(&registry, join(stops, out), None);
        // Nothing sweeps, so only the connection itself can notice.
        let served = timeout(Duration::from_mins(1), connection.serve());
        served.await.expect("it ends");
        drop(connection);
        let mut told = Vec::new();
        peer.read_to_end(&mut told).await.expect("a pipe in memory");
        assert!(told.ends_with(b"the server is stopping"), "{told:?}");
    }
}

/// An input that is chosen to be evicted when its request arrives.
struct Late {
    registry: Arc<Registry>,
    reads: u32,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        match self.reads {
            1 => cx.waker().wake_by_ref(),
            2 => {
                assert!(self.registry.evict_longest_idle());
                buffer.put_slice(b"\0\0\0\0");
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_receives_a_request_is_not_evicted() {
    let registry = registry();
    let late = Late {
        registry: Arc::clone(&registry),
        reads: 0,
    };
    let mut connection = open::<0>(&registry, join(late, sink()), None);
    // Nothing sweeps, so it waits for the next request without end.
    let served = timeout(Duration::from_mins(1), connection.serve()).await;
    assert!(served.is_err());
    drop(connection);
    assert_eq!(registry.report().requests.served, 1);
}

/// An input of two reads that never ends.
struct Reads([&'static [u8]; 2]);

impl AsyncRead for Reads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let [next, last] = self.0;
        if next.is_empty() {
            return Poll::Pending;
        }
        self.0 = [last, b""];
        buffer.put_slice(next);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_lingers_holds_no_buffers() {
    // A request, and a control frame that clients do not send. The rest is read while the function waits.
    let reads = Reads([b"\0\0\0\0\x80\0\0\x01\x01", b"read ahead"]);
    let registry = registry();
    let mut connection = open::<0>(&registry, join(reads, sink()), None);
    // Nothing sweeps, so it lingers without end.
    let served = timeout(Duration::from_mins(1), connection.serve()).await;
    assert!(served.is_err());
    assert!(connection.buffers.is_released());
    drop(connection);
    assert_eq!(registry.report().requests.served, 1);
}

/// Panics at the first chunk of its request.
struct PanicsAtChunk;

impl Receives for PanicsAtChunk {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

impl ServerProtocol for PanicsAtChunk {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = ();

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(&self, context: Context<'_, ()>, (): ()) -> Result<(), Rejection> {
        let mut more = context.info.requests::<Self>();
        let chunk = more.next().await.map(|chunk| chunk.map(str::to_owned));
        panic_any(format!("{chunk:?}"));
    }
}

/// Returns the answer to a peer that sends the last byte of a chunk this late.
async fn told_after(late: Duration) -> String {
    let (registry, (near, mut peer)) = (registry(), duplex(1 << 10));
    let mut connection = open_for(PanicsAtChunk, &registry, near, None);
    let serving = async move {
        connection.serve().await;
        drop(connection);
    };
    let talking = async {
        let request = b"\0\0\0\0\x80\0\0\x05\x83\0\0\0\x01\0\0\0\x02b";
        peer.write_all(request).await.expect("there is room");
        sleep(late).await;
        // The connection may be closed.
        peer.write_all(b"c").await.ok();
        peer.shutdown().await.ok();
        let mut told = Vec::new();
        peer.read_to_end(&mut told).await.expect("a pipe in memory");
        String::from_utf8_lossy(&told).into_owned()
    };
    let ended = registry.sweeping(async { tokio::join!(biased; serving, talking) });
    ended.await.1
}

#[tokio::test(start_paused = true)]
async fn panic_at_a_chunk_that_arrives_with_the_end_of_its_time_is_answered() {
    let limit = Settings::new::<Concurrent>()
        .limits
        .frame_timeout
        .as_duration();
    // Between them is the time at which the clock that all connections share comes to the end.
    let (mut in_time, mut late) = (0, 500);
    while late - in_time > 1 {
        let middle = u64::midpoint(in_time, late);
        let told = told_after(limit + Duration::from_millis(middle)).await;
        if told.contains("the chunk was not complete") {
            late = middle;
        } else {
            assert!(told.contains("the function panicked"), "{told}");
            in_time = middle;
        }
    }
    assert!(in_time > 0 && late < 500);
}

#[tokio::test(start_paused = true)]
async fn frame_that_waits_for_memory_has_a_second_in_a_drain() {
    let registry = registry();
    let stream = Stream::new(join(tokio::io::empty(), sink()));
    let mut io = Io::new::<Keeps<0>>(stream, None, registry.register());
    let mut read = ReadBuffer::default();
    let mut cx = TaskContext::from_waker(Waker::noop());
    let begun = read.poll_read(&mut ReadAhead::default(), &mut cx, &mut &b"\0\x10"[..]);
    assert!(begun.is_ready());
    let mut waiting = pin!(wait_for_memory(&mut io, &read, pending::<()>()));
    let mut count = 0;
    let counted = poll_fn(|cx| {
        count += 1;
        assert!(count < 100, "it wakes itself");
        waiting.as_mut().poll(cx)
    });
    let start = Instant::now();
    let ended = registry.sweeping(async {
        tokio::select! {
            biased;
            ended = counted => ended,
            _ = registry.drain(pending::<()>()) => panic!("the connection is open"),
        }
    });
    let ended = ended.await;
    assert!(matches!(ended, Err(WaitEnd::Draining)));
    let passed = start.elapsed().as_millis();
    assert!((1_000..1_500).contains(&passed), "{passed}");
}

/// A protocol whose functions wait until `gate` is closed, 10 at a time.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    /// How often a function was polled.
    polls: Arc<AtomicUsize>,
}

impl Gated {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            polls: Arc::default(),
        }
    }
}

impl ServerProtocol for Gated {
    type Framing = Multiplexed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = ();

    const CONCURRENT: Option<Concurrency> = Some(Concurrency::unordered(10));

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(&self, _: Context<'_, ()>, (): ()) -> Result<(), Rejection> {
        let mut closed = pin!(self.gate.acquire());
        poll_fn(|cx| {
            self.polls.fetch_add(1, Relaxed);
            closed.as_mut().poll(cx).map(|_| Ok(()))
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn functions_side_by_side_share_the_budget_of_a_poll() {
    let mut settings = Settings::new::<Concurrent>();
    settings.limits.poll_nanos = 0;
    let (registry, protocol) = (settings.registry(), Gated::new());
    let (near, mut peer) = duplex(1 << 10);
    let mut connection = open_for(protocol.clone(), &registry, near, None);
    let mut serving = pin!(connection.serve());
    let mut most = 0;
    let serving = poll_fn(|cx| {
        let before = protocol.polls.load(Relaxed);
        let served = serving.as_mut().poll(cx);
        most = most.max(protocol.polls.load(Relaxed) - before);
        served
    });
    let talking = async {
        for id in 1..=30 {
            let request = [0, 0, 0, 0, 0, 0, 0, id];
            peer.write_all(&request).await.expect("there is room");
        }
        while registry.stats().requests.received < 30 {
            yield_now().await;
        }
        // 10 functions wait, and 20 requests.
        protocol.gate.close();
        let mut replies = [0; 30 * 8];
        peer.read_exact(&mut replies).await.expect("30 replies");
        drop(peer);
    };
    let ended = timeout(Duration::from_mins(1), async {
        tokio::join!(serving, talking)
    });
    ended.await.expect("it ends");
    // A lone one reads no clock.
    assert!(most <= 2, "{most} polled at once");
}

/// Serves a peer that sends a request, whose function waits until the peer has ended, and the beginning of another. Then
/// returns the requests of the report.
async fn requests_after(
    registry: &Arc<Registry>,
    begin: impl AsyncFnOnce(&mut DuplexStream),
) -> RequestCounts {
    let (protocol, (near, mut peer)) = (Gated::new(), duplex(1 << 10));
    let mut connection = open_for(protocol.clone(), registry, near, None);
    let serving = async {
        connection.serve().await;
        drop(connection);
    };
    let talking = async {
        let bytes = b"\0\0\0\0\0\0\0\x01\0\0";
        peer.write_all(bytes).await.expect("there is room");
        while registry.stats().requests.received < 1 {
            yield_now().await;
        }
        begin(&mut peer).await;
        protocol.gate.close();
        peer.shutdown().await.ok();
        let mut told = Vec::new();
        peer.read_to_end(&mut told).await.expect("a pipe in memory");
    };
    registry
        .sweeping(async { tokio::join!(serving, talking) })
        .await;
    registry.report().requests
}

#[tokio::test(start_paused = true)]
async fn bad_frame_is_counted_once_when_its_time_is_over() {
    let mut settings = Settings::new::<Concurrent>();
    settings.limits.frame_timeout = Limit::from_secs(5);
    let registry = settings.registry();
    let requests = requests_after(&registry, async |peer| {
        begin_drain(&registry);
        // The rest is taken when the time of the frame is over, and is not a frame: its id is 0.
        peer.write_all(&[0; 6]).await.expect("there is room");
        sleep(Duration::from_secs(10)).await;
    });
    let requests = requests.await;
    assert_eq!((requests.received, requests.aborted), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn frame_beside_functions_has_its_time_once() {
    let mut settings = Settings::new::<Concurrent>();
    settings.limits.frame_timeout = Limit::from_secs(10);
    let registry = settings.registry();
    let requests = requests_after(&registry, async |peer| {
        sleep(Duration::from_secs(8)).await;
        peer.write_all(b"\0").await.expect("there is room");
        assert_eq!(registry.stats().requests.received, 1);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(registry.stats().requests.received, 2, "it is given up");
    });
    let requests = requests.await;
    assert_eq!((requests.received, requests.aborted), (2, 0));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Polls a connection until it does not wake itself.
async fn poll_until_it_waits(mut serving: Pin<&mut impl Future>) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = TaskContext::from_waker(&waker);
    let mut polls = 0;
    while polls == 0 || woken.0.swap(0, Relaxed) > 0 {
        assert!(serving.as_mut().poll(&mut cx).is_pending());
        polls += 1;
        assert!(polls < 100, "it wakes itself");
        // What has yielded is woken.
        yield_now().await;
    }
}

#[tokio::test]
async fn frame_without_memory_is_given_up_beside_functions() {
    let mut settings = Settings::new::<Concurrent>();
    settings.memory_budget = Some(1 << 20);
    let (registry, protocol) = (settings.registry(), Gated::new());
    let (near, mut peer) = duplex(1 << 10);
    let mut connection = open_for(protocol.clone(), &registry, near, None);
    // As a function leaves it that has received long chunks: a request, and the beginning of another.
    let mut bytes = b"\0\0\0\0\0\0\0\x01\0\x04\0\0\0\0\0\x02".to_vec();
    bytes.resize(200 * 1024, 0);
    let moved = connection.buffers.checkout().ahead.prepend(&bytes, false);
    moved.expect("there is memory");
    let memory = Arc::clone(connection.io.registration.memory());
    let _held = memory.try_reserve(1 << 20).expect("it is free");
    let mut serving = pin!(connection.serve());
    for _ in 0..2 {
        poll_until_it_waits(serving.as_mut()).await;
        protocol.gate.close();
    }
    let mut told = vec![0; 1 << 10];
    let length = peer.read(&mut told).await.expect("a pipe in memory");
    let told = told.get(..length).expect("it is shorter");
    let reply = b"\0\0\0\0\0\0\0\x01";
    assert!(told.starts_with(reply), "{told:?}");
    let told = String::from_utf8_lossy(told);
    assert!(told.contains("memory_budget"), "{told}");
}

#[tokio::test]
async fn rejection_of_a_frame_without_memory_has_no_id_of_a_request() {
    let mut settings = Settings::new::<Concurrent>();
    settings.memory_budget = Some(1 << 20);
    let (registry, protocol) = (settings.registry(), Gated::new());
    let (near, mut peer) = duplex(1 << 20);
    protocol.gate.close();
    let mut connection = open_for(protocol, &registry, near, None);
    let memory = Arc::clone(connection.io.registration.memory());
    let _held = memory.try_reserve(1 << 20).expect("it is free");
    let mut serving = pin!(connection.serve());
    let mut bytes = b"\0\0\0\0\0\0\0\x05".to_vec();
    peer.write_all(&bytes).await.expect("there is room");
    poll_until_it_waits(serving.as_mut()).await;
    bytes = b"\0\x04\0\0\0\0\0\x06".to_vec();
    bytes.resize(200 * 1024, 0);
    peer.write_all(&bytes).await.expect("there is room");
    poll_until_it_waits(serving.as_mut()).await;
    registry.sweep_at(100_000);
    poll_until_it_waits(serving).await;
    let mut told = vec![0; 1 << 10];
    let length = peer.read(&mut told).await.expect("a pipe in memory");
    let (reply, busy) = told.get(..length).expect("it is shorter").split_at(8);
    assert_eq!(reply, b"\0\0\0\0\0\0\0\x05");
    assert_eq!(
        (busy.get(4..8), busy.get(8)),
        (Some(&[0; 4][..]), Some(&RejectionKind::Busy.code())),
        "{busy:?}"
    );
}

/// Sends more items than the first credit is for. Its requests are processed at the same time, or one after the other.
struct Items<const AT_ONCE: bool>;

impl<const AT_ONCE: bool> Streams for Items<AT_ONCE> {
    type Format = Plain;
    type Item<'a> = &'a str;
}

impl<const AT_ONCE: bool> ServerProtocol for Items<AT_ONCE> {
    type Framing = Multiplexed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = &'static str;

    const CONCURRENT: Option<Concurrency> = if AT_ONCE {
        Some(Concurrency::unordered(1))
    } else {
        None
    };

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        (): (),
    ) -> Result<&'static str, Rejection> {
        let mut out = context.info.replies::<Self>();
        let item = "i".repeat(1_016);
        for _ in 0..300 {
            let sent = out.send(item.as_str()).await;
            sent.map_err(|error| Rejection::error(error.to_string()))?;
        }
        Ok("end")
    }
}

/// Credit for all items.
const CREDIT: &[u8] = b"\x80\0\0\x05\0\0\0\x01\x86\0\x10\0\0";

/// Returns the answer to the peer of a stream when `late` has arrived before the connection runs again.
async fn told_with_late_bytes<const AT_ONCE: bool>(
    settings: &Settings,
    late: &[u8],
    seconds: u64,
) -> String {
    let (registry, (near, mut peer)) = (settings.registry(), duplex(1 << 20));
    let mut connection = open_with(settings, Items::<AT_ONCE>, &registry, near, None);
    let mut serving = pin!(connection.serve());
    let request = b"\0\0\0\0\0\0\0\x01";
    peer.write_all(request).await.expect("there is room");
    poll_until_it_waits(serving.as_mut()).await;
    peer.write_all(late).await.expect("there is room");
    registry.sweep_at(seconds * 1_000);
    poll_until_it_waits(serving).await;
    let mut told = vec![0; 1 << 20];
    let length = peer.read(&mut told).await.expect("a pipe in memory");
    told.truncate(length);
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn credit_that_is_there_at_the_end_of_its_time_counts() {
    let settings = Settings::new::<Concurrent>();
    for told in [
        told_with_late_bytes::<true>(&settings, CREDIT, 60).await,
        told_with_late_bytes::<false>(&settings, CREDIT, 60).await,
    ] {
        assert!(told.ends_with("end"), "{:?}", told.get(told.len() - 80..));
    }
    for told in [
        told_with_late_bytes::<true>(&settings, b"", 60).await,
        told_with_late_bytes::<false>(&settings, b"", 60).await,
    ] {
        assert!(told.ends_with("(`write_timeout`)"));
    }
}

#[tokio::test]
async fn time_of_a_function_is_over_when_it_has_returned_and_credit_that_is_there_counts() {
    let mut settings = Settings::new::<Concurrent>();
    settings.limits.request_timeout = Limit::from_secs(10);
    // In sequence, the function waits for the credit. Beside others, it has returned.
    for told in [
        told_with_late_bytes::<true>(&settings, CREDIT, 20).await,
        told_with_late_bytes::<false>(&settings, CREDIT, 20).await,
    ] {
        assert!(told.ends_with("end"), "{:?}", told.get(told.len() - 80..));
    }
    let told = told_with_late_bytes::<true>(&settings, b"", 20).await;
    assert!(told.ends_with('i'), "its items wait for credit");
    let told = told_with_late_bytes::<false>(&settings, b"", 20).await;
    assert!(told.ends_with("(`request_timeout`)"));
}

#[tokio::test]
async fn request_that_looks_like_another_protocol_does_not_end_the_wait_for_credit() {
    let mut settings = Settings::new::<Concurrent>();
    // With this limit, the text is the length of a message to skip.
    settings.limits.max_frame_len = 512 << 20;
    let told = told_with_late_bytes::<false>(&settings, b"GET / HTTP/1.1\r\n", 1).await;
    assert!(told.ends_with('i'), "its items wait for credit");
}

/// Takes a block of 10 bytes, and waits after each piece until the semaphore is closed.
struct TakesBlock(Arc<Semaphore>);

impl Receives for TakesBlock {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

impl ServerProtocol for TakesBlock {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = usize;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(&self, context: Context<'_, ()>, (): ()) -> Result<usize, Rejection> {
        let mut more = context.info.requests::<Self>();
        let (mut body, mut length) = (more.exactly(10), 0);
        while let Ok(Some(piece)) = body.next().await {
            length += piece.len();
            self.0.acquire().await.expect_err("it has no permits");
        }
        Ok(length)
    }
}

/// Returns what a peer is told that sends `parts` while the function works, and `last` once it may end.
async fn told_while_working<P: ServerProtocol>(
    protocol: impl FnOnce(Arc<Semaphore>) -> P,
    parts: &[&[u8]],
    last: &[u8],
) -> Vec<u8> {
    let (registry, (near, mut peer)) = (registry(), duplex(1 << 12));
    let gate = Arc::new(Semaphore::new(0));
    let mut connection = open_for(protocol(Arc::clone(&gate)), &registry, near, None);
    let mut serving = pin!(connection.serve());
    for bytes in parts {
        peer.write_all(bytes).await.expect("there is room");
        poll_until_it_waits(serving.as_mut()).await;
    }
    gate.close();
    peer.write_all(last).await.expect("there is room");
    poll_until_it_waits(serving).await;
    let mut told = vec![0; 1 << 10];
    let length = peer.read(&mut told).await.expect("a pipe in memory");
    told.truncate(length);
    told
}

#[tokio::test]
async fn rest_of_a_block_that_looks_like_a_notice_cancels_nothing() {
    let parts = [&b"\0\0\0\x0012345"[..], b"\x80\0\0\x01\x87"];
    let told = told_while_working(TakesBlock, &parts, b"").await;
    assert_eq!(&told, b"\0\0\0\x0210");
}

/// Takes chunks up to their end, and waits after each batch until the semaphore is closed.
struct TakesChunks(Arc<Semaphore>);

impl Receives for TakesChunks {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

impl ServerProtocol for TakesChunks {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        request: &str,
    ) -> Result<String, Rejection> {
        let mut taken = request.to_owned();
        let mut more = context.info.requests::<Self>();
        while let Ok(Some(chunk)) = more.next().await {
            taken.push_str(chunk);
            self.0.acquire().await.expect_err("it has no permits");
        }
        Ok(taken)
    }
}

#[tokio::test]
async fn chunks_that_arrive_while_the_function_works_are_no_requests() {
    const END: &[u8] = b"\x80\0\0\x01\x84";
    let one = b"\0\0\0\x01r\x80\0\0\x05\x83\0\0\0\x01\0\0\0\x01a\x80\0\0\x05\x83\0\0\0\x01\0\0";
    let told = told_while_working(TakesChunks, &[one, b"\0\x01b"], END).await;
    assert_eq!(told.escape_ascii().to_string(), r"\x00\x00\x00\x03rab");
    // More of them than a function gets at once.
    let many = [
        b"\0\0\0\x01r\x80\0\0\x05\x83\0\0\x01\x02",
        &b"\0\0\0\0".repeat(257)[..],
    ]
    .concat();
    let told = told_while_working(TakesChunks, &[&many, b"\0\0\0\x01", b"b"], END).await;
    assert_eq!(told.escape_ascii().to_string(), r"\x00\x00\x00\x02rb");
}

fn task_size<const N: usize>() -> usize {
    let stream = join(tokio::io::empty(), sink());
    size_of_val(&open::<N>(&registry(), stream, None).serve())
}

#[test]
fn task_has_room_for_the_future_of_its_function_once() {
    let more = task_size::<110_000>() - task_size::<100_000>();
    assert!(more < 11_000, "{more}");
}
