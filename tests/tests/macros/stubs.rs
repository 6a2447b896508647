//! Code that calls a client is tested without its server: in process, over a stream in memory.

use tcs::{ConcurrentServer, Connection, Peer, format::Json, server_protocol};
use tcs_tests::within;

#[server_protocol(format = Json)]
mod bank {
    /// What the stub below does not return.
    pub fn balance(account: &str) -> u64 {
        u64::MAX - u64::from(account.is_empty())
    }

    pub fn owner(account: &str) -> &str {
        account
    }
}

/// The code that is tested.
async fn is_rich(bank: &mut bank::Client, account: &str) -> tcs::Result<bool> {
    let balance = bank.balance(account).await?;
    Ok(balance > 1_000 && bank.owner(account).await? != "nobody")
}

/// Answers as the tests need it.
#[server_protocol(format = Json)]
fn bank_stub(request: bank::Request<'_>) -> bank::Reply<'_> {
    match request {
        bank::Request::Balance { account: "ann" } => bank::Reply::Balance(2_000),
        bank::Request::Balance { .. } => bank::Reply::Balance(0),
        bank::Request::Owner { account } => bank::Reply::Owner(account),
    }
}

#[tokio::test]
async fn stub_answers_in_place_of_the_server() {
    let (near, far) = tokio::io::duplex(1_024);
    let served = ConcurrentServer::new(BankStub).serve_stream(far, Peer::unnamed());
    let served = tokio::spawn(served);
    let mut bank = bank::Client::over(Connection::over(near));
    assert!(within(is_rich(&mut bank, "ann")).await.expect("replies"));
    assert!(!within(is_rich(&mut bank, "bob")).await.expect("a reply"));
    drop(bank);
    let report = within(served).await.expect("no panic");
    assert_eq!(report.expect("good settings").requests.served, 3);
}

#[tokio::test]
async fn server_that_is_gone_is_an_error() {
    let (near, far) = tokio::io::duplex(1_024);
    drop(far);
    let mut bank = bank::Client::over(Connection::over(near));
    let error = within(is_rich(&mut bank, "ann")).await;
    assert!(error.is_err());
}
