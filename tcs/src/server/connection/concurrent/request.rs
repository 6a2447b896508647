//! A request whose function runs beside others, and the stream of its reply.

use std::{mem::replace, sync::Arc};

use tokio::time::Instant;

use super::super::clocks::credit_limit;
use crate::{
    ConnectionInfo,
    buffer::Messages,
    framing::{Framing, Notice},
    server::{
        limits::Limits,
        time::{ClockTime, Deadline, Limit},
    },
};

/// A request in a slot.
pub(super) struct ActiveRequest {
    /// What the function sees of the connection. The next request in this slot uses the same.
    pub(super) info: Arc<ConnectionInfo>,
    /// 0 if the framing has no ids.
    pub(super) id: u32,
    /// When the function must have ended, or sent another item.
    pub(super) deadline: Deadline,
    pub(super) client_deadline: ClientDeadline,
    /// The deadline that the calls of the function inherit.
    pub(super) inherited: Option<Instant>,
    /// Items of the reply that were taken from the function.
    pub(super) items: Messages,
    /// How many bytes of items may be sent.
    pub(super) credit: i64,
    /// When the client must have given credit, while items wait for it.
    pub(super) credit_deadline: Deadline,
}

impl ActiveRequest {
    pub(super) fn new(info: &ConnectionInfo) -> Self {
        Self {
            info: Arc::new(info.for_request()),
            id: 0,
            deadline: Deadline::NEVER,
            client_deadline: ClientDeadline::NEVER,
            inherited: None,
            items: Messages::default(),
            credit: 0,
            credit_deadline: Deadline::NEVER,
        }
    }

    /// Begins the next request.
    pub(super) fn begin<F: Framing>(&mut self, id: u32) {
        self.id = id;
        self.credit_deadline = Deadline::NEVER;
        self.credit = if F::HAS_IDS {
            Notice::INITIAL_CREDIT.into()
        } else {
            i64::MAX
        };
    }

    /// Starts the time of the function of this request.
    pub(super) fn start(
        &mut self,
        client_deadline: ClientDeadline,
        now: ClockTime,
        limits: &Limits,
    ) {
        self.client_deadline = client_deadline;
        self.restart(now, limits);
    }

    /// Starts `request_timeout` again, for the next item.
    pub(super) fn restart(&mut self, now: ClockTime, limits: &Limits) {
        let client = self.client_deadline;
        self.deadline = Deadline::after(now, limits.request_timeout).min(client.at);
        let limit = limits.request_deadline();
        self.inherited = limit.into_iter().chain(client.inherited).min();
    }

    /// Returns `true` if the request has items that were not sent.
    pub(super) fn has_items(&self) -> bool {
        let conversation = self.info.open_conversation();
        !self.items.is_empty()
            || conversation.is_some_and(|conversation| !conversation.items.is_empty())
    }

    /// Returns `true` if items may be sent.
    pub(super) const fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// Adds the credit of a notice.
    pub(super) fn add_credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
        if self.has_credit() {
            self.credit_deadline = Deadline::NEVER;
        }
    }

    /// Returns `true` if items wait for credit.
    pub(super) fn waits_for_credit(&self) -> bool {
        !self.has_credit() && self.has_items()
    }

    /// Starts `write_timeout` if items wait for credit, unless it runs. Returns its end.
    pub(super) fn start_credit_wait(&mut self, now: ClockTime, limits: &Limits) -> Deadline {
        if self.credit_deadline == Deadline::NEVER && self.waits_for_credit() {
            self.credit_deadline = Deadline::after(now, credit_limit(limits, self.credit));
        }
        self.credit_deadline
    }

    /// Takes items from the function, if the items before were sent. Returns `true` if there are items that may be sent.
    pub(super) fn collect_items(&mut self) -> bool {
        // Without credit, items stay staged, and a function that has staged too many waits.
        if !self.has_credit() {
            return false;
        }
        if self.items.is_empty()
            && let Some(conversation) = self.info.open_conversation()
        {
            let sent = replace(&mut self.items, conversation.items.take());
            conversation.items.recycle(sent);
        }
        !self.items.is_empty()
    }

    /// Drops the items of a function that did not return.
    pub(super) fn drop_items(&mut self) {
        self.credit_deadline = Deadline::NEVER;
        self.items = Messages::default();
        if let Some(conversation) = self.info.open_conversation() {
            drop(conversation.items.take());
        }
    }
}

/// When the client of a request no longer waits for the reply, on the clock of the registry and on the clock of calls.
#[derive(Clone, Copy)]
pub(super) struct ClientDeadline {
    pub(super) at: Deadline,
    inherited: Option<Instant>,
}

impl ClientDeadline {
    const NEVER: Self = Self {
        at: Deadline::NEVER,
        inherited: None,
    };

    /// Creates the deadline of a request that has arrived at `now`.
    pub(super) fn new(now: ClockTime, millis: Option<u32>) -> Self {
        let Some(millis) = millis else {
            return Self::NEVER;
        };
        let limit = Limit::from_millis(millis.into());
        Self {
            at: Deadline::after(now, limit),
            inherited: Instant::now().checked_add(limit.as_duration()),
        }
    }
}
