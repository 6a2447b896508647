//! One end whose network is gone: `keepalive_timeout` of the other, in a network namespace.

use std::{io::Write as _, time::Duration};

use tcs::{ConcurrentServer, framing::LengthPrefixed};
use tcs_tests::{
    Heard, Kind, each_kind, gate,
    process::{Process, is_missing},
    start, tester_of, within,
};

each_kind!(idle_peer_that_answers_stays_beyond_the_limit);

async fn idle_peer_that_answers_stays_beyond_the_limit<K: Kind>() {
    let limit = Duration::from_secs(1);
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = start(server.idle_timeout(None).keepalive_timeout(limit)).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    // The kernel answers the probes, and nothing shows it.
    tokio::time::sleep(3 * limit).await;
    assert_eq!(within(peer.ask("b")).await, Heard::message("b"));
    drop(peer);
    server.stopped().await;
}

/// Returns `true` if `unshare` can run programs in these namespaces here.
pub(super) async fn can_unshare(namespaces: &[&str]) -> bool {
    if is_missing("unshare") {
        return false;
    }
    let probe = Process::start("unshare", [namespaces, &["true"]].concat());
    let probe = probe.finished().await;
    if !probe.status.success() {
        // Not with `eprintln!`, because the harness hides what a test that passes prints.
        let text = format!("skipped: no such namespaces here: {}", probe.stderr);
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "{text}");
        std::io::stderr()
            .write_all(text.as_bytes())
            .expect("it is open");
    }
    probe.status.success()
}

/// Runs the program `unreachable` in a network of its own. Returns what it says of its connections, or nothing if
/// this machine allows no namespaces.
async fn unreachable(end: &str, seconds: &str) -> Option<Vec<String>> {
    let namespace = ["--map-root-user", "--net"];
    if is_missing("ip") || !can_unshare(&namespace).await {
        return None;
    }
    let program = [env!("CARGO_BIN_EXE_unreachable"), end, seconds];
    let program = Process::start("unshare", [&namespace[..], &program].concat());
    Some(program.finished().await.succeeded())
}

/// Fails unless that many connections have ended in time.
async fn end_in_time(end: &str, connections: usize) {
    let Some(ended) = unreachable(end, "4").await else {
        return;
    };
    assert_eq!(ended.len(), connections);
    for after in ended {
        let after: u64 = after.parse().expect(&after);
        // The limit, or 4.5 s for the channel with a longer reply timeout, and some more for a machine that is busy.
        assert!((3_000..8_000).contains(&after), "{after} ms");
    }
}

#[tokio::test]
async fn unreachable_peers_are_found_in_time_without_an_idle_timeout() {
    end_in_time("peers", 2).await;
}

#[tokio::test]
async fn unreachable_server_is_found_in_time_by_idle_channels_and_by_calls_without_a_reply_timeout()
{
    end_in_time("server", 3).await;
}

#[tokio::test]
async fn unreachable_server_is_found_in_time_though_pings_and_requests_are_sent_to_it() {
    end_in_time("pinged", 5).await;
}
