//! The order of different requests.

/// The most requests of a mix after which its order repeats.
const MAX_PERIOD: u64 = 100_000;

/// Reads lines of a weight, a space and a request. Empty lines, and those that begin with `#`, are skipped.
///
/// Returns the requests, and the order in which they take turns: within a period, each comes as often as its weight
/// says, spread evenly.
///
/// # Errors
///
/// Returns which line is wrong, and what to write.
pub(super) fn parse(text: &str) -> Result<(Vec<&str>, Vec<usize>), String> {
    let (mut requests, mut weights) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (weight, request) = line.split_once(' ').unwrap_or((line, ""));
        let weight = weight.parse::<u32>().ok().filter(|weight| *weight > 0);
        weights.push(weight.ok_or_else(|| {
            format!("line {number} does not begin with a weight: write a number, a space and the request")
        })?);
        requests.push(request);
    }
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    if divisor == 0 {
        return Err("it has no requests: write lines such as `9 get key`".to_owned());
    }
    let weights = weights.iter().map(|weight| weight / divisor);
    if weights.clone().map(u64::from).sum::<u64>() > MAX_PERIOD {
        return Err(format!(
            "its order would repeat after more than {MAX_PERIOD} requests: write smaller weights, such as 3 and 1"
        ));
    }
    let mut turns = Vec::new();
    for (request, weight) in weights.enumerate() {
        let place = |turn| (f64::from(turn) + 0.5) / f64::from(weight);
        turns.extend((0..weight).map(|turn| (place(turn), request)));
    }
    turns.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let order = turns.into_iter().map(|(_, request)| request);
    Ok((requests, order.collect()))
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    match one {
        0 => other,
        _ => greatest_common_divisor(other % one, one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_weight_and_a_request() {
        let (requests, _) =
            parse("# reads\n9 get key\n\n1 set key  two spaces\r\n2\n").expect("it is right");
        assert_eq!(requests, ["get key", "set key  two spaces", ""]);
        for (text, wrong) in [
            ("", "it has no requests"),
            ("get key", "line 1 does"),
            ("1 a\n0 b", "line 2 does"),
            ("-1 a", "line 1 does"),
            ("99999 a\n2 b", "its order"),
            ("4294967295 a\n4294967294 b", "its order"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(wrong), "{error}");
        }
    }

    #[test]
    fn turns_are_as_often_as_the_weights_say_and_spread() {
        for (text, order) in [
            ("1 a", &[0][..]),
            ("2 a\n2 b", &[0, 1]),
            ("4 a\n2 b", &[0, 1, 0]),
            ("3 a\n1 b", &[0, 0, 1, 0]),
            ("3000000000 a\n1000000000 b", &[0, 0, 1, 0]),
        ] {
            assert_eq!(parse(text).expect("it is right").1, order, "{text}");
        }
    }
}
