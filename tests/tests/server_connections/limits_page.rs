//! `docs/limits.md` says what the documentation of the settings says, at servers and at clients.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use tcs::{ConcurrentServer, RejectionKind, framing::LengthPrefixed, server::AtCapacity};
use tcs_tests::{Heard, RawPeer, Tester, frame, gate, patiently, start, tester};
use tokio::task::{JoinSet, yield_now};

use crate::peers::anywhere;

fn read(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(workspace.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the methods of a file that set something with a default, with the text of their documentation.
fn settings(file: &str) -> Vec<(String, String)> {
    let mut doc = String::new();
    let mut settings = Vec::new();
    for line in read(file).lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some((name, _)) = line
            .strip_prefix("pub fn ")
            .and_then(|rest| rest.split_once(['(', '<']))
        {
            // That one is hidden.
            if doc.contains("Default:") && name != "poll_budget" {
                settings.push((name.to_owned(), doc.replace(['[', ']'], "")));
            }
            doc.clear();
        } else if !line.starts_with("#[") {
            doc.clear();
        }
    }
    settings
}

/// Returns the cells of the rows that begin with `start`.
fn rows(start: &str) -> Vec<Vec<String>> {
    let page = read("docs/limits.md");
    let rows = page.lines().filter(|line| line.starts_with(start));
    rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Returns the texts between asterisks.
fn emphasized(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('*').skip(1).step_by(2)
}

#[test]
fn page_has_a_row_with_the_default_of_each_setting() {
    let settings = settings("tcs/src/server/builder.rs");
    let rows = rows("| `");
    let documented: BTreeSet<String> = settings
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(listed, documented);
    for (name, doc) in &settings {
        let row = rows.iter().find(|row| row[1] == format!("`{name}`"));
        let default = row.expect("it is listed")[2].as_str();
        let first = default.split([';']).next().unwrap_or(default);
        let first = first.split(", ").next().unwrap_or(first);
        assert!(
            doc.contains(&format!("Default: {first}")),
            "{name}: {first}"
        );
    }
}

#[test]
fn page_has_a_row_with_the_default_of_each_limit_of_clients() {
    for (start, file, others) in [
        ("| connection | ", "client/options.rs", ["tls"].as_slice()),
        (
            "| channel | ",
            "client/channel/options.rs",
            ["connect_options", "on_connect"].as_slice(),
        ),
    ] {
        let mut settings = settings(&format!("tcs/src/{file}"));
        settings.retain(|(name, _)| !others.contains(&name.as_str()));
        let rows = rows(start);
        assert_eq!(rows.len(), settings.len(), "{file}");
        for (name, doc) in settings {
            let row = rows.iter().find(|row| row[2].contains(&name));
            let default = row.unwrap_or_else(|| panic!("no row of {name}"))[3].as_str();
            let first = default.split(" to ").next().unwrap_or(default);
            // That one is a row in words, and its setting a switch.
            assert!(
                name == "retries" || doc.contains(&format!("Default: {first}")),
                "{name}: {first}"
            );
        }
    }
}

#[test]
fn peers_are_told_kinds_of_rejections() {
    let kinds: BTreeSet<String> = (0..0x80)
        .filter_map(RejectionKind::from_code)
        .map(|kind| kind.to_string())
        .collect();
    let rows = rows("| `");
    let told: BTreeSet<&str> = rows.iter().flat_map(|row| emphasized(&row[4])).collect();
    assert!(told.len() > 5, "{told:?}");
    for kind in told {
        assert!(kinds.contains(kind), "{kind}");
    }
}

#[test]
fn each_limit_has_a_metric_that_exists() {
    let documented = read("tcs/src/server/mod.rs");
    // Those of the first two tables: the others have no limits.
    let rows = rows("| `");
    let metrics = rows
        .iter()
        .filter_map(|row| row.get(6))
        .filter(|cell| !cell.is_empty());
    let metrics: Vec<_> = metrics.collect();
    assert_eq!(
        metrics.len(),
        rows.iter().filter(|row| row.len() > 6).count()
    );
    assert!(metrics.len() > 20, "{metrics:?}");
    for metric in metrics {
        assert!(
            documented.contains(&format!("//! | {metric} |")),
            "{metric}"
        );
    }
}

type Server = ConcurrentServer<Tester<LengthPrefixed>>;

/// How a limit is set, and what each peer sends until one of them is told that it was reached.
type Case = (&'static str, fn(Server) -> Server, Vec<Vec<u8>>);

/// What a row tells of some of its limits: the text that begins before the kind.
const OF_ITS_OWN: [(&str, &str); 2] = [
    ("max_connections", "`Reject`: *"),
    ("at_capacity", "`EvictIdle`: *"),
];

const SECOND: Duration = Duration::from_secs(1);

fn cases() -> Vec<Case> {
    let requests = |texts: &[&str]| texts.iter().flat_map(frame).collect::<Vec<_>>();
    let (one, nothing) = (requests(&["a"]), Vec::new());
    let mut large = frame(vec![b'a'; 4 << 20]);
    large.pop();
    vec![
        (
            "max_connections",
            |server| server.max_connections(1).at_capacity(AtCapacity::Reject),
            vec![one.clone(), nothing.clone()],
        ),
        (
            "at_capacity",
            |server| server.max_connections(1).at_capacity(AtCapacity::EvictIdle),
            vec![one.clone(), nothing.clone()],
        ),
        (
            "max_connections_per_address",
            |server| server.max_connections_per_address(1),
            vec![one.clone(), nothing.clone()],
        ),
        (
            "max_connection_age",
            |server| server.max_connection_age(SECOND),
            vec![nothing.clone()],
        ),
        (
            "max_requests_per_connection",
            |server| server.max_requests_per_connection(1),
            vec![one.clone()],
        ),
        ("idle_timeout", |server| server, vec![nothing]),
        (
            "max_frame_len",
            |server| server.max_frame_len(10),
            vec![requests(&["size 1000000"])],
        ),
        (
            "max_reply_len",
            |server| server.max_reply_len(10),
            vec![requests(&["size 100"])],
        ),
        (
            "memory_budget",
            |server| server.memory_budget(1 << 20),
            vec![large.clone(), large],
        ),
        (
            "max_request_rate_per_address",
            |server| server.max_request_rate_per_address(1),
            vec![requests(&["a", "b"])],
        ),
        (
            "max_in_flight_per_address",
            |server| server.max_in_flight_per_address(1),
            vec![requests(&["wait a"]), one],
        ),
        (
            "max_queue_time",
            |server| server.max_queue_time(SECOND),
            vec![requests(&["wait a", "b"])],
        ),
        (
            "max_pipelined_requests",
            |server| server.max_pipelined_requests(1),
            vec![requests(&["a", "b"])],
        ),
        ("frame_timeout", |server| server, vec![vec![0]]),
        (
            "request_timeout",
            |server| server.request_timeout(SECOND),
            vec![requests(&["wait a"])],
        ),
        (
            "half_close_timeout",
            |server| server,
            vec![requests(&["wait a"])],
        ),
    ]
}

/// Returns the kind of the rejection that names a setting.
async fn kind_of_rejection((setting, set, requests): Case) -> RejectionKind {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(tester(&gate)).max_connections_per_address(None);
    let server = start(set(server).listener(listener)).await;
    let mut peers = JoinSet::new();
    for bytes in requests {
        let mut peer = world.connect("192.0.2.1:1");
        // It may be told before all is sent.
        patiently(peer.try_send(bytes)).await.ok();
        if setting == "half_close_timeout" {
            patiently(peer.finish()).await;
        }
        peers.spawn(hears(peer, setting));
        // It is served, or waits, before the next comes.
        for _ in 0..100 {
            yield_now().await;
        }
    }
    if setting == "max_queue_time" {
        patiently(gate.reached()).await;
        tokio::time::sleep(2 * SECOND).await;
        gate.open();
    }
    let code = loop {
        let heard = peers.join_next().await.expect(setting).expect("no panic");
        if let Some(code) = heard {
            break code;
        }
    };
    drop(peers);
    gate.open();
    server.stopped().await;
    RejectionKind::from_code(code).expect("a rejection")
}

/// Returns the kind of the control frame that names the setting, once one has come.
async fn hears(mut peer: RawPeer, setting: &str) -> Option<u8> {
    let name = format!("`{setting}`");
    loop {
        match patiently(peer.hear()).await {
            Heard::Control(code, text) if text.contains(&name) => return Some(code),
            Heard::End => return None,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peers_are_told_what_the_page_says() {
    let rows = rows("| `");
    let mut rest: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row[4].contains('*'))
        .map(|row| row[1].trim_matches('`'))
        .collect();
    for case in cases() {
        let setting = case.0;
        let kind = kind_of_rejection(case).await.to_string();
        let row = match setting {
            "max_connections" => "at_capacity",
            _ => setting,
        };
        rest.remove(row);
        let row = rows.iter().find(|cells| cells[1].trim_matches('`') == row);
        let told = &row.expect(setting)[4];
        let own = OF_ITS_OWN.iter().find(|(of, _)| *of == setting);
        let is_told = match own {
            Some((_, before)) => told.contains(&format!("{before}{kind}*")),
            None => emphasized(told).any(|told| told == kind),
        };
        assert!(is_told, "{setting}: {kind}, not {told}");
    }
    // What these peers are told names no setting, or another one, or waits for credit (tests/conversation/credit.rs).
    let others = [
        "drain_timeout",
        "max_blocking",
        "on_accept",
        "write_timeout",
    ];
    assert_eq!(rest, others.into());
}
