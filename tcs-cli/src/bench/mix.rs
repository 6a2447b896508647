//! The order of different requests.

use std::num::NonZeroU32;

/// The most requests of a mix after which its order repeats.
const MAX_PERIOD: u32 = 100_000;

/// A line of the file: how often, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) weight: NonZeroU32,
    pub(super) request: &'a str,
}

/// Reads lines of a weight, a space and a request. Empty lines, and those that begin with `#`, are skipped.
///
/// # Errors
///
/// Returns which line is wrong, and what to write.
pub(super) fn parse(text: &str) -> Result<Vec<Entry<'_>>, String> {
    let mut entries = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (weight, request) = line.split_once(' ').unwrap_or((line, ""));
        let weight = weight.parse().map_err(|_| {
            format!("line {number} does not begin with a weight: write a number, a space and the request")
        })?;
        entries.push(Entry { weight, request });
    }
    if entries.is_empty() {
        return Err("it has no requests: write lines such as `9 get key`".to_owned());
    }
    Ok(entries)
}

/// Returns the order in which entries of these weights take turns: within a period each comes as often as its weight
/// says, spread evenly.
///
/// # Errors
///
/// Returns what to write when the period is too long.
pub(super) fn order(weights: &[NonZeroU32]) -> Result<Vec<usize>, String> {
    let divisor = weights
        .iter()
        .map(|weight| weight.get())
        .fold(0, gcd)
        .max(1);
    let weights: Vec<_> = weights
        .iter()
        .map(|weight| weight.get() / divisor)
        .collect();
    let period = weights
        .iter()
        .try_fold(0_u32, |sum, weight| sum.checked_add(*weight));
    let Some(period) = period.filter(|period| *period <= MAX_PERIOD) else {
        return Err(format!(
            "the weights add up to more than {MAX_PERIOD}: write smaller ones"
        ));
    };
    // Each gains its weight in every turn, and the one that takes the turn pays for all.
    let mut balances = vec![0_i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..period {
        let mut chosen = 0;
        for (at, weight) in weights.iter().enumerate() {
            balances[at] += i64::from(*weight);
            if balances[at] > balances[chosen] {
                chosen = at;
            }
        }
        balances[chosen] -= i64::from(period);
        order.push(chosen);
    }
    Ok(order)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_weight_and_a_request() {
        let entries =
            parse("# reads\n9 get key\n\n1 set key  two spaces\r\n2\n").expect("it is right");
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (entry.weight.get(), entry.request))
            .collect();
        assert_eq!(
            entries,
            [(9, "get key"), (1, "set key  two spaces"), (2, "")]
        );
        for (text, wrong) in [
            ("", "it has no requests"),
            ("get key", "line 1 does"),
            ("1 a\n0 b", "line 2 does"),
            ("-1 a", "line 1 does"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(wrong), "{error}");
        }
    }

    #[test]
    fn turns_are_as_often_as_the_weights_say_and_spread() {
        let turns = |weights: &[u32]| {
            let weights: Vec<_> = weights
                .iter()
                .filter_map(|weight| NonZeroU32::new(*weight))
                .collect();
            order(&weights)
        };
        assert_eq!(turns(&[5]), Ok(vec![0]));
        assert_eq!(turns(&[10, 10]), Ok(vec![0, 1]));
        assert_eq!(turns(&[4, 2]), Ok(vec![0, 1, 0]));
        assert_eq!(turns(&[3, 1]), Ok(vec![0, 0, 1, 0]));
        assert!(turns(&[99_999, 2]).is_err());
        assert!(turns(&[u32::MAX, u32::MAX - 1]).is_err());
    }
}
