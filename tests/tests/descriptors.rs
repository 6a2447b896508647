//! A server that runs out of descriptors tells the peers that it cannot serve, and goes on.
//!
//! This is a process of its own, because the limit is the process's.

#![cfg(unix)]

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tcs::{ConcurrentServer, framing::LengthPrefixed, testing::LeakCheck};
use tcs_tests::{Heard, code, frame, gate, start, tester, within};
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
async fn server_without_descriptors_tells_its_peers_and_goes_on() {
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
    let leaks = LeakCheck::new().descriptors();
    let server = start(server().max_connections(1_000)).await;
    let mut before = server.peer().await;
    assert_eq!(within(before.ask("a")).await, Heard::message("a"));

    let began = Instant::now();
    for episode in 1..=2 {
        let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        for _ in 0..5 {
            // The peer itself needs one.
            files.pop();
            let mut rejected = server.peer().await;
            let told = Heard::Control(
                code::TOO_MANY_CONNECTIONS,
                "the server has no descriptors left".to_owned(),
            );
            // A request that is in flight does not reset the connection.
            within(rejected.send(frame(b"b"))).await;
            assert_eq!(within(rejected.hear()).await, told);
            assert_eq!(within(rejected.hear()).await, Heard::End);
            assert_eq!(within(before.ask("a")).await, Heard::message("a"));
            drop(rejected);
            files.push(File::open("/dev/null").expect("that of the peer"));
        }
        // One for each episode, and one in a second.
        let most = u64::min(episode, 1 + began.elapsed().as_secs());
        let errors = logged.errors.load(Ordering::Relaxed);
        assert!((1..=most).contains(&errors), "{errors}");
        files.clear();
        let mut admitted = server.peer().await;
        assert_eq!(within(admitted.ask("c")).await, Heard::message("c"));
        // The server has closed its end, too, before the next episode counts descriptors.
        within(admitted.finish()).await;
        assert_eq!(within(admitted.hear()).await, Heard::End);
    }

    drop(before);
    assert_eq!(server.stopped().await.requests.served, 13);
    leaks.assert_none().await;
}
