//! One end whose network is gone: `keepalive_timeout` of the other, in a network namespace.

use std::io::Write as _;

use tcs_tests::process::{Process, is_missing};

/// Runs the program `unreachable` in a network of its own. Returns what it says of its connections, or nothing if
/// this machine allows no namespaces.
async fn unreachable(end: &str, seconds: &str) -> Option<Vec<String>> {
    if is_missing("unshare") || is_missing("ip") {
        return None;
    }
    let namespace = ["--map-root-user", "--net"];
    let probe = Process::start("unshare", [&namespace[..], &["true"]].concat());
    let probe = probe.finished().await;
    if !probe.status.success() {
        // Not with `eprintln!`, because the harness hides what a test that passes prints.
        let text = format!("skipped: no network namespaces here: {}", probe.stderr);
        std::io::stderr()
            .write_all(text.as_bytes())
            .expect("it is open");
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
        assert!((3_000..6_000).contains(&after), "{after} ms");
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
