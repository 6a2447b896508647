//! Many clients lose their server at the same time, and come back.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{Channel, client::ChannelOptions};
use tcs_tests::{RawPeer, channel::Owned, patiently};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
    time::{Instant, sleep},
};

const CLIENTS: usize = 1_000;
const STEP: Duration = Duration::from_millis(100);

/// A server that is there or not, and the attempts to connect to it.
#[derive(Default)]
struct Server {
    is_down: AtomicBool,
    attempts: Mutex<Vec<Instant>>,
    connections: Mutex<JoinSet<()>>,
}

impl Server {
    fn open(&self) -> io::Result<DuplexStream> {
        lock(&self.attempts).push(Instant::now());
        if self.is_down.load(Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64);
        lock(&self.connections).spawn(async {
            let mut peer = RawPeer::over(far);
            loop {
                peer.ask_back().await;
            }
        });
        Ok(near)
    }

    fn stop(&self) {
        self.is_down.store(true, Relaxed);
        lock(&self.connections).abort_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

/// Makes one call for each channel at the same time, each until it is answered.
async fn call_all(channels: &[Channel]) {
    let mut calls = JoinSet::new();
    for channel in channels {
        let channel = channel.clone();
        calls.spawn(async move { while channel.call::<Owned>("x").await.is_err() {} });
    }
    patiently(calls.join_all()).await;
}

/// The attempts to connect of all clients.
#[derive(Debug)]
struct Attempts {
    total: usize,
    /// The most in any 100 ms: after the first 100 ms, and after the server is back.
    most: usize,
    most_after: usize,
}

/// Stops the server of all clients for some time.
async fn attempts(outage: Duration) -> Attempts {
    let server = Arc::new(Server::default());
    let channels: Vec<Channel> = (0..CLIENTS)
        .map(|_| {
            let server = Arc::clone(&server);
            let options: ChannelOptions = ChannelOptions::over(move || {
                let opened = server.open();
                async { opened }
            });
            options.connect_lazily().expect("good options")
        })
        .collect();
    call_all(&channels).await;
    server.stop();
    // The clients see the end of their connections.
    sleep(STEP).await;
    lock(&server.attempts).clear();
    let (began, ended) = (Instant::now(), Instant::now() + outage);
    let back = Arc::clone(&server);
    tokio::spawn(async move {
        tokio::time::sleep_until(ended).await;
        back.is_down.store(false, Relaxed);
    });
    call_all(&channels).await;

    let mut attempts = lock(&server.attempts).clone();
    attempts.sort_unstable();
    let most_since = |start: Instant| {
        let later = attempts.iter().filter(|attempt| **attempt > start);
        let later: Vec<Instant> = later.copied().collect();
        let within_step = |(index, first): (usize, &Instant)| {
            let end = *first + STEP;
            later[index..].partition_point(|attempt| *attempt < end)
        };
        later.iter().enumerate().map(within_step).max()
    };
    Attempts {
        total: attempts.len(),
        most: most_since(began + STEP).unwrap_or_default(),
        most_after: most_since(ended).unwrap_or_default(),
    }
}

#[tokio::test(start_paused = true)]
async fn thousand_clients_come_back_one_after_the_other() {
    fastrand::seed(1);
    for (seconds, most_after, total) in [(1, 200, 6_000), (5, 55, 8_300), (30, 40, 12_700)] {
        let attempts = attempts(Duration::from_secs(seconds)).await;
        // These are the figures in the docs of `ChannelOptions::backoff`.
        println!("{seconds} s: {attempts:?}");
        assert!(attempts.most < 750, "{seconds} s: {attempts:?}");
        assert!(
            attempts.most_after < most_after,
            "{seconds} s: {attempts:?}"
        );
        assert!(attempts.total < total, "{seconds} s: {attempts:?}");
    }
}
