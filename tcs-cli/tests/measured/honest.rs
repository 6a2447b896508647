//! `tcs bench` against servers that stall, close and speak first: its numbers stay true, and it ends.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::Value;
use tcs::{
    ConcurrentServer,
    framing::{LengthPrefixed, Lines},
};
use tcs_tests::{gate, process::Finished, start, tester, tls, within};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time,
};

use crate::{Scratch, tcs};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    (listener, address)
}

async fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let accepted = listener.accept().await;
    BufReader::new(accepted.expect("a client").0)
}

/// Answers so many lines.
async fn answer(stream: &mut BufReader<TcpStream>, replies: usize) {
    let mut line = String::new();
    for _ in 0..replies {
        stream.read_line(&mut line).await.expect("a request");
        stream.write_all(b"ok\n").await.expect("the client reads");
    }
}

/// Runs `tcs bench` with one connection, and returns its result as well.
async fn bench(address: SocketAddr, arguments: &[&str]) -> (Finished, Value) {
    let address = address.to_string();
    let all = [&["bench", &address, "-c", "1", "--json"], arguments].concat();
    let finished = tcs(&all).finished().await;
    let result = serde_json::from_str(&finished.stdout.join("\n")).unwrap_or_default();
    (finished, result)
}

fn seconds(result: &Value) -> f64 {
    result["seconds"].as_f64().unwrap_or(f64::NAN)
}

#[tokio::test]
async fn bench_does_not_wait_for_a_greeting_for_ever() {
    // The backlog accepts.
    let (_listener, address) = listen().await;
    let load = ["--greeting", "-n", "3", "--timeout", "200ms"];
    let (finished, result) = bench(address, &load).await;
    assert_eq!(finished.status.code(), Some(4), "{finished:?}");
    assert_eq!(
        result["errors"].to_string(),
        r#"{"no greeting":1,"not sent":2}"#
    );
}

#[tokio::test]
async fn bench_times_out_a_reply_whose_bytes_drip() {
    let (listener, address) = listen().await;
    let drip = async {
        let mut stream = accept(&listener).await;
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a request");
        let mut drops = time::interval(Duration::from_millis(20));
        while stream.write_all(b"x").await.is_ok() {
            drops.tick().await;
        }
    };
    let load = ["--framing", "lines", "-n", "1", "--timeout", "300ms"];
    let ((), (finished, result)) = tokio::join!(within(drip), bench(address, &load));
    assert_eq!(
        result["errors"].to_string(),
        r#"{"timed out":1}"#,
        "{finished:?}"
    );
    // It has waited, and the percentiles say so.
    let waited = result["latency_ns"]["max"].as_u64();
    assert!(waited > Some(290_000_000), "{result}");
}

#[tokio::test]
async fn bench_keeps_the_turn_of_a_mix_when_it_connects_again() {
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let mix = Scratch::new("1 hello\n1 busy later\n");
    let load = ["-n", "10", "--reconnect", "--mix", mix.path()];
    let (finished, result) = bench(server.addr(), &load).await;
    server.stopped().await;
    assert_eq!(
        result["errors"].to_string(),
        r#"{"busy":5}"#,
        "{finished:?}"
    );
}

#[tokio::test]
async fn bench_does_not_count_the_wait_for_a_lost_reply_as_time() {
    let (listener, address) = listen().await;
    let serve = async {
        let mut stream = accept(&listener).await;
        answer(&mut stream, 5).await;
        stream
    };
    let load = ["--framing", "lines", "-n", "6", "--timeout", "2s"];
    let (_stream, (finished, result)) = tokio::join!(within(serve), bench(address, &load));
    assert_eq!(result["replies"], 5, "{finished:?}");
    assert!(seconds(&result) < 1.5, "{result}");
}

#[tokio::test]
async fn bench_does_not_count_time_after_all_was_answered() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let load = ["--framing", "lines", "-n", "10", "-t", "10s"];
    let (finished, result) = bench(server.addr(), &load).await;
    server.stopped().await;
    assert_eq!(result["replies"], 10, "{finished:?}");
    assert!(seconds(&result) < 5.0, "{result}");
}

#[tokio::test]
async fn bench_counts_all_that_was_due_at_a_server_that_is_gone() {
    let (listener, address) = listen().await;
    let serve = async {
        answer(&mut accept(&listener).await, 1).await;
        drop(listener);
    };
    let load = ["--rate", "100", "-t", "500ms", "--timeout", "2s"];
    let load = [&["--framing", "lines"], &load[..]].concat();
    let ((), (finished, result)) = tokio::join!(within(serve), bench(address, &load));
    assert_eq!(result["requests"], 50, "{finished:?}");
    assert_eq!(result["replies"], 1);
    // What was not sent has waited as long as there was someone to wait.
    let worst = result["latency_ns"]["max"].as_u64();
    assert!(worst > Some(450_000_000), "{result}");
}

#[tokio::test]
async fn bench_says_that_a_server_speaks_first() {
    for more in [&[][..], &["--reconnect"]] {
        let (listener, address) = listen().await;
        let greet = async {
            let mut stream = accept(&listener).await;
            stream
                .write_all(b"220 hello\n")
                .await
                .expect("the client reads");
            stream
        };
        let load = [&["--framing", "lines", "-n", "3", "--timeout", "1s"], more].concat();
        let (_stream, (finished, _)) = tokio::join!(within(greet), bench(address, &load));
        assert_eq!(finished.status.code(), Some(5), "{finished:?}");
        assert!(finished.stderr.contains("--greeting"), "{finished:?}");
    }
}

#[tokio::test]
async fn bench_checks_what_replies_begin_with() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let mix = Scratch::new("1 hello\n1 other\n");
    let load = ["--framing", "lines", "-n", "8", "--expect", "hel"];
    let load = [&load[..], &["--mix", mix.path()]].concat();
    let (finished, result) = bench(server.addr(), &load).await;
    server.stopped().await;
    assert_eq!(
        result["errors"].to_string(),
        r#"{"wrong reply":4}"#,
        "{finished:?}"
    );
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
}

#[tokio::test]
async fn bench_says_in_its_result_what_was_asked_for() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    // Without a text, the request is a value of the format.
    let load = ["--framing", "lines", "-n", "2", "--format", "json"];
    // Both times together are beyond what the clock can tell.
    let longest = [
        "-t",
        "18446744073709549568",
        "--timeout",
        "18446744073709549568",
    ];
    let load = [&load[..], &["--warm-up", "10ms"], &longest].concat();
    let (finished, result) = bench(server.addr(), &load).await;
    server.stopped().await;
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(result["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(result["framing"], "lines");
    assert_eq!(result["warm_up_seconds"], 0.01);
    assert_eq!(result["timeout_seconds"], 18_446_744_073_709_549_568.0);
    assert_eq!(result["interrupted"], false);
}

#[tokio::test]
async fn bench_ends_quietly_when_nobody_reads_its_result() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
    let address = server.addr().to_string();
    command.args(["bench", &address, "--framing", "lines", "-n", "2"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = command.spawn().expect("it starts");
    drop(running.stdout.take());
    let output = within(running.wait_with_output()).await.expect("it ends");
    server.stopped().await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
}

#[tokio::test]
async fn bench_reads_certificates_once() {
    let root = tls::Root::new();
    let tls = root.issue("localhost").server();
    let gate = gate();
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate)).tls(tls)).await;
    let address = format!("localhost:{}", server.addr().port());
    // A copy, which is removed while a request waits. That after it has its own connection.
    let pem = std::fs::read_to_string(root.file()).expect("a file");
    let ca = Scratch::new(&pem);
    let mix = Scratch::new("1 hello\n1 wait x\n1 hello\n");
    let arguments = ["bench", &address, "--tls", "--ca", ca.path(), "-c", "1"];
    let load = ["--framing", "lines", "-n", "3", "--reconnect", "--mix"];
    let running = tcs(&[&arguments[..], &load, &[mix.path()]].concat());
    within(gate.reached()).await;
    drop(ca);
    gate.open();
    running.finished().await.succeeded();
    server.stopped().await;
}

#[tokio::test]
async fn messages_do_not_change_the_terminal() {
    let compared = ["bench", "compare", "/\u{1b}[2J\u{9b}\u{202e}", "/nowhere"];
    let finished = tcs(&compared).finished().await;
    let quoted = r"cannot read /\u{1b}[2J\u{9b}\u{202e}";
    assert!(finished.stderr.contains(quoted), "{finished:?}");
}

#[tokio::test]
async fn a_path_has_neither_tls_nor_a_proxy_header() {
    for (target, said) in [
        (&["unix:/nowhere", "--tls"][..], "--tls"),
        (&["unix:/nowhere", "--proxy", "192.0.2.1:1"], "--proxy"),
        (&["tls://unix:/nowhere"], "--tls"),
    ] {
        let all = [&["bench", "-n", "1"], target].concat();
        let finished = tcs(&all).finished().await;
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
}
