//! What the proxy does to the bytes of a direction.

use std::{fmt, time::Duration};

use fastrand::Rng;

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "->",
            Self::Down => "<-",
        })
    }
}

/// A value for one direction, `up:VALUE` or `down:VALUE`, or for each of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directed<T> {
    direction: Option<Direction>,
    value: T,
}

impl<T: Copy> Directed<T> {
    /// Reads a value with `value`, after the direction if there is one.
    pub(super) fn parse(text: &str, value: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let (direction, text) = match text.split_once(':') {
            Some(("up", text)) => (Some(Direction::Up), text),
            Some(("down", text)) => (Some(Direction::Down), text),
            Some(_) => {
                let text = "write up: for requests or down: for replies before it, or nothing";
                return Err(text.to_owned());
            }
            None => (None, text),
        };
        let value = value(text)?;
        Ok(Self { direction, value })
    }

    /// Returns the last value for a direction.
    pub(super) fn of(all: &[Self], direction: Direction) -> Option<T> {
        let for_it = |directed: &&Self| directed.direction.is_none_or(|it| it == direction);
        all.iter().rev().find(for_it).map(|directed| directed.value)
    }
}

/// What is done to the bytes of one direction of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// How long each byte is delayed.
    pub(super) delay: Duration,
    /// The longest random delay beyond that.
    pub(super) jitter: Duration,
    /// The number of bytes after which the connection ends.
    pub(super) cut_after: Option<u64>,
    /// The number of bytes after which nothing is passed on.
    pub(super) stall_after: Option<u64>,
    /// Bytes per second.
    pub(super) bandwidth: Option<u64>,
}

/// Random times that a seed repeats.
#[derive(Clone, Debug)]
pub(super) struct Random(Rng);

impl Random {
    /// Each connection and direction has its own numbers, whatever the others do.
    pub(super) fn new(seed: u64, connection: u64, direction: Direction) -> Self {
        let stream = connection * 2 + u64::from(direction == Direction::Down);
        // Otherwise, the next seed would have the numbers of the next direction.
        let spread = Rng::with_seed(seed).u64(..);
        Self(Rng::with_seed(spread.wrapping_add(stream)))
    }

    /// Returns a time up to `longest`.
    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{bytes, duration};

    #[test]
    fn values_are_for_a_direction_or_for_both() {
        let all = ["5", "down:2K"];
        let all = all.map(|text| Directed::parse(text, bytes).expect("it is right"));
        assert_eq!(Directed::of(&all, Direction::Up), Some(5));
        assert_eq!(Directed::of(&all, Direction::Down), Some(2048));
        let all = [Directed::parse("up:50ms", duration).expect("it is right")];
        assert_eq!(
            Directed::of(&all, Direction::Up),
            Some(Duration::from_millis(50))
        );
        assert_eq!(Directed::of(&all, Direction::Down), None);
        for wrong in ["", "left:5", "up:", "5k", "-1", "99999999999G"] {
            assert!(Directed::parse(wrong, bytes).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seed_repeats_each_direction_of_each_connection() {
        let times = |seed, connection, direction| {
            let mut random = Random::new(seed, connection, direction);
            [(); 4].map(|()| random.up_to(Duration::from_millis(100)))
        };
        let first = times(7, 1, Direction::Up);
        assert_eq!(first, times(7, 1, Direction::Up));
        for other in [
            times(8, 1, Direction::Up),
            times(7, 2, Direction::Up),
            times(7, 1, Direction::Down),
        ] {
            assert_ne!(first, other);
        }
        assert!(first.iter().all(|time| *time <= Duration::from_millis(100)));
    }
}
