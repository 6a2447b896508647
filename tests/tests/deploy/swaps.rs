//! A worker is replaced while clients are served: `examples/upgrade.rs`.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use tcs_tests::{
    Heard, RawPeer, code,
    process::{Process, example_path},
    scratch_path, within,
};

use crate::load::{Load, executed_once};

const SWAPS: usize = 20;

/// The requests that each worker executes before it is replaced.
const REQUESTS: usize = 30;

/// The supervisor, and what its workers have printed.
struct Upgrade {
    supervisor: Process,
    addr: SocketAddr,
    worker: Worker,
    executed: Vec<u64>,
}

impl Upgrade {
    /// Starts the supervisor, and waits until its first worker is ready.
    async fn start(program: &Path) -> Self {
        let mut supervisor = Process::start(program, ["127.0.0.1:0"]);
        let line = supervisor.line().await;
        let (_, addr) = line.split_once(" listens on ").expect("an address");
        let mut upgrade = Self {
            addr: addr.parse().expect("an address"),
            supervisor,
            worker: Worker(String::new()),
            executed: Vec::new(),
        };
        upgrade.new_worker(0).await;
        upgrade
    }

    /// Waits until a new worker is ready and has executed requests.
    async fn new_worker(&mut self, requests: usize) {
        self.worker.0 = loop {
            let line = self.line().await;
            let ready = line.strip_suffix(" is ready");
            if let Some(id) = ready.and_then(|worker| worker.strip_prefix("worker ")) {
                break id.to_owned();
            }
        };
        let greets = format!("worker {} greets ", self.worker.0);
        let mut left = requests;
        while left > 0 {
            left -= usize::from(self.line().await.starts_with(&greets));
        }
    }

    async fn line(&mut self) -> String {
        let line = self.supervisor.line().await;
        self.executed.extend(executed(&line));
        line
    }
}

/// The process id of the last worker, which a test that fails ends.
struct Worker(String);

impl Worker {
    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.0);
        let mut shell = process::Command::new("sh");
        shell.args(["-c", &script]).status().expect("a shell");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if thread::panicking() {
            self.signal("KILL");
        }
    }
}

/// A copy of the example, which can be replaced as by a deployment.
struct Program(PathBuf);

impl Program {
    async fn copy() -> Self {
        let path = scratch_path("upgrade");
        copy(&example_path("upgrade"), &path).await;
        Self(path)
    }

    /// Replaces the program as `mv` does: the file of one that runs stays what it is.
    fn replace(&self, new: &Path) {
        fs::rename(new, &self.0).expect("the same folder");
    }

    /// Replaces the program by one that fails at once.
    fn replace_by_broken(&self) {
        let broken = scratch_path("broken");
        symlink("/bin/false", &broken).expect("a writable folder");
        self.replace(&broken);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// This process writes no program itself: while it does, a child that another test starts can have the file open, and
/// then it is "text file busy".
async fn copy(from: &Path, to: &Path) {
    let copied = Process::start("cp", [from, to]);
    copied.finished().await.succeeded();
}

/// Returns the number of a request, if a worker says that it executes one.
fn executed(line: &str) -> Option<u64> {
    let (_, number) = line.split_once(" greets ")?;
    number.parse().ok()
}

#[tokio::test]
async fn swaps_under_load_refuse_no_connect_and_lose_and_double_no_reply() {
    let mut upgrade = Upgrade::start(&example_path("upgrade")).await;
    let load = Load::start(upgrade.addr).await;
    let mut workers = HashSet::new();
    for _ in 0..SWAPS {
        upgrade.supervisor.signal("HUP").await;
        upgrade.new_worker(REQUESTS).await;
        workers.insert(upgrade.worker.0.clone());
    }
    let outcome = load.finish().await;
    upgrade.supervisor.signal("TERM").await;
    let rest = upgrade.supervisor.finished().await.succeeded();
    let rest = rest.iter().filter_map(|line| executed(line));

    executed_once(upgrade.executed.into_iter().chain(rest).collect(), &outcome);
    assert_eq!(workers.len(), SWAPS, "each worker is another process");
    // Connections that stay are told at each swap, some of them between two batches.
    assert!(outcome.sent_again > 0, "nobody was told *going away*");
}

#[tokio::test]
async fn worker_that_fails_to_start_does_not_replace_the_one_that_serves() {
    let program = Program::copy().await;
    let mut upgrade = Upgrade::start(&program.0).await;
    let mut peer = RawPeer::connect(upgrade.addr).await;

    program.replace_by_broken();
    upgrade.supervisor.signal("HUP").await;
    let complaint = upgrade.line().await;
    assert!(
        complaint.starts_with("the worker is not replaced: "),
        "{complaint}"
    );

    let expected = format!("Hello, Ann! I am worker {}.", upgrade.worker.0);
    assert_eq!(within(peer.ask("Ann")).await, Heard::message(&expected));
    upgrade.supervisor.signal("INT").await;
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    upgrade.supervisor.finished().await.succeeded();
}

#[tokio::test]
async fn worker_that_crashes_is_replaced_while_the_one_before_finishes() {
    let mut upgrade = Upgrade::start(&example_path("upgrade")).await;
    let mut peer = RawPeer::connect(upgrade.addr).await;
    within(peer.ask("Ann")).await;
    // The first worker is told to drain, and cannot yet.
    let before = Worker(upgrade.worker.0.clone());
    before.signal("STOP");
    upgrade.supervisor.signal("HUP").await;
    upgrade.new_worker(0).await;

    upgrade.worker.signal("KILL");
    upgrade.new_worker(0).await;
    before.signal("CONT");
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    let mut peer = RawPeer::connect(upgrade.addr).await;
    let expected = format!("Hello, Ann! I am worker {}.", upgrade.worker.0);
    assert_eq!(within(peer.ask("Ann")).await, Heard::message(&expected));
    drop(peer);
    upgrade.supervisor.signal("TERM").await;
    upgrade.supervisor.finished().await.succeeded();
}

#[tokio::test]
async fn worker_that_crashes_is_replaced_as_soon_as_one_starts_without_spinning() {
    let program = Program::copy().await;
    let good = scratch_path("good");
    copy(&program.0, &good).await;
    let mut upgrade = Upgrade::start(&program.0).await;

    program.replace_by_broken();
    let crashed = Instant::now();
    upgrade.worker.signal("KILL");
    for _ in 0..2 {
        while !upgrade.line().await.contains("is not replaced: ") {}
    }
    let passed = crashed.elapsed();
    assert!(passed >= Duration::from_secs(1), "{passed:?}");
    program.replace(&good);
    upgrade.new_worker(0).await;
    upgrade.supervisor.signal("TERM").await;
    upgrade.supervisor.finished().await.succeeded();
}

#[tokio::test]
async fn supervisor_stops_at_once_while_a_new_worker_is_not_ready() {
    let program = Program::copy().await;
    let mut upgrade = Upgrade::start(&program.0).await;
    // Written by a shell for the reason of `copy`.
    let never_ready = scratch_path("never-ready");
    let script = r#"printf '#!/bin/sh\necho waiting\nexec sleep 60\n' > "$0" && chmod +x "$0""#;
    let written = Process::start(
        "sh",
        ["-c".as_ref(), script.as_ref(), never_ready.as_os_str()],
    );
    written.finished().await.succeeded();
    program.replace(&never_ready);
    upgrade.supervisor.signal("HUP").await;
    assert_eq!(upgrade.line().await, "waiting");
    upgrade.supervisor.signal("TERM").await;
    upgrade.supervisor.finished().await.succeeded();
}
