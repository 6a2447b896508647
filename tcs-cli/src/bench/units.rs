//! Numbers as people read them.

/// Returns a time of `nanoseconds` with three digits: `85.2 µs`, `1.20 ms`, `12.0 s`.
#[expect(
    clippy::cast_precision_loss,
    reason = "three digits are shown of each number"
)]
pub(crate) fn show_time(nanoseconds: u64) -> String {
    let number = nanoseconds as f64;
    // What would be rounded to four digits goes to the next unit.
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..999_500 => format!("{} µs", digits(number / 1e3)),
        999_500..999_500_000 => format!("{} ms", digits(number / 1e6)),
        _ => format!("{} s", digits(number / 1e9)),
    }
}

/// Returns a number of bytes with three digits: `512 B`, `1.50 KiB`, `98.7 MiB`.
pub(crate) fn show_bytes(bytes: f64) -> String {
    let mut left = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if left < 999.5 {
            return match unit {
                "B" => format!("{left:.0} B"),
                unit => format!("{} {unit}", digits(left)),
            };
        }
        left /= 1024.0;
    }
    format!("{} TiB", digits(left))
}

fn digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Returns a whole number with a comma between thousands.
pub(crate) fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Returns a rate: whole from 100 upwards.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below 2^53"
)]
pub(crate) fn show_rate(rate: f64) -> String {
    match rate {
        99.95.. => format!("{}/s", show_count(rate.round() as u64)),
        _ => format!("{rate:.1}/s"),
    }
}

/// Returns a time or a count that was calculated with as an integer again.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive and far below 2^53"
)]
pub(super) fn to_integer(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_three_digits() {
        for (nanoseconds, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (85_249, "85.2 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_000_000_000, "12.0 s"),
        ] {
            assert_eq!(show_time(nanoseconds), shown);
        }
        assert_eq!(show_bytes(999.0), "999 B");
        assert_eq!(show_bytes(1536.0), "1.50 KiB");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_rate(99.94), "99.9/s");
        assert_eq!(show_rate(123_456.7), "123,457/s");
    }
}
