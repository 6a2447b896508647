//! The accounts, in a SQLite database.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::{
    money::{Amount, Balance},
    request::{Login, NoRequest, Pin},
};

/// All accounts of the bank.
///
/// One connection behind a lock: SQLite lets one writer at a time into a database anyway, and each
/// transaction here is short. A bank with many readers would keep a pool and use write-ahead
/// logging.
#[derive(Debug)]
pub(crate) struct Accounts {
    connection: Mutex<Connection>,
}

/// Why the bank rejected a request. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Request(#[from] NoRequest),
    /// One error for both, so that a peer cannot find out who has an account.
    #[error("wrong user or PIN")]
    Login,
    #[error("insufficient funds: the balance is {0}")]
    InsufficientFunds(Balance),
    #[error("the balance would be too large")]
    TooMuchMoney,
    #[error("the accounts cannot be reached now, try again later")]
    Database(#[from] rusqlite::Error),
}

// PINs are stored as plain text. A hash of four digits would not protect them, because all 10,000 can be
// tried. A service with real passwords stores `argon2` hashes and limits the number of attempts.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS accounts (
        user TEXT PRIMARY KEY,
        pin TEXT NOT NULL,
        cents INTEGER NOT NULL CHECK (cents >= 0)
    ) STRICT;
    INSERT OR IGNORE INTO accounts VALUES ('ann', '1234', 10000), ('bob', '4321', 5000);
";

/// How long a transaction waits while another process changes the same database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl Accounts {
    /// Opens the database, and creates it with the accounts of Ann and Bob if it is not there.
    pub(crate) fn open(path: impl AsRef<Path>) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let transaction = begin(&mut connection)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.commit()?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    pub(crate) fn withdraw(&self, login: Login<'_>, amount: Amount) -> Result<Balance, Problem> {
        self.change_balance(login, |balance| {
            balance
                .minus(amount)
                .ok_or(Problem::InsufficientFunds(balance))
        })
    }

    pub(crate) fn deposit(&self, login: Login<'_>, amount: Amount) -> Result<Balance, Problem> {
        self.change_balance(login, |balance| {
            balance.plus(amount).ok_or(Problem::TooMuchMoney)
        })
    }

    pub(crate) fn balance(&self, login: Login<'_>) -> Result<Balance, Problem> {
        balance(&self.connection(), login)
    }

    pub(crate) fn change_pin(&self, login: Login<'_>, new: Pin<'_>) -> Result<(), Problem> {
        let changed = self.connection().execute(
            "UPDATE accounts SET pin = ?3 WHERE user = ?1 AND pin = ?2",
            params![login.user, login.pin, new.digits()],
        )?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Problem::Login)
        }
    }

    /// Replaces the balance by what `change` returns for it, in one transaction.
    fn change_balance(
        &self,
        login: Login<'_>,
        change: impl FnOnce(Balance) -> Result<Balance, Problem>,
    ) -> Result<Balance, Problem> {
        let mut connection = self.connection();
        let transaction = begin(&mut connection)?;
        let changed = change(balance(&transaction, login)?)?;
        transaction.execute(
            "UPDATE accounts SET cents = ?2 WHERE user = ?1",
            params![login.user, changed.cents()],
        )?;
        transaction.commit()?;
        Ok(changed)
    }

    /// Ignores poisoning: if another holder panicked, its transaction was rolled back when it was dropped.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a transaction that locks the database for writing, so that no other process can change what it
/// reads. A transaction that begins by reading could fail when it writes.
fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn balance(connection: &Connection, login: Login<'_>) -> Result<Balance, Problem> {
    connection
        .query_row(
            "SELECT cents FROM accounts WHERE user = ?1 AND pin = ?2",
            params![login.user, login.pin],
            |row| row.get(0),
        )
        .optional()?
        .map(Balance::of_cents)
        .ok_or(Problem::Login)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::request::{Command, Request};

    const ANN: Login<'_> = Login {
        user: "ann",
        pin: "1234",
    };
    const BOB: Login<'_> = Login {
        user: "bob",
        pin: "4321",
    };

    fn accounts() -> Accounts {
        Accounts::open(":memory:").expect("a database in memory")
    }

    fn amount(text: &str) -> Amount {
        text.parse().expect("an amount")
    }

    /// Returns the reply that a user receives.
    fn seen(result: Result<Balance, Problem>) -> String {
        match result {
            Ok(balance) => balance.to_string(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn new_database_has_two_accounts() {
        let accounts = accounts();
        assert_eq!(seen(accounts.balance(ANN)), "100.00");
        assert_eq!(seen(accounts.balance(BOB)), "50.00");
    }

    #[test]
    fn withdrawing_and_depositing_change_one_balance() {
        let accounts = accounts();
        assert_eq!(seen(accounts.withdraw(ANN, amount("20"))), "80.00");
        assert_eq!(seen(accounts.deposit(ANN, amount("0.05"))), "80.05");
        assert_eq!(seen(accounts.balance(ANN)), "80.05");
        assert_eq!(seen(accounts.balance(BOB)), "50.00");
    }

    #[test]
    fn account_can_be_emptied_and_not_overdrawn() {
        let accounts = accounts();
        assert_eq!(
            seen(accounts.withdraw(BOB, amount("50.01"))),
            "insufficient funds: the balance is 50.00"
        );
        assert_eq!(seen(accounts.withdraw(BOB, amount("50"))), "0.00");
    }

    #[test]
    fn balance_does_not_overflow() {
        let accounts = accounts();
        assert_eq!(
            seen(accounts.deposit(ANN, amount("92233720368547758.07"))),
            "the balance would be too large"
        );
        assert_eq!(seen(accounts.balance(ANN)), "100.00");
    }

    #[test]
    fn wrong_user_and_wrong_pin_look_the_same() {
        let accounts = accounts();
        for (user, pin) in [("eve", "1234"), ("ann", "4321"), ("ANN", "1234")] {
            let login = Login { user, pin };
            let replies = [
                seen(accounts.balance(login)),
                seen(accounts.deposit(login, amount("1"))),
                seen(accounts.withdraw(login, amount("1000"))),
            ];
            assert_eq!(replies, ["wrong user or PIN"; 3], "{login:?}");
        }
    }

    #[test]
    fn changed_pin_replaces_the_old_one() {
        let accounts = accounts();
        let request = Request::parse("ann 1234 CHANGE_PIN 9876").expect("a request");
        let Command::ChangePin(new) = request.command else {
            panic!("{request:?}");
        };
        accounts.change_pin(ANN, new).expect("the PIN is right");
        assert!(matches!(accounts.change_pin(ANN, new), Err(Problem::Login)));
        assert!(matches!(accounts.balance(ANN), Err(Problem::Login)));
        let ann = Login { pin: "9876", ..ANN };
        assert_eq!(seen(accounts.balance(ann)), "100.00");
        assert_eq!(seen(accounts.balance(BOB)), "50.00");
    }

    #[test]
    fn withdrawals_at_the_same_time_take_what_is_there_and_no_more() {
        let accounts = accounts();
        let withdrawn: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500)
                            .filter(|_| accounts.withdraw(ANN, amount("0.05")).is_ok())
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert_eq!(withdrawn, 2_000);
        assert_eq!(seen(accounts.balance(ANN)), "0.00");
    }

    #[test]
    fn panic_in_a_transaction_changes_nothing_and_harms_nobody() {
        let accounts = accounts();
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| accounts.change_balance(ANN, |_| panic!("as the test wants")))
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!(seen(accounts.withdraw(ANN, amount("1"))), "99.00");
    }
}
