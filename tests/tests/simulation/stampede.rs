//! Many clients lose a server at the same time, over a network.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::{
    client::{ClientHost, Opens, Terms},
    journal::{Journal, most_within},
    run::{build, in_thread},
    server::{Order, ServerHost},
};

const HOSTS: usize = 4;
const CHANNELS: usize = 25;
const STOP: Duration = Duration::from_secs(1);

/// Makes one call after the other over each of many channels.
async fn calls(client: ClientHost, end: Duration) -> turmoil::Result {
    let mut tasks = JoinSet::new();
    for _ in 0..CHANNELS {
        let client = client.clone();
        tasks.spawn(async move {
            let line = client
                .line(&Arc::new(Opens::default()))
                .expect("good options");
            let order = Order {
                id: 0,
                wait: Duration::from_millis(30),
                length: 10,
                is_refused: false,
            };
            while client.journal.now() < end {
                client.call(&line, order, &Terms::default()).await;
            }
        });
    }
    tasks.join_all().await;
    Ok(())
}

/// Drains the server of 100 channels, which comes back after `outage`. Returns the most attempts to connect in 100 ms
/// after that, and all attempts from the end on.
fn attempts(outage: Duration) -> (usize, usize) {
    in_thread(1, move || {
        let journal = Journal::default();
        let mut sim = build(&mut Rng::with_seed(1));
        let server = ServerHost::new("server".to_owned(), journal.clone(), false);
        let host = server.clone();
        sim.host("server", move || host.clone().serve());
        for index in 0..HOSTS {
            let name = format!("client-{index}");
            let client = ClientHost {
                name: name.clone(),
                journal: journal.clone(),
                servers: vec!["server".to_owned()],
                has_ids: false,
                seed: index as u64,
                whole: Duration::ZERO,
                is_done: Arc::new(AtomicBool::new(false)),
            };
            let end = STOP + outage + Duration::from_secs(2);
            sim.client(name, calls(client, end));
        }
        let mut is_stopped = false;
        loop {
            let now = sim.elapsed();
            journal.entries().now = now;
            if now >= STOP && !is_stopped {
                server.stop(Some(outage));
                is_stopped = true;
            }
            if sim.step().expect("no host fails") {
                break;
            }
        }
        drop(sim);
        let entries = journal.entries();
        assert_eq!((&entries.faults, entries.returns.len()), (&vec![], 2));
        let attempts_since = |start: Duration| -> Vec<Duration> {
            let later = entries.attempts.iter().filter(|(at, _)| *at >= start);
            later.map(|(at, _)| *at).collect()
        };
        let most = most_within(
            &attempts_since(entries.returns[1]),
            Duration::from_millis(100),
        );
        (most, attempts_since(STOP).len())
    })
}

#[test]
fn clients_come_back_one_after_the_other() {
    // 200 connections in all, of which each waits for a second at most.
    for (seconds, most, all) in [(1, 65, 1_400), (4, 55, 2_600)] {
        let attempts = attempts(Duration::from_secs(seconds));
        println!("{seconds} s: {attempts:?}");
        assert!(
            attempts.0 < most && attempts.1 < all,
            "{seconds} s: {attempts:?}"
        );
    }
}
