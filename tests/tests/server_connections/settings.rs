//! Settings from a file: each setting that is data is one, and what is none is told.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use serde::{Deserialize as _, de::value};
use tcs::{ConcurrentServer, ErrorKind, RejectionKind, server::ServerSettings, server_protocol};
use tcs_tests::{Heard, frame, start, within};

#[server_protocol]
async fn wait(milliseconds: u64) -> String {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "waited".to_owned()
}

/// The settings that no file can hold, or that are for measurements.
const NO_DATA: [&str; 8] = [
    "handshake",
    "listener",
    "notify_systemd",
    "on_accept",
    "on_listening",
    "poll_budget",
    "settings",
    "start_tls",
];

fn source(file: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(workspace.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the names that the error about an unknown one lists.
fn fields() -> BTreeSet<String> {
    let unknown = [("nothing", "1")].into_iter();
    let read = ServerSettings::deserialize(value::MapDeserializer::new(unknown));
    let error: value::Error = read.expect_err("it is no setting");
    let text = error.to_string();
    let names = text.split('`').skip(1).step_by(2).skip(1);
    names.map(str::to_owned).collect()
}

#[test]
fn each_method_with_data_is_a_field() {
    let builder = source("tcs/src/server/builder.rs");
    let lines = builder.lines().map(str::trim);
    let methods = lines.filter_map(|line| {
        let (name, rest) = line.strip_prefix("pub fn ")?.split_once('(')?;
        rest.starts_with("mut self")
            .then(|| name.split('<').next())?
    });
    let mut expected: BTreeSet<_> = methods.map(str::to_owned).collect();
    expected.retain(|name| !NO_DATA.contains(&&**name));
    assert!(expected.len() > 25, "{expected:?}");
    assert_eq!(fields(), expected);
}

#[test]
fn page_of_limits_has_each_field() {
    let page = source("docs/limits.md");
    for field in fields() {
        assert!(page.contains(&format!("\n| `{field}` |")), "{field}");
    }
}

#[tokio::test]
async fn file_sets_what_it_has() {
    let file = r#"
        host = "127.0.0.1"
        port = 0
        max_connections_per_address = "none"
        request_timeout = "20ms"
        idle_timeout = 60
        max_frame_len = 8
    "#;
    let settings: ServerSettings = toml::from_str(file).expect("settings");
    let server = start(ConcurrentServer::new(Wait).settings(&settings)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame("5000"))).await;
    let Heard::Control(kind, text) = within(peer.hear()).await else {
        panic!("a rejection");
    };
    assert_eq!(
        RejectionKind::from_code(kind),
        Some(RejectionKind::TimedOut),
        "{text}"
    );
    within(peer.send(frame("000000001"))).await;
    let Heard::Control(kind, text) = within(peer.hear()).await else {
        panic!("a rejection");
    };
    assert_eq!(
        RejectionKind::from_code(kind),
        Some(RejectionKind::TooLarge),
        "{text}"
    );
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn later_settings_count() {
    let read = |text| toml::from_str::<ServerSettings>(text).expect("settings");
    let server = ConcurrentServer::new(Wait)
        .max_connections(0)
        .settings(&read("max_connections = 0\nmax_blocking = 1\nport = 0"))
        .settings(&read("max_connections = '7'"));
    within(server.bind()).await.expect("the last one is valid");
    let server = ConcurrentServer::new(Wait).settings(&read("linger = 'none'\nmax_blocking = 0"));
    let error = within(server.bind()).await.expect_err("zero");
    assert_eq!(error.kind(), ErrorKind::Setting);
    assert!(error.to_string().contains("max_blocking"), "{error}");
}

#[test]
fn what_is_no_setting_is_shown_with_its_line() {
    for (text, parts) in [
        (
            "port = 1\nidle_timout = 5",
            ["line 2", "unknown field `idle_timout`"],
        ),
        (
            "idle_timeout = '5 days'",
            [
                "line 1",
                "`idle_timeout` cannot be `5 days`: write seconds, or a time such as",
            ],
        ),
        (
            "port = -1",
            [
                "line 1",
                "`port` cannot be `-1`: write a number up to 65,535",
            ],
        ),
        (
            "port = []",
            ["line 1", "expected a number up to 65,535 for `port`"],
        ),
        (
            "at_capacity = 'panic'",
            ["line 1", "write \"wait\" or \"reject\" or \"evict_idle\""],
        ),
    ] {
        let error = toml::from_str::<ServerSettings>(text).expect_err("it is wrong");
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = serde_json::from_str::<ServerSettings>(r#"{"port":1,"port":2}"#);
    let error = error.expect_err("it is given twice").to_string();
    assert!(error.contains("duplicate field `port`"), "{error}");
}
