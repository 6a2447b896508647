//! Which reply is for which request.

use std::{collections::VecDeque, time::Duration};

/// A request that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unanswered {
    /// When it was due, from the start of the run.
    pub(super) due: Duration,
    /// When it was sent.
    pub(super) sent: Duration,
}

/// The requests of a connection that are not answered, with their ids, oldest first.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    requests: VecDeque<(u32, Unanswered)>,
    last_id: u32,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds a request, and returns its id.
    pub(super) fn add(&mut self, request: Unanswered) -> u32 {
        // 0 is no id.
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.requests.push_back((self.last_id, request));
        self.last_id
    }

    /// Takes the oldest request, for framings that reply in the order of the requests.
    pub(super) fn answer_oldest(&mut self) -> Option<Unanswered> {
        self.requests.pop_front().map(|(_, request)| request)
    }

    /// Takes the request that a reply with this id answers, if there is one.
    pub(super) fn answer(&mut self, id: u32) -> Option<Unanswered> {
        let (oldest, _) = *self.requests.front()?;
        // The ids may have begun anew since the oldest.
        let age = |id: u32| id.wrapping_sub(oldest);
        let place = self
            .requests
            .binary_search_by_key(&age(id), |(id, _)| age(*id));
        self.requests
            .remove(place.ok()?)
            .map(|(_, request)| request)
    }

    /// Returns when the oldest was sent.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.requests.front().map(|(_, request)| request.sent)
    }

    /// Returns when the requests that are left were due.
    pub(super) fn left(&self) -> impl Iterator<Item = Duration> {
        self.requests.iter().map(|(_, request)| request.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_answered_once_and_ids_begin_anew() {
        let time = |seconds| Unanswered {
            due: Duration::from_secs(seconds),
            sent: Duration::from_secs(seconds + 10),
        };
        let mut in_flight = InFlight {
            last_id: u32::MAX - 1,
            ..InFlight::default()
        };
        let ids = [1, 2, 3].map(|seconds| in_flight.add(time(seconds)));
        assert_eq!(ids, [u32::MAX, 1, 2]);
        assert_eq!(in_flight.answer(1), Some(time(2)));
        for unknown in [0, 1, 3] {
            assert_eq!(in_flight.answer(unknown), None);
        }
        assert_eq!(
            (in_flight.len(), in_flight.oldest()),
            (2, Some(time(1).sent))
        );
        assert!(in_flight.left().eq([time(1).due, time(3).due]));
        assert_eq!(in_flight.answer_oldest(), Some(time(1)));
        assert_eq!(in_flight.answer(2), Some(time(3)));
        assert_eq!(in_flight.answer(2), None);
    }
}
