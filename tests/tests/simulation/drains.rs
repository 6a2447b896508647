//! A server is drained while one of its clients is out of reach.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tcs::Execution;
use tokio::time::sleep;
use turmoil::Sim;

use crate::{
    client::{CallOptions, Caller, Opens},
    journal::{CallOutcome, Entries, Journal},
    run::{build, in_thread},
    seeds::{replay_with, share_of_seeds},
    server::{Order, ServerHost},
};

/// What is done to the far client, and undone.
type Change = fn(&Sim<'_>);

/// Runs a server, which is drained after 300 ms and starts again, and two clients, whose first calls take 600 ms. The far
/// client is out of reach from 200 ms on, until `back`. Returns what happened, with the first call of the near client, the
/// first one of the far client, and later ones of the far client.
fn drained(seed: u64, has_ids: bool, [cut, mend]: [Change; 2], back: Duration) -> Entries {
    in_thread(seed, move || {
        let journal = Journal::default();
        let mut sim = build(&mut Rng::with_seed(seed));
        let server = ServerHost::new("server".to_owned(), journal.clone(), has_ids);
        let host = server.clone();
        sim.host("server", move || host.clone().serve());
        for name in ["near", "far"] {
            let client = Caller {
                name: name.to_owned(),
                journal: journal.clone(),
                servers: vec!["server".to_owned()],
                has_ids,
                has_retries: true,
                seed,
            };
            sim.client(name, calls(client));
        }
        let (mut is_cut, mut is_stopped, mut is_mended) = (false, false, false);
        loop {
            let now = sim.elapsed();
            journal.entries().now = now;
            if now >= Duration::from_millis(200) && !is_cut {
                cut(&sim);
                is_cut = true;
            }
            if now >= Duration::from_millis(300) && !is_stopped {
                server.stop(Some(Duration::from_millis(100)));
                is_stopped = true;
            }
            if now >= back && !is_mended {
                mend(&sim);
                is_mended = true;
            }
            if sim.step().expect("no host fails") {
                break;
            }
        }
        journal.check_calls();
        drop(sim);
        std::mem::take(&mut *journal.entries())
    })
}

/// Makes a slow call, and then quick ones until one is answered.
async fn calls(client: Caller) -> turmoil::Result {
    if client.name == "far" {
        // Its call is the second one.
        sleep(Duration::from_millis(20)).await;
    }
    let channel = client.channel(&Arc::new(Opens::default()))?;
    let mut order = Order {
        id: 0,
        wait: Duration::from_millis(600),
        length: 10,
        is_refused: false,
        filler: 0,
    };
    client.call(&channel, order, &CallOptions::default()).await;
    order.wait = Duration::ZERO;
    while !client.call(&channel, order, &CallOptions::default()).await {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

const CUT: [Change; 2] = [
    |sim| sim.partition("far", "server"),
    |sim| sim.repair("far", "server"),
];
const HOLD: [Change; 2] = [
    |sim| sim.hold("far", "server"),
    |sim| sim.release("far", "server"),
];

fn first_calls(entries: &Entries) -> Vec<CallOutcome> {
    let calls = entries.calls.values().take(2);
    calls.filter_map(|call| call.outcome.clone()).collect()
}

fn answered(run: &str) -> CallOutcome {
    CallOutcome::Answered(run.to_owned())
}

#[test]
fn drain_ends_in_time_though_a_peer_is_out_of_reach() {
    for seed in share_of_seeds(4) {
        let has_ids = seed % 2 == 1;
        let entries = drained(seed, has_ids, CUT, Duration::from_secs(2));
        // Its end, in time and with nothing left, was checked (`ServerHost::ended`).
        assert_eq!(
            (&entries.faults, entries.drains),
            (&vec![], 1),
            "{}",
            replay_with(seed)
        );
        let lost = CallOutcome::Failed(Execution::Unknown);
        assert_eq!(
            first_calls(&entries),
            [answered("server#1"), lost],
            "{}",
            replay_with(seed)
        );
        let (_, latest) = entries.calls.last_key_value().expect("many");
        assert_eq!(
            latest.outcome,
            Some(answered("server#2")),
            "{}",
            replay_with(seed)
        );
    }
}

#[test]
fn replies_of_a_drain_arrive_later_over_a_slow_network() {
    for seed in share_of_seeds(4) {
        let has_ids = seed % 2 == 1;
        let entries = drained(seed, has_ids, HOLD, Duration::from_millis(900));
        assert_eq!(
            (&entries.faults, entries.drains),
            (&vec![], 1),
            "{}",
            replay_with(seed)
        );
        let both = [answered("server#1"), answered("server#1")];
        assert_eq!(first_calls(&entries), both, "{}", replay_with(seed));
    }
}
