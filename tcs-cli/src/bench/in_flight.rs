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

/// The requests of a connection that are not answered.
#[derive(Debug)]
pub(super) enum InFlight {
    /// Replies come in the order of the requests.
    Ordered(VecDeque<Unanswered>),
    /// Replies have the ids of their requests. Each request's id is its index here plus one.
    ById {
        places: Vec<Option<Unanswered>>,
        free: Vec<u32>,
    },
}

impl InFlight {
    pub(super) fn new(has_ids: bool) -> Self {
        if has_ids {
            Self::ById {
                places: Vec::new(),
                free: Vec::new(),
            }
        } else {
            Self::Ordered(VecDeque::new())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ordered(queue) => queue.len(),
            Self::ById { places, free } => places.len() - free.len(),
        }
    }

    /// Adds a request, and returns its id, or 0 if requests have none.
    pub(super) fn add(&mut self, request: Unanswered) -> u32 {
        match self {
            Self::Ordered(queue) => {
                queue.push_back(request);
                0
            }
            Self::ById { places, free } => {
                if let Some(id) = free.pop() {
                    places[id as usize - 1] = Some(request);
                    return id;
                }
                places.push(Some(request));
                // The depth is far below this.
                u32::try_from(places.len()).unwrap_or(u32::MAX)
            }
        }
    }

    /// Takes the request that a reply with this id answers, if there is one.
    pub(super) fn answer(&mut self, id: u32) -> Option<Unanswered> {
        match self {
            Self::Ordered(queue) => queue.pop_front(),
            Self::ById { places, free } => {
                let place = (id as usize).checked_sub(1)?;
                let request = places.get_mut(place)?.take()?;
                free.push(id);
                Some(request)
            }
        }
    }

    /// Returns when the oldest was sent.
    pub(super) fn oldest(&self) -> Option<Duration> {
        match self {
            Self::Ordered(queue) => queue.front().map(|request| request.sent),
            Self::ById { places, .. } => places.iter().flatten().map(|it| it.sent).min(),
        }
    }

    /// Returns when the requests that are left were due.
    pub(super) fn left(self) -> impl Iterator<Item = Duration> {
        let (queue, places) = match self {
            Self::Ordered(queue) => (queue, Vec::new()),
            Self::ById { places, .. } => (VecDeque::new(), places),
        };
        let all = queue.into_iter().chain(places.into_iter().flatten());
        all.map(|request| request.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_used_again_after_their_reply() {
        let time = |seconds| Unanswered {
            due: Duration::from_secs(seconds),
            sent: Duration::from_secs(seconds + 10),
        };
        let mut in_flight = InFlight::new(true);
        assert_eq!([in_flight.add(time(1)), in_flight.add(time(2))], [1, 2]);
        assert_eq!(in_flight.answer(2), Some(time(2)));
        for unknown in [0, 2, 3] {
            assert_eq!(in_flight.answer(unknown), None);
        }
        assert_eq!(in_flight.add(time(3)), 2);
        assert_eq!(in_flight.len(), 2);
        assert_eq!(in_flight.oldest(), Some(time(1).sent));
        assert!(in_flight.left().eq([time(1).due, time(3).due]));
    }
}
