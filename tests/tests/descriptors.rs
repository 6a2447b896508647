//! A server that runs out of descriptors waits, without spinning, and goes on.
//!
//! This is a process of its own, because the limit is the process's.

#![cfg(unix)]

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tcs::{ConcurrentServer, framing::LengthPrefixed};
use tcs_tests::{Heard, RawPeer, frame, gate, start, tester, within};
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// Counts the errors and warnings that are logged.
#[derive(Clone, Default)]
struct Logged {
    errors: Arc<AtomicU64>,
    warnings: Arc<AtomicU64>,
}

impl Subscriber for Logged {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let count = match *event.metadata().level() {
            Level::ERROR => &self.errors,
            _ => &self.warnings,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn server_without_descriptors_waits_and_goes_on() {
    let logged = Logged::default();
    tracing::subscriber::set_global_default(logged.clone()).expect("the only one");
    let (_, hard) = rlimit::Resource::NOFILE.get().expect("a limit");
    rlimit::Resource::NOFILE
        .set(64, hard)
        .expect("lower than it was");
    let server = || ConcurrentServer::new(tester::<LengthPrefixed>(&gate()));
    for (server, warnings) in [
        (server(), 1),
        (server().max_connections(2), 1),
        (server().max_connections(10), 2),
    ] {
        start(server).await.stopped().await;
        assert_eq!(logged.warnings.load(Ordering::Relaxed), warnings);
    }
    let server = start(server().max_connections(1_000)).await;
    let mut before = server.peer().await;
    assert_eq!(within(before.ask("a")).await, Heard::message("a"));

    // Take every descriptor but the one that the peer needs for itself.
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.pop();
    let began = Instant::now();
    let mut waiting: RawPeer = server.peer().await;
    within(waiting.send(frame(b"b"))).await;
    while logged.errors.load(Ordering::Relaxed) < 3 {
        assert_eq!(within(before.ask("a")).await, Heard::message("a"));
    }
    let errors = logged.errors.load(Ordering::Relaxed);
    let passed = began.elapsed();
    assert!(
        passed >= Duration::from_millis(100) * u32::try_from(errors - 1).expect("few"),
        "{errors} attempts in {passed:?}"
    );

    files.clear();
    assert_eq!(within(waiting.hear()).await, Heard::message("b"));
    drop((before, waiting));
    assert!(server.stopped().await.requests.served >= 3);
}
