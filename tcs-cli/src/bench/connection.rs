//! One connection of a run: sends what is due, and takes the time of what comes back.

use std::time::Duration;

use tcs::{
    RejectionKind,
    framing::{Exchanges, Side},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time,
};

use super::{
    in_flight::{InFlight, Unanswered},
    request_error::RequestError,
    run::{Plan, Run},
    schedule::{Next, Schedule},
};
use crate::{
    failure::Failure,
    framing::{FrameKind, FramingSpec},
    wire::{Wire, not_carried},
};

/// The longest reply, in bytes.
const MAX_REPLY: usize = 64 << 20;
/// How often a connection looks whether it has waited too long, or the run was ended.
const CHECK: Duration = Duration::from_millis(50);

/// Why the use of a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is nothing more to send, and all is answered.
    Done,
    /// It was for one exchange.
    Next,
    /// It was lost; after a reply, or before there was one.
    Lost { was_answered: bool },
}

/// What waits to be sent and answered.
struct Exchange<'a, S> {
    run: &'a Run,
    number: usize,
    schedule: &'a mut Schedule,
    /// A request that was taken before there was a connection.
    taken: Option<Duration>,
    wire: Wire<S>,
    /// The frames of all requests, where they do not differ: to make them each time would be measured.
    frames: Option<Vec<Vec<u8>>>,
    in_flight: InFlight,
    greeted: bool,
    /// When it was opened, from the start of the run.
    opened: Duration,
    /// What a read has brought: how long each reply took, or what is wrong with it.
    outcomes: Vec<Result<Duration, RequestError>>,
    was_answered: bool,
}

/// Whether there is more to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    /// When replies come.
    Later,
    /// When its time comes.
    Due,
    /// No.
    Over,
}

/// Uses a connection until nothing is left to send, or it is lost.
///
/// # Errors
///
/// Returns what is wrong with a request: the framing cannot carry it.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    run: &Run,
    number: usize,
    stream: S,
    schedule: &mut Schedule,
    taken: Option<Duration>,
) -> Result<End, Failure> {
    let Plan {
        framing, requests, ..
    } = &run.plan;
    let wire = Wire::new(stream, framing, Side::Client, MAX_REPLY);
    let is_same = framing.exchanges() == Exchanges::Many && !wire.has_ids();
    let exchange = Exchange {
        run,
        number,
        schedule,
        taken,
        wire,
        frames: is_same.then(|| frames(framing, requests)).transpose()?,
        in_flight: InFlight::default(),
        greeted: !run.plan.load.greeting,
        opened: run.elapsed(),
        outcomes: Vec::new(),
        was_answered: false,
    };
    exchange.drive().await
}

fn frames(framing: &FramingSpec, requests: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut framing = framing.open(Side::Client);
    let frames = requests.iter().map(|request| {
        let mut frame = Vec::new();
        let written = framing.write(request, 0, &mut frame);
        written.map(|()| frame).map_err(|error| not_carried(&error))
    });
    frames.collect()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    async fn drive(mut self) -> Result<End, Failure> {
        let mut check = time::interval(CHECK);
        let is_one = self.run.has_one_exchange();
        loop {
            let supply = self.fill()?;
            if supply == Supply::Over && self.in_flight.len() == 0 {
                return Ok(End::Done);
            }
            tokio::select! {
                biased;
                // First, because a server may always have something to read.
                _ = check.tick() => if let Some(error) = self.missing() {
                    return Ok(self.lost(error));
                },
                moved = self.wire.advance() => match moved {
                    Ok(None) => self.count_sent(),
                    Ok(Some(length)) => match self.received(length) {
                        Ok(()) if is_one && self.in_flight.len() == 0 => return Ok(End::Next),
                        Ok(()) if length > 0 => {}
                        Ok(()) => return Ok(self.lost(RequestError::Closed)),
                        Err(error) => return Ok(self.lost(error)),
                    },
                    Err(error) => return Ok(self.lost(error.into())),
                },
                () = self.run.due(self.number), if supply == Supply::Due => {}
            }
        }
    }

    /// Returns what has not come in time, if there is something.
    fn missing(&self) -> Option<RequestError> {
        let now = self.run.elapsed();
        let is_too_long = |since| now.saturating_sub(since) > self.run.plan.load.timeout;
        if !self.greeted {
            return (is_too_long(self.opened) || self.run.is_late())
                .then_some(RequestError::NoGreeting);
        }
        let oldest = self.in_flight.oldest();
        oldest
            .is_some_and(is_too_long)
            .then_some(RequestError::TimedOut)
    }

    /// Appends the requests that are due.
    fn fill(&mut self) -> Result<Supply, Failure> {
        let is_one = self.run.has_one_exchange();
        let most = if is_one {
            1
        } else {
            self.run.plan.load.pipeline
        };
        // As fast as it goes, requests are sent by the half of the pipeline: one by one, each would cost both ends a system
        // call, and what is measured would be these.
        if self.run.plan.load.rate.is_none() && self.in_flight.len() > most / 2 {
            return Ok(Supply::Later);
        }
        let now = self.run.elapsed();
        while self.greeted && self.in_flight.len() < most && !self.wire.is_full() {
            let next = match self.taken.take() {
                Some(due) => Next::Send(due),
                None if is_one || self.run.is_stopped() || self.run.is_late() => Next::Done,
                None => self.schedule.next(now),
            };
            match next {
                Next::Send(due) => self.append(due, now)?,
                Next::Wait => return Ok(Supply::Due),
                Next::Done => return Ok(Supply::Over),
            }
        }
        Ok(Supply::Later)
    }

    fn append(&mut self, due: Duration, sent: Duration) -> Result<(), Failure> {
        let id = self.in_flight.add(Unanswered { due, sent });
        let Plan {
            order, requests, ..
        } = &self.run.plan;
        let chosen = order[self.schedule.turn() % order.len()];
        if let Some(frames) = &self.frames {
            self.wire.queue_bytes(&frames[chosen]);
            return Ok(());
        }
        self.wire.queue(&requests[chosen], id)
    }

    fn count_sent(&mut self) {
        let sent = self.wire.take_sent();
        if self.run.is_counted(self.run.elapsed()) {
            self.run.tallies.of(self.number).bytes_sent += sent;
        }
    }

    /// Takes the replies out of what was read.
    ///
    /// # Errors
    ///
    /// Returns why nothing more can be read.
    fn received(&mut self, length: usize) -> Result<(), RequestError> {
        // One time for all: they have arrived together.
        let now = self.run.elapsed();
        let read = self.take_replies(now);
        // Other connections count here as well, so it is locked once, and not while frames are read.
        let mut tally = self.run.tallies.of(self.number);
        if self.run.is_counted(now) {
            tally.bytes_received += length as u64;
        }
        if !self.outcomes.is_empty() {
            tally.last_reply = tally.last_reply.max(Some(now));
        }
        for outcome in self.outcomes.drain(..) {
            match outcome {
                Ok(latency) => tally.record(latency),
                Err(error) => tally.count_error(error, 1),
            }
        }
        read
    }

    /// Takes the replies that have arrived, and notes the outcomes that count.
    fn take_replies(&mut self, now: Duration) -> Result<(), RequestError> {
        let has_ids = self.wire.has_ids();
        while let Some(found) = self.wire.take_frame().map_err(|_| RequestError::NoFrame)? {
            let failed = match outcome(found.kind) {
                Outcome::Nothing => continue,
                Outcome::End(error) => return Err(error),
                Outcome::Reply => {
                    let is_right = found.payload.starts_with(&self.run.plan.expected);
                    (!is_right).then_some(RequestError::WrongReply)
                }
                Outcome::Failed(error) => Some(error),
            };
            if !self.greeted {
                self.greeted = true;
                self.wire.go_on();
                continue;
            }
            let answered = if has_ids {
                self.in_flight.answer(found.id)
            } else {
                self.in_flight.answer_oldest()
            };
            let Some(Unanswered { due, .. }) = answered else {
                return Err(RequestError::Unexpected);
            };
            self.was_answered = true;
            if self.run.is_counted(due) {
                let outcome = failed.map_or(Ok(now.saturating_sub(due)), Err);
                self.outcomes.push(outcome);
            }
        }
        Ok(())
    }

    /// Counts the requests that get no reply any more.
    fn lost(mut self, error: RequestError) -> End {
        self.count_sent();
        let now = self.run.elapsed();
        if !self.greeted && self.taken.is_none() {
            // It could not be sent. As fast as it goes, it would have been when the connection was opened.
            let is_paced = self.run.plan.load.rate.is_some();
            let due = if is_paced { now } else { self.opened };
            if let Next::Send(due) = self.schedule.next(due) {
                self.taken = Some(due);
            }
        }
        let unanswered = self.in_flight.left().chain(self.taken);
        let mut tally = self.run.tallies.of(self.number);
        for due in unanswered.filter(|due| self.run.is_counted(*due)) {
            tally.count_error(error, 1);
            if matches!(error, RequestError::TimedOut | RequestError::NoGreeting) {
                tally.wait(now.saturating_sub(due), 1);
            }
        }
        End::Lost {
            was_answered: self.was_answered,
        }
    }
}

/// What a frame is for the requests.
enum Outcome {
    Reply,
    Failed(RequestError),
    /// No request gets a reply any more.
    End(RequestError),
    Nothing,
}

fn outcome(kind: FrameKind) -> Outcome {
    match kind {
        FrameKind::Message => Outcome::Reply,
        FrameKind::Oversized(_) => Outcome::Failed(RequestError::TooLargeReply),
        FrameKind::Announced(_) | FrameKind::Skip => Outcome::Nothing,
        FrameKind::Control(code) => match RejectionKind::from_code(code) {
            None => Outcome::Nothing,
            Some(kind) if kind.is_final() => Outcome::End(RequestError::Rejected(kind)),
            Some(kind) => Outcome::Failed(RequestError::Rejected(kind)),
        },
    }
}
