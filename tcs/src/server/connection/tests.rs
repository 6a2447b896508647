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
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex, join, sink,
    },
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use super::{super::settings::Settings, memory::wait_for_memory, *};
use crate::{
    Peer, Rejection, RejectionKind,
    buffer::{ReadAhead, ReadBuffer},
    format::Plain,
    framing::{LengthPrefixed, Multiplexed},
    protocol::{Concurrency, Context, Receives, Streams},
    server::{Concurrent, registry::Registry, time::Limit},
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

pub(super) fn open_for<P: ServerProtocol>(
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

pub(super) fn begin_drain(registry: &Registry) {
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
    let mut io = Io::new::<Keeps<0>>(stream, None, registry.register(), None);
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
    assert!(
        matches!(ended, Err(Interrupt::Rejected(rejection)) if rejection.kind() == RejectionKind::GoingAway)
    );
    let passed = start.elapsed().as_millis();
    assert!((1_000..1_500).contains(&passed), "{passed}");
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
pub(super) async fn poll_until_it_waits(mut serving: Pin<&mut impl Future>) {
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
