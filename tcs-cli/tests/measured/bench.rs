//! `tcs bench`

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::Value;
use tcs::{
    ConcurrentServer, Response,
    framing::{LengthPrefixed, Lines, Multiplexed, UntilEof},
    server_protocol,
};
use tcs_tests::{Gate, gate, process::Finished, start, tester, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{Scratch, tcs};

/// Runs `tcs bench`, with an address before the other arguments.
async fn bench(address: impl ToString, arguments: &[&str]) -> Finished {
    let address = address.to_string();
    let all: Vec<_> = ["bench", &address]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    tcs(&all).finished().await
}

/// The result of a run with `--json` that did what it should.
async fn result(address: impl ToString, arguments: &[&str]) -> Value {
    let all: Vec<_> = arguments.iter().chain(&["--json"]).copied().collect();
    let lines = bench(address, &all).await.succeeded();
    serde_json::from_str(&lines.join("\n")).expect("it is JSON")
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no whole number"))
}

#[tokio::test]
async fn bench_at_a_rate_counts_what_the_server_counts() {
    for (framing, pipeline) in [("length-prefixed", "1"), ("multiplexed", "16")] {
        let tester = tester::<LengthPrefixed>(&gate());
        let ids = self::tester::<Multiplexed>(&gate());
        let server = match framing {
            "multiplexed" => start(ConcurrentServer::new(ids)).await,
            _ => start(ConcurrentServer::new(tester)).await,
        };
        let options = ["--framing", framing, "--pipeline", pipeline];
        let load = [
            "--rate",
            "2000",
            "--duration",
            "100ms",
            "--connections",
            "3",
        ];
        let result = result(server.addr(), &[&options[..], &load].concat()).await;
        let report = server.stopped().await;
        assert_eq!(number(&result["requests"]), 200, "{result}");
        assert_eq!(number(&result["replies"]), 200);
        assert_eq!(report.requests.served, 200);
        assert_eq!(report.connections.accepted, 3);
        assert_eq!(
            result["errors"].as_object().map(serde_json::Map::len),
            Some(0)
        );
        assert_eq!(number(&result["bytes_sent"]), report.bytes.received);
        assert_eq!(number(&result["bytes_received"]), report.bytes.sent);
    }
}

#[tokio::test]
async fn bench_as_fast_as_it_goes_counts_what_the_server_counts() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let load = ["--framing", "lines", "-n", "1001", "-c", "4", "-p", "8"];
    let result = result(server.addr(), &load).await;
    let report = server.stopped().await;
    assert_eq!(number(&result["replies"]), 1001, "{result}");
    assert_eq!(report.requests.served, 1001);
    let latency = &result["latency_ns"];
    let times: Vec<_> = ["min", "p50", "p90", "p99", "p99_9", "max"]
        .map(|name| number(&latency[name]))
        .into();
    assert!(times.is_sorted() && times.first() > Some(&0), "{latency}");
    let samples = result["samples"].as_array().expect("a list");
    assert_eq!(
        samples
            .iter()
            .map(|sample| number(&sample["replies"]))
            .sum::<u64>(),
        1001
    );
}

/// What the first request waits for.
struct Others {
    seen: AtomicU32,
    gate: Gate,
}

/// How many requests of the other connection are answered while the first waits.
const MEANWHILE: u32 = 100;

#[server_protocol(framing = Lines)]
async fn stall_once(request: &str, #[state] others: &Others) -> &'static str {
    let _ = request;
    match others.seen.fetch_add(1, Relaxed) {
        0 => others.gate.pass().await,
        MEANWHILE => others.gate.open(),
        _ => {}
    }
    "ok"
}

#[tokio::test]
async fn bench_at_a_rate_blames_a_stall_for_all_that_was_due() {
    let others = Others {
        seen: AtomicU32::new(0),
        gate: gate(),
    };
    let server = start(ConcurrentServer::new(StallOnce { others })).await;
    let load = [
        "--framing",
        "lines",
        "--rate",
        "1000",
        "-n",
        "400",
        "-c",
        "2",
    ];
    let result = result(server.addr(), &load).await;
    server.stopped().await;
    // One connection waits while the other has its turn a hundred times, in 200 ms. In this time, a hundred requests of
    // the first are due: a quarter of all. If only the one that was sent counted, 399 of 400 would be fast.
    let latency = &result["latency_ns"];
    assert_eq!(number(&result["replies"]), 400, "{result}");
    assert!(number(&latency["max"]) > 190_000_000, "{latency}");
    assert!(number(&latency["p90"]) > 80_000_000, "{latency}");
}

#[tokio::test]
async fn bench_counts_rejections_by_kind() {
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let mix = Scratch::new("# half of them\n2 hello\n1 busy later\n1 error no\n");
    let finished = bench(
        server.addr(),
        &["-n", "80", "-c", "2", "--mix", mix.path(), "--json"],
    )
    .await;
    let report = server.stopped().await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let result: Value = serde_json::from_str(&finished.stdout.join("\n")).expect("it is JSON");
    assert_eq!(result["errors"].to_string(), r#"{"busy":20,"error":20}"#);
    assert_eq!(number(&result["replies"]), 40);
    assert_eq!(number(&result["requests"]), 80);
    assert_eq!(
        (report.requests.received, report.requests.rejected),
        (80, 20)
    );
    assert!(
        finished
            .stderr
            .contains("40 of 80 requests were not answered"),
        "{finished:?}"
    );
}

#[tokio::test]
async fn bench_with_the_wrong_framing_says_so() {
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate()))).await;
    let finished = bench(server.addr(), &["-n", "1"]).await;
    server.stopped().await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("--framing"), "{finished:?}");
}

#[server_protocol(framing = Lines)]
fn close_each(request: &str) -> Response<&'static str> {
    let _ = request;
    Response::ReplyAndClose("bye")
}

#[tokio::test]
async fn bench_connects_again_for_each_request_if_it_is_told_to() {
    let server = start(ConcurrentServer::new(CloseEach)).await;
    let load = ["--framing", "lines", "-n", "20", "-c", "2", "--reconnect"];
    let result = result(server.addr(), &load).await;
    let report = server.stopped().await;
    assert_eq!(number(&result["replies"]), 20, "{result}");
    assert_eq!(
        (report.requests.served, report.connections.accepted),
        (20, 20)
    );
}

#[tokio::test]
async fn bench_opens_a_connection_for_each_request_where_it_has_one() {
    let server = start(ConcurrentServer::new(tester::<UntilEof>(&gate()))).await;
    let result = result(
        server.addr(),
        &["--framing", "until-eof", "-n", "20", "-c", "3"],
    )
    .await;
    let report = server.stopped().await;
    assert_eq!(number(&result["replies"]), 20, "{result}");
    assert_eq!(
        (report.requests.served, report.connections.accepted),
        (20, 20)
    );
}

#[tokio::test]
async fn bench_counts_requests_whose_connection_is_lost() {
    // It closes the first connection with four requests in flight, and answers those of the next.
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let serve = async {
        let mut requests = [0; 8];
        for replies in ["", "a\nb\nc\nd\n"] {
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream
                .read_exact(&mut requests)
                .await
                .expect("four requests");
            stream
                .write_all(replies.as_bytes())
                .await
                .expect("the client reads");
        }
    };
    let load = [
        "--framing",
        "lines",
        "-c",
        "1",
        "-p",
        "4",
        "-n",
        "8",
        "x",
        "--json",
    ];
    let ((), finished) = tokio::join!(within(serve), bench(address, &load));
    let result: Value = serde_json::from_str(&finished.stdout.join("\n")).expect("it is JSON");
    assert_eq!(
        result["errors"].to_string(),
        r#"{"closed":4}"#,
        "{finished:?}"
    );
    assert_eq!(number(&result["replies"]), 4);
}

#[tokio::test]
async fn bench_gives_up_a_server_that_does_not_reply() {
    // The backlog accepts.
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let load = ["-n", "3", "-c", "1", "--timeout", "200ms"];
    let finished = bench(address, &load).await;
    assert_eq!(finished.status.code(), Some(4), "{finished:?}");
    let errors = finished
        .stdout
        .iter()
        .find(|line| line.starts_with("errors"));
    let errors = errors
        .expect("a line")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(errors, "errors 3 2 not sent, 1 timed out");
    assert!(finished.stderr.contains("raise --timeout"), "{finished:?}");
}

#[tokio::test]
async fn bench_ends_with_its_table_at_ctrl_c() {
    let gate = gate();
    let server = start(ConcurrentServer::new(tester::<Lines>(&gate))).await;
    let address = server.addr().to_string();
    let mix = Scratch::new("1 hello\n1 wait x\n");
    let arguments = [
        "bench",
        &address,
        "--framing",
        "lines",
        "-c",
        "1",
        "--mix",
        mix.path(),
    ];
    let running = tcs(&arguments);
    within(gate.reached()).await;
    running.interrupt().await;
    let finished = running.finished().await;
    assert_eq!(finished.status.code(), Some(130), "{finished:?}");
    let lines = finished.stdout;
    assert_eq!(
        lines
            .first()
            .and_then(|line| line.split_once(": "))
            .map(|(address, _)| address),
        Some(&*address)
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("replies ") && line.contains(" 1 ")),
        "{lines:?}"
    );
    assert!(
        lines.iter().all(|line| line.chars().count() < 80),
        "{lines:?}"
    );
    gate.open();
    server.stopped().await;
}

#[tokio::test]
async fn bench_compares_and_draws() {
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let (a, b, plot) = (Scratch::new(""), Scratch::new(""), Scratch::new(""));
    for scratch in [&a, &b] {
        let load = ["-n", "100", "--plot", plot.path(), "--json"];
        let lines = bench(server.addr(), &load).await.succeeded();
        std::fs::write(scratch.path(), lines.join("\n")).expect("a file for a test");
    }
    let compared = tcs(&["bench", "compare", a.path(), b.path()])
        .finished()
        .await
        .succeeded();
    let again = ["-n", "100", "--compare", a.path()];
    for lines in [compared, bench(server.addr(), &again).await.succeeded()] {
        let names: Vec<_> = lines
            .iter()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let all = [
            "A", "B", "A", "rate", "errors", "p50", "p90", "p99", "p99.9", "max",
        ];
        assert_eq!(names, all, "{lines:?}");
    }
    server.stopped().await;
    let plotted = std::fs::read_to_string(plot.path()).expect("it is there");
    is_well_formed(&plotted);
}

/// Fails unless each element of the XML is closed in its place.
fn is_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut texts = 0;
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().expect("a tag has a name");
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => assert_eq!(tag.matches('"').count() % 2, 0, "{tag}"),
            None => open.push(name),
        }
        texts += usize::from(!text.trim().is_empty());
    }
    assert_eq!(open, [""; 0]);
    assert!(xml.starts_with("<svg ") && texts > 10, "{texts} texts");
}

#[tokio::test]
async fn bench_says_what_to_do() {
    let free = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let nobody = free.local_addr().expect("it has one").to_string();
    drop(free);
    let wrong = Scratch::new("hello\n");
    for (arguments, exit, texts) in [
        (
            vec![&*nobody],
            3,
            ["Connection refused", "start the server"],
        ),
        (
            vec![&nobody, "--mix", wrong.path()],
            2,
            ["line 1", "write a number"],
        ),
        (
            vec![&nobody, "--mix", "/nowhere"],
            2,
            ["/nowhere", "No such file"],
        ),
        (vec![&nobody, "--rate", "0"], 2, ["--rate", "such as 5000"]),
        (
            vec![&nobody, "--pipeline", "0"],
            2,
            ["--pipeline", "from 1"],
        ),
        (
            vec![&nobody, "--duration", "10x"],
            2,
            ["--duration", "500ms"],
        ),
        (
            vec![&nobody, "--plot", "/nowhere/a.svg"],
            2,
            ["/nowhere/a.svg", "a folder that exists"],
        ),
        (
            vec!["compare", wrong.path(), wrong.path()],
            2,
            ["is not a result", "--json"],
        ),
        (
            vec!["compare", "/nowhere", "/nowhere"],
            2,
            ["cannot read", "--json"],
        ),
    ] {
        let all: Vec<_> = ["bench"].into_iter().chain(arguments).collect();
        let finished = tcs(&all).finished().await;
        assert_eq!(finished.status.code(), Some(exit), "{finished:?}");
        for text in texts {
            assert!(finished.stderr.contains(text), "{text}: {finished:?}");
        }
    }
}
