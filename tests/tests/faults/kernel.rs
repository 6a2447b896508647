//! Faults of a real kernel, in a network namespace: the program `kernel_faults` has each of them.

use std::io::Write as _;

use tcs_tests::process::{Process, is_missing};

/// Runs a command in a network of its own, if this machine allows that.
async fn run(namespaces: &[&str], command: &str) {
    if ["unshare", "ip", "prlimit"].into_iter().any(is_missing) {
        return;
    }
    let arguments = |command| {
        [
            &["--map-root-user", "--net"],
            namespaces,
            &["sh", "-c", command],
        ]
        .concat()
    };
    let probe = Process::start("unshare", arguments("true"))
        .finished()
        .await;
    if !probe.status.success() {
        let text = format!("skipped: no such namespaces here: {}", probe.stderr);
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "{text}");
        // Not with `eprintln!`, because the harness hides what a test that passes prints.
        let written = std::io::stderr().write_all(text.as_bytes());
        written.expect("it is open");
        return;
    }
    let program = env!("CARGO_BIN_EXE_kernel_faults");
    let command = command.replace("PROGRAM", &format!("exec '{program}'"));
    let ended = Process::start("unshare", arguments(&command))
        .finished()
        .await;
    assert!(ended.status.success(), "{ended:?}");
}

macro_rules! faults {
    ($($name:ident: [$($namespace:literal),*] $command:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            run(&[$($namespace),*], $command).await;
        }
    )*};
}

faults! {
    ten_thousand_peers_close_at_once: [] "PROGRAM connects";
    ten_thousand_peers_reset_at_once: [] "PROGRAM resets";
    descriptors_run_out: [] "ulimit -n 128; PROGRAM descriptors";
    backlog_is_full: [] "PROGRAM backlog";
    peers_never_read: [] "PROGRAM windows";
    peers_never_read_and_memory_is_short: [] "PROGRAM memory";
    peers_never_read_and_the_control_group_is_small: ["--mount"] "PROGRAM group";
    route_of_a_peer_is_dropped: [] "PROGRAM route";
    peer_is_stopped: [] "PROGRAM stopped-peer";
    server_is_stopped: [] "PROGRAM stopped-server";
    name_is_resolved_for_each_connection: ["--mount"] "PROGRAM name";
    // Clocks that have run for 60 years: the kernel lets no process step them.
    clocks_are_far_ahead: ["--time", "--monotonic", "2000000000", "--boottime", "2000000000"] "PROGRAM stopped-peer";
}
