use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::Semaphore,
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    super::tests::{begin_drain, open_for, poll_until_it_waits},
    *,
};
use crate::{
    Rejection, RejectionKind, Response,
    format::Plain,
    framing::{Lines, Multiplexed},
    protocol::Context,
    server::{
        Concurrent, registry::Registry, report::RequestCounts, settings::Settings, time::Limit,
    },
};

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

/// A protocol whose functions wait until the gate is closed. A request for a reply gets the last one, and any other a
/// final rejection.
struct Closes(Arc<Semaphore>);

impl ServerProtocol for Closes {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Response<String>;

    const CONCURRENT: Option<Concurrency> = Some(Concurrency::unordered(2));

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _: Context<'_, ()>,
        request: &str,
    ) -> Result<Response<String>, Rejection> {
        self.0.acquire().await.expect_err("it is only closed");
        match request {
            "reply" => Ok(Response::ReplyAndClose("last".to_owned())),
            _ => Err(Rejection::new(RejectionKind::GoingAway, "")),
        }
    }
}

#[tokio::test]
async fn final_rejection_that_cannot_be_sent_loses_no_last_reply() {
    for requests in ["reply\nrejection\n", "rejection\nreply\n"] {
        let (registry, gate) = (
            Settings::new::<Concurrent>().registry(),
            Arc::new(Semaphore::new(0)),
        );
        let (near, mut peer) = duplex(1 << 10);
        let mut connection = open_for(Closes(Arc::clone(&gate)), &registry, near, None);
        let serving = async {
            connection.serve().await;
            drop(connection);
        };
        let talking = async {
            let sent = peer.write_all(requests.as_bytes()).await;
            sent.expect("there is room");
            while registry.stats().requests.received < 2 {
                yield_now().await;
            }
            gate.close();
            let mut told = String::new();
            let read = peer.read_to_string(&mut told).await;
            read.expect("a pipe in memory");
            drop(peer);
            told
        };
        let ((), told) = tokio::join!(serving, talking);
        assert_eq!(told, "last\n", "{requests}");
        let counts = registry.report().requests;
        let unserved = counts.failed + counts.rejected;
        assert_eq!((counts.served, unserved), (1, 1), "{requests}");
    }
}
