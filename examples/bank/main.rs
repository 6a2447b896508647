//! A bank: accounts in a SQLite database, with requests and replies as text.
//!
//! Run it from the root of the repository:
//!
//! ```text
//! cargo run -p bank
//! ```
//!
//! It prints the address that it listens on, and exits on Ctrl-C. It creates the database `bank.db` in
//! the current folder, with two accounts: `ann` with PIN 1234 and 100.00, and `bob` with PIN 4321 and
//! 50.00. To choose another database and address: `cargo run -p bank -- my.db 0.0.0.0:7000`.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! echo ann 1234 GET_BALANCE      | nc -N localhost 1234      OK 100.00
//! echo ann 1234 WITHDRAW 20      | nc -N localhost 1234      OK 80.00
//! echo ann 1234 DEPOSIT 0.5      | nc -N localhost 1234      OK 80.50
//! echo bob 4321 WITHDRAW 60      | nc -N localhost 1234      ERROR insufficient funds: the balance is 50.00
//! echo bob 4321 CHANGE_PIN 9876  | nc -N localhost 1234      OK PIN changed
//! echo bob 4321 GET_BALANCE      | nc -N localhost 1234      ERROR wrong user or PIN
//! ```
//!
//! The framing is `Raw`, for clients that use the Python library: a message is plain text, and a
//! connection has one request. This is an example only: nothing is encrypted, and a peer may guess PINs
//! without a limit.

mod accounts;
mod money;
mod request;

use std::{env, error::Error};

use tcs::{ConcurrentServer, framing::Raw, server_protocol};

use crate::{
    accounts::{Accounts, Problem},
    request::{Command, Request},
};

/// Answers one request. It is `blocking`, because it waits for the disk.
#[server_protocol(framing = Raw, blocking)]
fn bank(request: &str, #[state] accounts: &Accounts) -> Result<String, String> {
    match answer(request, accounts) {
        Ok(reply) => Ok(format!("OK {reply}")),
        Err(problem) => {
            if let Problem::Database(error) = &problem {
                eprintln!("the database: {error}");
            }
            Err(format!("ERROR {problem}"))
        }
    }
}

fn answer(request: &str, accounts: &Accounts) -> Result<String, Problem> {
    let Request { login, command } = Request::parse(request)?;
    let balance = match command {
        Command::Withdraw(amount) => accounts.withdraw(login, amount)?,
        Command::Deposit(amount) => accounts.deposit(login, amount)?,
        Command::GetBalance => accounts.balance(login)?,
        Command::ChangePin(pin) => {
            accounts.change_pin(login, pin)?;
            return Ok("PIN changed".to_owned());
        }
    };
    Ok(balance.to_string())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let database = arguments.next().unwrap_or_else(|| "bank.db".to_owned());
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:1234".to_owned());
    let accounts = Accounts::open(database)?;
    ConcurrentServer::new(Bank { accounts })
        .address(address)
        .max_frame_len(1_024) // the longest request has far less
        .on_listening(|server| println!("listening on {}", server.local_addr()))
        .run()?;
    Ok(())
}
