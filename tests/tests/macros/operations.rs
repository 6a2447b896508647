//! A module of functions is one protocol, which a typed client calls.

use std::{
    borrow::Cow,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use tcs::{ConcurrentServer, Connection, Peer, format::Postcard, server_protocol};
use tcs_tests::{start, within};

#[derive(Debug, Default)]
struct Accounts(AtomicU64);

#[derive(Debug, Default)]
struct Login(Option<String>);

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
enum BankError {
    NobodyLoggedIn,
    NotEnough { left: u64 },
}

#[server_protocol(format = Postcard)]
mod bank {
    use super::*;

    /// Says who asks.
    pub fn log_in(name: &str, #[session] login: &mut Login) {
        login.0 = Some(name.to_owned());
    }

    /// Takes `cents` from the account that logged in.
    pub async fn withdraw(
        cents: u64,
        #[state] accounts: &Accounts,
        #[session] login: &mut Login,
    ) -> Result<u64, BankError> {
        check(login)?;
        tokio::task::yield_now().await;
        let left = accounts.0.load(Relaxed);
        let rest = left
            .checked_sub(cents)
            .ok_or(BankError::NotEnough { left })?;
        accounts.0.store(rest, Relaxed);
        Ok(rest)
    }

    pub async fn balance(
        #[state] accounts: &Accounts,
        #[session] login: &Login,
    ) -> Result<u64, BankError> {
        check(login)?;
        Ok(accounts.0.load(Relaxed))
    }

    /// Joins what was said.
    pub fn join<'a>(
        first: &'a str,
        peer: &Peer,
        rest: Vec<Cow<'a, str>>,
        #[state] log: &Mutex<Vec<String>>,
        glue: char,
    ) -> String {
        log.lock().expect("no panic").push(peer.to_string());
        rest.iter()
            .fold(first.to_owned(), |all, part| format!("{all}{glue}{part}"))
    }

    /// Borrows its reply.
    pub fn first_word(text: &str) -> Option<&str> {
        text.split(' ').next()
    }

    #[blocking]
    pub fn wait(pair: (u8, u8)) -> u8 {
        pair.0 + pair.1
    }

    fn check(login: &Login) -> Result<(), BankError> {
        login
            .0
            .as_ref()
            .map(|_| ())
            .ok_or(BankError::NobodyLoggedIn)
    }
}

#[tokio::test]
async fn operations_are_called_by_their_names() {
    let protocol = bank::Protocol::new(Accounts(AtomicU64::new(5_000)), Mutex::default());
    let server = start(ConcurrentServer::new(protocol)).await;

    let mut bank = within(bank::Client::connect(server.addr()))
        .await
        .expect("it listens");
    assert_eq!(
        within(bank.balance()).await.expect("a reply"),
        Err(BankError::NobodyLoggedIn)
    );
    within(bank.log_in("Ann")).await.expect("a reply");
    assert_eq!(
        within(bank.withdraw(2_000)).await.expect("a reply"),
        Ok(3_000)
    );
    assert_eq!(
        within(bank.withdraw(4_000)).await.expect("a reply"),
        Err(BankError::NotEnough { left: 3_000 })
    );
    let joined = bank.join("a", vec!["b".into(), "c".into()], '-');
    assert_eq!(within(joined).await.expect("a reply"), "a-b-c");
    assert_eq!(
        within(bank.first_word("Hello, Ann"))
            .await
            .expect("a reply"),
        Some("Hello,")
    );
    assert_eq!(within(bank.wait((1, 2))).await.expect("a reply"), 3);

    let bank = bank.into_channel().expect("it is usable");
    let tasks = (0..10).map(|_| {
        let bank = bank.clone();
        tokio::spawn(async move { bank.withdraw(100).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(
            within(task)
                .await
                .expect("no panic")
                .expect("a reply")
                .is_ok()
        );
    }
    assert_eq!(within(bank.balance()).await.expect("a reply"), Ok(2_000));
    let length = bank.first_word("Hello, Ann", |word| word.map(str::len));
    assert_eq!(within(length).await.expect("a reply"), Some(6));
    drop(bank);
    server.stopped().await;
}

#[tokio::test]
async fn clients_call_over_what_is_there() {
    let (near, far) = tokio::io::duplex(256);
    let protocol = bank::Protocol::new(Accounts(AtomicU64::new(7)), Mutex::default());
    let serving = tokio::spawn(ConcurrentServer::new(protocol).serve_stream(far, Peer::unnamed()));
    let mut bank = bank::Client::over(Connection::over(near));
    within(bank.log_in("Ann")).await.expect("a reply");

    // Many requests in flight, by the contract.
    let mut connection = bank.into_inner();
    let mut pipeline = connection.pipeline::<bank::Contract>();
    for cents in [1, 2] {
        let request = bank::Request::Withdraw { cents };
        within(pipeline.send(request)).await.expect("there is room");
    }
    for left in [6, 4] {
        let reply = within(pipeline.receive()).await.expect("a reply");
        assert!(matches!(reply, Some(bank::Reply::Withdraw(Ok(found))) if found == left));
    }

    let bank = bank::Client::over(connection)
        .into_channel()
        .expect("it is usable");
    assert_eq!(format!("{bank:?}").split(' ').next(), Some("Client"));
    assert_eq!(within(bank.balance()).await.expect("a reply"), Ok(4));
    drop(bank);
    within(serving)
        .await
        .expect("no panic")
        .expect("good settings");
}

#[tokio::test]
async fn functions_are_called_as_they_were_written() {
    let accounts = Accounts(AtomicU64::new(10));
    let mut login = Login::default();
    assert_eq!(
        bank::withdraw(1, &accounts, &mut login).await,
        Err(BankError::NobodyLoggedIn)
    );
    bank::log_in("Ann", &mut login);
    assert_eq!(bank::withdraw(1, &accounts, &mut login).await, Ok(9));
    assert_eq!(bank::first_word("a b"), Some("a"));
}
