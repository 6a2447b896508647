//! The states of a server's connection, and what leads to them.

use tcs::framing::{Announcement, Side};

use super::{
    command::{CHUNK, ECHO, EVENT, HOLD, ITEM, PUSH, ROWS, UPLOAD},
    protocol::{How, LAST},
};
use crate::table::{Row, encode, message};

/// Where the connection is when a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connected,
    /// The first byte of a request has come, half of it, or all but the last byte.
    FirstByte,
    HalfRequest,
    LastByteMissing,
    Running,
    /// A part of the reply is written, and there is no room for the rest.
    Writing,
    /// The first of three requests is processed.
    Pipelined,
    Idle,
    Draining,
    Streaming,
    Uploading,
    Pushed,
}

pub(super) const STATES: [State; 12] = [
    State::Connected,
    State::FirstByte,
    State::HalfRequest,
    State::LastByteMissing,
    State::Running,
    State::Writing,
    State::Pipelined,
    State::Idle,
    State::Draining,
    State::Streaming,
    State::Uploading,
    State::Pushed,
];

/// What a state has, and what is missing.
pub(super) struct Plan {
    /// What was sent before the fault.
    pub(super) sent: Vec<u8>,
    /// What would be sent next.
    pub(super) rest: Vec<u8>,
    /// How many of the requests are complete before the fault, and with the rest.
    pub(super) complete: (usize, usize),
    /// The messages that answer all of it.
    pub(super) replies: Vec<(u8, u8)>,
    /// The number of these that come before the fault.
    pub(super) heard: usize,
    /// The number of these that answer what was sent before the fault.
    pub(super) before: usize,
    /// How many functions wait at the gate.
    pub(super) waiting: usize,
}

impl State {
    pub(super) fn plan<R: Row>(self, how: How) -> Plan {
        let waits = how != How::Sync;
        let hold = if waits { HOLD } else { ECHO };
        let cut = |len: fn(usize) -> usize| {
            let whole = request::<R>(ECHO, 1);
            let (sent, rest) = whole.split_at(len(whole.len()));
            (sent.to_vec(), rest.to_vec())
        };
        let mut plan = Plan {
            sent: Vec::new(),
            rest: Vec::new(),
            complete: (1, 1),
            replies: vec![(ECHO, 1)],
            heard: 0,
            before: 1,
            waiting: 0,
        };
        match self {
            Self::Connected | Self::FirstByte | Self::HalfRequest | Self::LastByteMissing => {
                (plan.complete, plan.before) = ((0, 1), 0);
                (plan.sent, plan.rest) = match self {
                    Self::Connected => cut(|_| 0),
                    Self::FirstByte => cut(|_| 1),
                    Self::HalfRequest => cut(|len| len / 2),
                    _ => cut(|len| len - 1),
                };
            }
            Self::Running | Self::Draining => {
                plan.sent = request::<R>(hold, 1);
                plan.replies = vec![(hold, 1)];
                plan.waiting = usize::from(waits);
            }
            Self::Writing => plan.sent = request::<R>(ECHO, 1),
            Self::Pipelined => {
                let requests = [(hold, 1), (ECHO, 2), (ECHO, 3)];
                plan.sent = requests
                    .map(|(command, number)| request::<R>(command, number))
                    .concat();
                plan.complete = (3, 3);
                (plan.replies, plan.before) = (requests.to_vec(), 3);
                plan.waiting = usize::from(waits);
            }
            Self::Idle => {
                plan.sent = request::<R>(ECHO, 1);
                plan.rest = request::<R>(ECHO, 2);
                plan.complete = (1, 2);
                plan.replies = vec![(ECHO, 1), (ECHO, 2)];
                plan.heard = 1;
            }
            Self::Streaming => {
                plan.sent = request::<R>(ROWS, 1);
                plan.replies = vec![(ITEM, 1), (ITEM, 2), (ITEM, 3), (ROWS, 1)];
                (plan.heard, plan.before, plan.waiting) = (2, 4, 1);
            }
            Self::Uploading => {
                plan.sent = [request::<R>(UPLOAD, 1), chunk::<R>(1)].concat();
                plan.rest = chunk::<R>(LAST);
                // The function may see an error.
                (plan.replies, plan.before) = (vec![(UPLOAD, 1)], 0);
            }
            Self::Pushed => {
                plan.sent = request::<R>(PUSH, 1);
                plan.rest = request::<R>(ECHO, 2);
                plan.complete = (1, 2);
                plan.replies = vec![(PUSH, 1), (EVENT, 1), (ECHO, 2)];
                (plan.heard, plan.before) = (2, 2);
            }
        }
        plan
    }
}

impl Plan {
    /// Returns `true` if a function has certainly begun before the fault: it waits, or its reply was received.
    pub(super) fn has_begun(&self) -> bool {
        self.waiting + self.heard > 0
    }
}

/// The bytes of a request.
pub(super) fn request<R: Row>(command: u8, number: u8) -> Vec<u8> {
    let message = message::<R>(command, number);
    encode::<R>(Side::Client, number.into(), &message, None)
}

fn chunk<R: Row>(number: u8) -> Vec<u8> {
    let message = message::<R>(CHUNK, number);
    encode::<R>(Side::Client, 1, &message, Some(Announcement::Chunks))
}
