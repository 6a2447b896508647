//! Amounts of money, exact to the cent.

use std::{fmt, str::FromStr};

/// The balance of an account in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Balance(i64);

impl Balance {
    pub(crate) const fn of_cents(cents: i64) -> Self {
        Self(cents)
    }

    pub(crate) const fn cents(self) -> i64 {
        self.0
    }

    /// Adds `amount`. Returns `None` on overflow.
    pub(crate) fn plus(self, amount: Amount) -> Option<Self> {
        self.0.checked_add(amount.0).map(Self)
    }

    /// Subtracts `amount`. Returns `None` if the balance is too low.
    pub(crate) fn minus(self, amount: Amount) -> Option<Self> {
        self.0
            .checked_sub(amount.0)
            .filter(|left| *left >= 0)
            .map(Self)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// An amount to withdraw or to deposit in cents. It is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount(i64);

/// The error for a text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is more than zero and looks like 20, 20.5 or 20.50")]
pub(crate) struct NoAmount;

impl FromStr for Amount {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let cents_per_digit = match fraction.len() {
            1 => 10,
            2 => 1,
            _ => return Err(NoAmount),
        };
        number(whole)?
            .checked_mul(100)
            .and_then(|cents| cents.checked_add(number(fraction).ok()? * cents_per_digit))
            .filter(|cents| *cents > 0)
            .map(Self)
            .ok_or(NoAmount)
    }
}

/// Parses digits only. `parse` alone would also accept a sign.
fn number(digits: &str) -> Result<i64, NoAmount> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NoAmount);
    }
    digits.parse().map_err(|_| NoAmount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_cent() {
        for (text, cents) in [
            ("20", 2_000),
            ("20.5", 2_050),
            ("20.50", 2_050),
            ("20.05", 2_005),
            ("0.01", 1),
            ("007", 700),
            ("92233720368547758.07", i64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Amount(cents)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "0",
            "0.00",
            "-1",
            "+1",
            "1.",
            ".5",
            ".",
            "1.234",
            "1.2.3",
            "1,5",
            "1.-5",
            "1.+5",
            "1e3",
            "0x10",
            "twenty",
            "١",
            "1.½",
            "NaN",
            "92233720368547758.08",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(NoAmount), "{text}");
        }
    }

    #[test]
    fn balances_show_two_decimals() {
        for (cents, text) in [
            (0, "0.00"),
            (5, "0.05"),
            (10_000, "100.00"),
            (123_456, "1234.56"),
        ] {
            assert_eq!(Balance(cents).to_string(), text);
        }
    }

    #[test]
    fn balances_stay_within_their_range() {
        let [one, all] = [Amount(1), Amount(i64::MAX)];
        assert_eq!(Balance(i64::MAX).plus(one), None);
        assert_eq!(Balance(0).minus(one), None);
        assert_eq!(Balance(0).plus(all), Some(Balance(i64::MAX)));
        assert_eq!(Balance(1).minus(one), Some(Balance(0)));
    }
}
