//! The queue of requests that wait for a slot.

use std::collections::VecDeque;

use super::request::ClientDeadline;
use crate::{
    buffer::{Arrival, OwnedMessage},
    server::addresses::AddressRequest,
};

/// The queue takes no further request from this many bytes on.
const LIMIT: usize = 64 * 1024;

/// A request that was received, and whose function is not called yet.
pub(super) struct Request {
    pub(super) id: u32,
    pub(super) message: OwnedMessage,
    pub(super) arrival: Arrival,
    pub(super) client_deadline: ClientDeadline,
    /// The peer's address counts the request until its future is dropped.
    pub(super) in_flight: Option<AddressRequest>,
}

impl Request {
    fn size(&self) -> usize {
        // Requests without bytes need memory, too.
        self.message.bytes().len() + size_of::<Self>()
    }
}

/// The requests beyond the limit of a framing with ids, kept here so that the notices after them are read.
#[derive(Default)]
pub(super) struct Backlog {
    requests: VecDeque<Request>,
    /// The size of all requests.
    size: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns `true` if no further request may be added.
    pub(super) fn is_full(&self) -> bool {
        self.size >= LIMIT
    }

    pub(super) fn push(&mut self, request: Request) {
        self.size += request.size();
        self.requests.push_back(request);
    }

    /// Takes the oldest request.
    pub(super) fn pop(&mut self) -> Option<Request> {
        let request = self.requests.pop_front()?;
        self.size -= request.size();
        Some(request)
    }

    /// Removes the request with an id. Returns `true` if there was one.
    pub(super) fn remove(&mut self, id: u32) -> bool {
        let position = self.requests.iter().position(|request| request.id == id);
        let removed = position.and_then(|position| self.requests.remove(position));
        self.size -= removed.as_ref().map_or(0, Request::size);
        removed.is_some()
    }
}
