//! What one can ask of the bank.

use crate::money::{Amount, NoAmount};

/// A request: who asks, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) login: Login<'a>,
    pub(crate) command: Command<'a>,
}

/// The name and the PIN of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) pin: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Withdraw(Amount),
    Deposit(Amount),
    GetBalance,
    ChangePin(Pin<'a>),
}

/// A valid new PIN: 4 to 12 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pin<'a>(&'a str);

impl<'a> Pin<'a> {
    fn parse(text: &'a str) -> Result<Self, NoRequest> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && (4..=12).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(NoRequest::Pin)
        }
    }

    pub(crate) const fn digits(self) -> &'a str {
        self.0
    }
}

/// The error for a text that is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRequest {
    #[error(
        "a request is <user> <pin> and one of WITHDRAW <amount>, DEPOSIT <amount>, GET_BALANCE, CHANGE_PIN <new pin>"
    )]
    Form,
    #[error(transparent)]
    Amount(#[from] NoAmount),
    #[error("a PIN has 4 to 12 digits")]
    Pin,
}

impl<'a> Request<'a> {
    /// Parses the words of a request, with any white space around them.
    pub(crate) fn parse(text: &'a str) -> Result<Self, NoRequest> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [user, pin, command @ ..] = &*words else {
            return Err(NoRequest::Form);
        };
        let command = match command {
            ["WITHDRAW", amount] => Command::Withdraw(amount.parse()?),
            ["DEPOSIT", amount] => Command::Deposit(amount.parse()?),
            ["GET_BALANCE"] => Command::GetBalance,
            ["CHANGE_PIN", pin] => Command::ChangePin(Pin::parse(pin)?),
            _ => return Err(NoRequest::Form),
        };
        let login = Login { user, pin };
        Ok(Self { login, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Result<Command<'_>, NoRequest> {
        Request::parse(text).map(|request| request.command)
    }

    #[test]
    fn each_command_is_read() {
        let amount = |text: &str| text.parse().expect("an amount");
        assert_eq!(
            command("ann 1234 WITHDRAW 20"),
            Ok(Command::Withdraw(amount("20")))
        );
        assert_eq!(
            command("ann 1234 DEPOSIT 0.5"),
            Ok(Command::Deposit(amount("0.5")))
        );
        assert_eq!(command("ann 1234 GET_BALANCE"), Ok(Command::GetBalance));
        assert_eq!(
            command("ann 1234 CHANGE_PIN 000000"),
            Ok(Command::ChangePin(Pin("000000")))
        );
    }

    #[test]
    fn blanks_and_line_ends_do_not_matter() {
        let expected = Request {
            login: Login {
                user: "ann",
                pin: "1234",
            },
            command: Command::GetBalance,
        };
        for text in [
            "ann 1234 GET_BALANCE",
            "ann 1234 GET_BALANCE\n",
            "  ann\t1234  GET_BALANCE \r\n",
        ] {
            assert_eq!(Request::parse(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_rejected() {
        for text in [
            "",
            "\n",
            "ann",
            "ann 1234",
            "ann 1234 get_balance",
            "ann 1234 ROB 20",
            "ann 1234 WITHDRAW",
            "ann 1234 WITHDRAW 20 20",
            "ann 1234 GET_BALANCE now",
            "ann 1234 GET_BALANCE\nann 1234 WITHDRAW 20",
            "ann 1234 CHANGE_PIN",
        ] {
            assert_eq!(command(text), Err(NoRequest::Form), "{text:?}");
        }
    }

    #[test]
    fn amount_and_new_pin_are_checked() {
        assert_eq!(
            command("ann 1234 WITHDRAW -20"),
            Err(NoRequest::Amount(NoAmount))
        );
        for pin in ["123", "1234567890123", "12a4", "-123", "١٢٣٤"] {
            let text = format!("ann 1234 CHANGE_PIN {pin}");
            assert_eq!(command(&text), Err(NoRequest::Pin), "{pin}");
        }
    }
}
