//! Many clients lose a server at the same time, over a network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tcs::Execution;
use tokio::task::JoinSet;

use crate::{
    client::{CallOptions, Caller, Opens},
    journal::{CallOutcome, Journal, most_within},
    run::{build, in_thread},
    seeds::{replay_with, share_of_seeds},
    server::{Order, ServerHost},
};

const HOSTS: usize = 4;
const CHANNELS: usize = 25;
const STOP: Duration = Duration::from_secs(1);

/// Makes one call after the other over each of many channels, until `end`. Counts the channels that get an answer once
/// the server is back.
async fn calls(client: Caller, end: Duration, answered: Arc<AtomicUsize>) -> turmoil::Result {
    let mut tasks = JoinSet::new();
    for _ in 0..CHANNELS {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        tasks.spawn(async move {
            let channel = client
                .channel(&Arc::new(Opens::default()))
                .expect("good options");
            let order = Order {
                id: 0,
                wait: Duration::from_millis(30),
                length: 10,
                is_refused: false,
                filler: 0,
            };
            let mut is_back = false;
            while client.journal.now() < end {
                let is_answered = client.call(&channel, order, &CallOptions::default()).await;
                is_back |= is_answered && client.journal.entries().returns.len() == 2;
            }
            answered.fetch_add(usize::from(is_back), Relaxed);
        });
    }
    tasks.join_all().await;
    Ok(())
}

/// What happened once the server was drained.
#[derive(Clone, Copy, Debug)]
struct Stampede {
    /// The most attempts to connect in 100 ms after its return, and all attempts since the drain.
    most: usize,
    all: usize,
    /// How many channels have got an answer since.
    answered: usize,
    /// How many calls the next run has answered.
    calls: usize,
    /// How many calls were told that they were not executed.
    not_executed: usize,
}

/// Drains the server of 100 channels, which comes back after `outage`.
fn stampede(seed: u64, outage: Duration) -> Stampede {
    in_thread(seed, move || {
        let journal = Journal::default();
        let mut sim = build(&mut Rng::with_seed(seed));
        let server = ServerHost::new("server".to_owned(), journal.clone(), false);
        let host = server.clone();
        sim.host("server", move || host.clone().serve());
        let answered = Arc::new(AtomicUsize::new(0));
        for index in 0..HOSTS {
            let name = format!("client-{index}");
            let client = Caller {
                name: name.clone(),
                journal: journal.clone(),
                servers: vec!["server".to_owned()],
                has_ids: false,
                has_retries: true,
                seed: index as u64,
            };
            let end = STOP + outage + Duration::from_secs(2);
            sim.client(name, calls(client, end, Arc::clone(&answered)));
        }
        let mut is_stopped = false;
        loop {
            let now = sim.elapsed();
            journal.entries().now = now;
            if now >= STOP && !is_stopped {
                is_stopped = server.stop(Some(outage));
            }
            if sim.step().expect("no host fails") {
                break;
            }
        }
        journal.check_calls();
        drop(sim);
        let entries = journal.entries();
        assert_eq!((&entries.faults, entries.returns.len()), (&vec![], 2));
        let attempts_since = |start: Duration| -> Vec<Duration> {
            let later = entries.attempts.iter().filter(|(at, _)| *at >= start);
            later.map(|(at, _)| *at).collect()
        };
        let after_return = attempts_since(entries.returns[1]);
        let by_next = CallOutcome::Answered("server#2".to_owned());
        let not_executed = CallOutcome::Failed(Execution::NotExecuted);
        let count = |outcome: CallOutcome| {
            let outcomes = entries.calls.values().filter_map(|it| it.outcome.as_ref());
            outcomes.filter(|it| **it == outcome).count()
        };
        Stampede {
            most: most_within(&after_return, Duration::from_millis(100)),
            all: attempts_since(STOP).len(),
            answered: answered.load(Relaxed),
            calls: count(by_next),
            not_executed: count(not_executed),
        }
    })
}

#[test]
fn clients_come_back_one_after_the_other() {
    let channels = HOSTS * CHANNELS;
    for seed in share_of_seeds(2) {
        // 200 connections in all, of which each waits for a second at most.
        for (seconds, most, all) in [(1, 65, 1_400), (4, 55, 2_600)] {
            let outcome = stampede(seed, Duration::from_secs(seconds));
            println!("seed {seed}, {seconds} s: {outcome:?}");
            assert!(
                outcome.most < most && (channels..all).contains(&outcome.all),
                "{}, {seconds} s: {outcome:?}",
                replay_with(seed)
            );
            // Not only are they quiet: all are back. And those that crossed the drain know it.
            assert!(
                outcome.answered == channels
                    && outcome.calls > 10 * channels
                    && outcome.not_executed > 0,
                "{}, {seconds} s: {outcome:?}",
                replay_with(seed)
            );
        }
    }
}
