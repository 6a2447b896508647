//! What the options of several commands share: help that fits a screen, and values with units.

use std::time::Duration;

use clap::ArgAction;

/// The exit codes, the same for all commands that connect.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 fine, 1 rejected or an error, 2 wrong usage, \
3 cannot connect, 4 too late, 5 wrong framing or format, 6 closed too early, 130 Ctrl-C";

/// The flags that print help, in place of those of `clap`, whose `--help` is longer than a screen.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Help")]
pub(crate) struct HelpFlags {
    /// Print help
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,
    /// Print help with all options, and more about each
    #[arg(long, action = ArgAction::HelpLong)]
    help_all: Option<bool>,
}

/// Reads a time such as `500ms`, `3s`, `2m` or `1.5`, which are seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match text.get(digits.len()..) {
        Some("ms") => 0.001,
        Some("" | "s") => 1.0,
        Some("m" | "min") => 60.0,
        Some("h") => 3600.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().unwrap_or(f64::NAN) * unit;
    let time = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero());
    time.ok_or_else(|| "write a time such as 500ms, 3s or 2m".to_owned())
}

/// Reads a number of bytes: `100`, `64K`, `10M`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let shift = match text.get(digits.len()..) {
        Some("") => Some(0),
        Some("K") => Some(10),
        Some("M") => Some(20),
        Some("G") => Some(30),
        _ => None,
    };
    digits
        .parse::<u64>()
        .ok()
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .ok_or_else(|| "write a number of bytes such as 100, 64K or 10M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("3s", 3_000),
            ("2m", 120_000),
            ("1.5", 1_500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1s", "0", "1d", "1e400", "nan"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
