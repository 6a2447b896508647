//! What `docs/deploy.md` shows works, and its times fit together.

use std::fs;

use tcs_tests::{
    process::{Process, is_missing},
    scratch_path,
};

pub(crate) const PAGE: &str = include_str!("../../../docs/deploy.md");

/// The default of `drain_timeout`, in seconds.
const DRAIN_TIMEOUT: u64 = 30;

/// Returns the blocks of the page in `language`.
pub(crate) fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let starts = PAGE.split(&fence).skip(1);
    starts
        .map(|start| start.split_once("```").expect("its end").0)
        .collect()
}

/// Returns the number after `text`.
fn number_after(page: &str, text: &str) -> u64 {
    let (_, rest) = page.split_once(text).expect("it is set");
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().expect("a number")
}

#[test]
fn programs_are_those_that_are_tested() {
    let systemd = include_str!("../../programs/greet.rs");
    let balancer = include_str!("../../../examples/behind_balancer.rs");
    for (block, file) in [(0, systemd), (2, balancer)] {
        let (_, program) = file.split_once("\n\n").expect("a header");
        assert_eq!(blocks("rust,no_run")[block], program);
    }
}

#[test]
fn managers_wait_longer_than_a_server_takes_to_stop() {
    assert!(number_after(PAGE, "TimeoutStopSec=") > DRAIN_TIMEOUT);
    let lame_duck = number_after(PAGE, "Set `lame_duck` to ");
    let kubernetes = number_after(PAGE, "terminationGracePeriodSeconds: ");
    assert!(kubernetes > lame_duck + DRAIN_TIMEOUT);
    assert!(number_after(PAGE, "docker stop -t ") > DRAIN_TIMEOUT);
}

#[test]
fn lame_duck_is_longer_than_the_checks_take_to_fail() {
    let seconds = number_after(PAGE, ".lame_duck(Duration::from_secs(");
    let [haproxy, _] = blocks("haproxy")[..] else {
        panic!("another number of blocks");
    };
    let interval = number_after(haproxy, " inter ");
    let checks = number_after(haproxy, " fall ");
    // The last check begins an interval after the stop at the latest.
    assert!(seconds * 1_000 > interval * (checks + 1));
}

#[tokio::test]
async fn units_of_systemd_are_valid() {
    if is_missing("systemd-analyze") {
        return;
    }
    let [socket, service] = blocks("ini")[..] else {
        panic!("another number of blocks");
    };
    let folder = scratch_path("units");
    fs::create_dir(&folder).expect("a writable folder");
    let files = ["greet.socket", "greet.service"].map(|name| folder.join(name));
    let service = service.replace("/usr/local/bin/greet", env!("CARGO_BIN_EXE_greet"));
    fs::write(&files[0], socket).expect("a writable folder");
    fs::write(&files[1], service).expect("a writable folder");
    let arguments = [
        "verify".as_ref(),
        files[0].as_os_str(),
        files[1].as_os_str(),
    ];
    let verified = Process::start("systemd-analyze", arguments)
        .finished()
        .await;
    assert_eq!(verified.succeeded(), [""; 0]);
    fs::remove_dir_all(folder).expect("it is ours");
}
