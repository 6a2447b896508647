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
use tcs_tests::{Heard, RawPeer, channel::Owned, frame, patiently};
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
    /// Whether requests get no replies.
    is_mute: AtomicBool,
    attempts: Mutex<Vec<Instant>>,
    connections: Mutex<JoinSet<()>>,
}

impl Server {
    fn open(self: &Arc<Self>) -> io::Result<DuplexStream> {
        lock(&self.attempts).push(Instant::now());
        if self.is_down.load(Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64);
        let server = Arc::clone(self);
        lock(&self.connections).spawn(async move {
            let mut peer = RawPeer::over(far);
            while let Heard::Message(request) = peer.hear().await {
                if !server.is_mute.load(Relaxed) {
                    peer.send(frame(request)).await;
                }
            }
        });
        Ok(near)
    }

    /// Ends all connections. The server is there again after `outage`.
    async fn restart(&self, outage: Duration) {
        self.is_down.store(true, Relaxed);
        self.is_mute.store(false, Relaxed);
        lock(&self.connections).abort_all();
        if !outage.is_zero() {
            sleep(outage).await;
        }
        self.is_down.store(false, Relaxed);
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
    /// The most in any 10 ms, and in any 100 ms after the server is back.
    most: usize,
    most_after: usize,
}

/// Returns the most of these times, which are sorted, within `step`.
fn most_within(times: &[Instant], step: Duration) -> usize {
    let within_step = |(index, first): (usize, &Instant)| {
        let end = *first + step;
        times[index..].partition_point(|time| *time < end)
    };
    times.iter().enumerate().map(within_step).max().unwrap_or(0)
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
    server.is_mute.store(true, Relaxed);
    let calls = {
        let channels = channels.clone();
        tokio::spawn(async move { call_all(&channels).await })
    };
    // All calls are in flight.
    sleep(STEP).await;
    lock(&server.attempts).clear();
    let back = Instant::now() + outage;
    server.restart(outage).await;
    patiently(calls).await.expect("no panic");

    let mut attempts = lock(&server.attempts).clone();
    attempts.sort_unstable();
    let after = attempts.partition_point(|attempt| *attempt < back);
    Attempts {
        total: attempts.len(),
        most: most_within(&attempts, STEP / 10),
        most_after: most_within(&attempts[after..], STEP),
    }
}

#[tokio::test(start_paused = true)]
async fn thousand_clients_come_back_one_after_the_other() {
    fastrand::seed(1);
    let rows = [
        (0, 150, 1_001, 1_001),
        (50, 220, 1_001, 2_000),
        (1_000, 260, 220, 6_000),
        (5_000, 260, 55, 8_300),
        (30_000, 260, 40, 12_700),
    ];
    let mut measured = Vec::new();
    for (millis, ..) in rows {
        let attempts = attempts(Duration::from_millis(millis)).await;
        println!("{millis} ms: {attempts:?}");
        measured.push(attempts);
    }
    for ((millis, most, most_after, total), attempts) in rows.into_iter().zip(measured) {
        let is_good =
            attempts.most < most && attempts.most_after < most_after && attempts.total < total;
        assert!(is_good, "{millis} ms: {attempts:?}");
    }
}
