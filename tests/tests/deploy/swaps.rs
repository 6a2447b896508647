//! A worker is replaced while clients are served: `examples/upgrade.rs`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use tcs_tests::{
    Heard, RawPeer, code,
    process::{Process, example_path, port_1234},
    scratch_path, within,
};

use crate::load::{Load, executed_once};

const SWAPS: usize = 20;

/// The requests that each worker executes before it is replaced.
const REQUESTS: usize = 30;

/// The supervisor, and what its workers have printed.
struct Upgrade {
    supervisor: Process,
    executed: Vec<u64>,
}

impl Upgrade {
    /// Waits until a new worker is ready and has executed requests. Returns its name.
    async fn new_worker(&mut self, requests: usize) -> String {
        let (worker, mut left) = loop {
            let line = self.line().await;
            if let Some(worker) = line.strip_suffix(" is ready") {
                break (worker.to_owned(), requests);
            }
        };
        while left > 0 {
            let line = self.line().await;
            left -= usize::from(line.starts_with(&format!("{worker} greets ")));
        }
        worker
    }

    async fn line(&mut self) -> String {
        let line = self.supervisor.line().await;
        self.executed.extend(executed(&line));
        line
    }
}

/// Returns the number of a request, if a worker says that it executes one.
fn executed(line: &str) -> Option<u64> {
    let (_, number) = line.split_once(" greets ")?;
    number.parse().ok()
}

#[tokio::test]
async fn swaps_under_load_refuse_no_connect_and_lose_and_double_no_reply() {
    let _port = port_1234().await;
    let mut upgrade = Upgrade {
        supervisor: Process::example("upgrade"),
        executed: Vec::new(),
    };
    upgrade.new_worker(0).await;
    let load = Load::start(([127, 0, 0, 1], 1234).into());
    let mut workers = Vec::new();
    for _ in 0..SWAPS {
        upgrade.supervisor.signal("HUP").await;
        workers.push(upgrade.new_worker(REQUESTS).await);
    }
    let outcome = load.finish().await;
    let Upgrade {
        supervisor,
        executed: mut numbers,
    } = upgrade;
    supervisor.signal("TERM").await;
    let rest = supervisor.finished().await.succeeded();
    numbers.extend(rest.iter().filter_map(|line| executed(line)));

    executed_once(numbers, &outcome);
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers.len(), SWAPS, "each worker is another process");
    // Connections that stay are told at each swap, some of them between two batches.
    assert!(outcome.sent_again > 0, "nobody was told *going away*");
}

#[tokio::test]
async fn worker_that_fails_to_start_does_not_replace_the_one_that_serves() {
    let _port = port_1234().await;
    // A copy, which can be replaced as by a deployment.
    let program = scratch_path("upgrade");
    fs::copy(example_path("upgrade"), &program).expect("a writable folder");
    let mut upgrade = Upgrade {
        supervisor: Process::start(&program, [""; 0]),
        executed: Vec::new(),
    };
    let worker = upgrade.new_worker(0).await;
    let mut peer = RawPeer::connect(([127, 0, 0, 1], 1234).into()).await;

    // As `mv` does: the file of the running program stays what it is.
    let broken = scratch_path("broken");
    fs::write(&broken, "#!/bin/false\n").expect("a writable folder");
    fs::set_permissions(&broken, Permissions::from_mode(0o700)).expect("it is ours");
    fs::rename(&broken, &program).expect("the same folder");
    upgrade.supervisor.signal("HUP").await;
    let complaint = upgrade.line().await;
    assert!(
        complaint.starts_with("the worker is not replaced: "),
        "{complaint}"
    );

    let reply = within(peer.ask("Ann")).await;
    assert_eq!(
        reply,
        Heard::message(&format!("Hello, Ann! I am {worker}."))
    );
    upgrade.supervisor.signal("INT").await;
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    upgrade.supervisor.finished().await.succeeded();
    fs::remove_file(&program).expect("it is ours");
}
