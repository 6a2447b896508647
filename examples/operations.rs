//! Several operations in one protocol: a bank with a login for each connection.
//!
//! ```text
//! cargo run -p tcs-examples --features postcard --example operations
//! ```
//!
//! A client logs in and withdraws money. Then ten tasks share its connection. It prints:
//!
//! ```text
//! nobody logged in: Err(NobodyLoggedIn)
//! Ann has 100.00
//! 80.00 are left
//! too much: Err(NotEnough { left: 8000 })
//! ten tasks later: 70.00
//! ```
//!
//! `describe` lets tools ask the server for its operations: `tcs describe` does, and so can any client.
//!
//! Try: add an operation `deposit` at the end of the module.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tcs::{ConcurrentServer, format::Postcard, server_protocol};

/// The cents of each owner, shared by all connections.
#[derive(Default)]
struct Accounts(Mutex<HashMap<String, u64>>);

/// The owner who has logged in on a connection.
#[derive(Default)]
struct Login(Option<String>);

#[derive(Debug, Deserialize, Serialize)]
enum BankError {
    NobodyLoggedIn,
    NotEnough { left: u64 },
}

/// A bank with an account for each name.
#[server_protocol(format = Postcard, describe)]
mod bank {
    use super::{Accounts, BankError, Login};

    /// Logs in, and opens an account with 100.00 if there is none.
    pub fn log_in(name: &str, #[state] accounts: &Accounts, #[session] login: &mut Login) {
        accounts.with(name, |_| ());
        login.0 = Some(name.to_owned());
    }

    /// Takes `cents` from the account that is logged in, and returns the rest.
    pub async fn withdraw(
        cents: u64,
        #[state] accounts: &Accounts,
        #[session] login: &Login,
    ) -> Result<u64, BankError> {
        accounts.with(name(login)?, |balance| {
            let left = balance.checked_sub(cents);
            *balance = left.ok_or(BankError::NotEnough { left: *balance })?;
            Ok(*balance)
        })
    }

    /// Returns the balance. It is safe to execute more than once.
    #[idempotent]
    pub fn balance(
        #[state] accounts: &Accounts,
        #[session] login: &Login,
    ) -> Result<u64, BankError> {
        Ok(accounts.with(name(login)?, |balance| *balance))
    }

    /// A helper: because it is not `pub`, it is not an operation.
    fn name(login: &Login) -> Result<&str, BankError> {
        login.0.as_deref().ok_or(BankError::NobodyLoggedIn)
    }
}

impl Accounts {
    fn with<T>(&self, name: &str, change: impl FnOnce(&mut u64) -> T) -> T {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(accounts.entry(name.to_owned()).or_insert(10_000))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let accounts = Accounts::default();
    let server = ConcurrentServer::new(bank::Protocol { accounts });
    let server = server.port(0).bind().await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    let mut bank = bank::Client::connect(addr).await?;
    println!("nobody logged in: {:?}", bank.balance().await?);
    bank.log_in("Ann").await?;
    println!("Ann has {}", euros(bank.balance().await?));
    println!("{} are left", euros(bank.withdraw(2_000).await?));
    println!("too much: {:?}", bank.withdraw(9_000).await?);

    // It does not reconnect: `production_client.rs` does.
    let bank = bank.into_channel()?;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let bank = bank.clone();
            tokio::spawn(async move { bank.withdraw(100).await })
        })
        .collect();
    for task in tasks {
        euros(task.await??);
    }
    println!("ten tasks later: {}", euros(bank.balance().await?));
    Ok(())
}

fn euros(cents: Result<u64, BankError>) -> String {
    match cents {
        Ok(cents) => format!("{}.{:02}", cents / 100, cents % 100),
        Err(error) => format!("{error:?}"),
    }
}
