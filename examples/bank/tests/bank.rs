//! The bank, as its customers see it.
//!
//! This is a test of the package `bank`, so that cargo builds the program before it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tcs_tests::process::{Process, ask, connect, is_missing};

/// The header of the program, which shows what to try.
const PROGRAM: &str = include_str!("../main.rs");

/// Names a database that does not exist yet.
fn database(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    for file in [path.clone(), path.with_extension("db-journal")] {
        drop(fs::remove_file(file));
    }
    path
}

/// Starts a bank on a free port.
async fn bank(database: &Path) -> (Process, SocketAddr) {
    let arguments = [database.as_os_str(), "127.0.0.1:0".as_ref()];
    let mut bank = Process::start(env!("CARGO_BIN_EXE_bank"), arguments);
    let line = bank.line().await;
    let address = line.strip_prefix("listening on ").expect("an address");
    let address = address.parse().expect("an address");
    (bank, address)
}

async fn close(bank: Process) {
    bank.interrupt().await;
    assert_eq!(bank.finished().await.succeeded(), [""; 0]);
}

async fn reply(bank: SocketAddr, request: &str) -> String {
    ask(connect(bank).await, request).await
}

#[tokio::test]
async fn requests_of_the_header_get_the_replies_it_shows() {
    let (bank, address) = bank(&database("header.db")).await;
    let mut shown = 0;
    for line in PROGRAM.lines() {
        if let Some(rest) = line.strip_prefix("//! echo ") {
            let (request, rest) = rest.split_once('|').expect("a pipe");
            let (_, expected) = rest.split_once("1234 ").expect("a port");
            let request = format!("{}\n", request.trim());
            assert_eq!(reply(address, &request).await, expected.trim(), "{request}");
            shown += 1;
        }
    }
    assert_eq!(shown, 6);
    close(bank).await;
}

#[tokio::test]
async fn balances_outlive_the_program() {
    let database = database("outlive.db");
    for expected in ["OK 80.00", "OK 60.00"] {
        let (bank, address) = bank(&database).await;
        assert_eq!(reply(address, "ann 1234 WITHDRAW 20").await, expected);
        close(bank).await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_explained() {
    let (bank, address) = bank(&database("explained.db")).await;
    for (request, expected) in [
        ("hello", "a request is <user> <pin> and one of WITHDRAW"),
        ("ann 1234 WITHDRAW 1.234", "an amount is more than zero"),
        ("ann 1234 CHANGE_PIN abcd", "a PIN has 4 to 12 digits"),
    ] {
        let reply = reply(address, request).await;
        let reason = reply.strip_prefix("ERROR ").expect("an error");
        assert!(reason.starts_with(expected), "{reply}");
    }
    close(bank).await;
}

/// Two programs on one database, and customers of both who take Ann's and Bob's money at the same
/// time, more than there is.
#[tokio::test]
async fn concurrent_withdrawals_neither_lose_nor_invent_money() {
    const CUSTOMERS: usize = 8;
    const VISITS: usize = 20;

    let database = database("hammered.db");
    let (east, west) = (bank(&database).await, bank(&database).await);
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|number| {
            let bank = if number % 2 == 0 { east.1 } else { west.1 };
            tokio::spawn(async move {
                let (mut withdrawn, mut deposited) = (0, 0);
                for visit in 0..VISITS {
                    let taken = reply(bank, "ann 1234 WITHDRAW 1.75").await;
                    match taken.split_once(' ') {
                        Some(("OK", _)) => withdrawn += 175,
                        _ => assert!(taken.starts_with("ERROR insufficient funds"), "{taken}"),
                    }
                    if visit % 4 == 0 {
                        let given = reply(bank, "ann 1234 DEPOSIT 0.50").await;
                        assert!(given.starts_with("OK "), "{given}");
                        deposited += 50;
                    }
                }
                (withdrawn, deposited)
            })
        })
        .collect();

    let (mut withdrawn, mut deposited) = (0, 0);
    for customer in customers {
        let (out, into) = customer.await.expect("no panic");
        withdrawn += out;
        deposited += into;
    }
    let left = 10_000 + deposited - withdrawn;
    assert!((0..175).contains(&left), "{left}");
    for bank in [east.1, west.1] {
        let expected = format!("OK {}.{:02}", left / 100, left % 100);
        assert_eq!(reply(bank, "ann 1234 GET_BALANCE").await, expected);
        assert_eq!(reply(bank, "bob 4321 GET_BALANCE").await, "OK 50.00");
    }
    close(east.0).await;
    close(west.0).await;
}

#[tokio::test]
async fn python_client_withdraws() {
    if is_missing("python3") {
        return;
    }
    let (bank, address) = bank(&database("python.db")).await;
    let port = address.port().to_string();
    for (request, expected) in [
        ("bob 4321 WITHDRAW 20.50", "Response: OK 29.50"),
        ("bob 4321 GET_BALANCE", "Response: OK 29.50"),
        ("bob 1234 GET_BALANCE", "Response: ERROR wrong user or PIN"),
    ] {
        let client = Process::python("client.py", [&port, request]);
        assert_eq!(client.finished().await.succeeded(), [expected], "{request}");
    }
    close(bank).await;
}
