//! One connection of a run: sends what is due, and takes the time of what comes back.

use std::time::Duration;

use tcs::{
    RejectionKind,
    framing::{Exchanges, Input, ReadState, Side},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time,
};

use super::{
    in_flight::{InFlight, Unanswered},
    request_error::RequestError,
    run::Run,
    schedule::{Next, Schedule},
};
use crate::framing::{AnyFraming, FrameKind};

/// How many bytes are collected before they are sent.
const MAX_OUT: usize = 64 << 10;
/// The least room for a read.
const READ_SIZE: usize = 16 << 10;
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

/// What waits to be sent, received and answered.
struct Exchange<'a> {
    run: &'a Run,
    number: usize,
    schedule: &'a mut Schedule,
    /// A request that was taken before there was a connection.
    taken: Option<Duration>,
    framing: AnyFraming,
    /// The frames of all requests, unless each has an id.
    frames: Option<Vec<Vec<u8>>>,
    in_flight: InFlight,
    greeted: bool,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// Of an oversized reply, what has not arrived.
    skip: usize,
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
pub(super) async fn exchange<S: AsyncRead + AsyncWrite>(
    run: &Run,
    number: usize,
    stream: S,
    schedule: &mut Schedule,
    taken: Option<Duration>,
) -> Result<End, String> {
    let mut framing = run.plan.framing.open(Side::Client);
    let frames = if run.plan.framing.has_ids() {
        None
    } else {
        Some(frames(&mut framing, &run.plan.requests)?)
    };
    let exchange = Exchange {
        run,
        number,
        schedule,
        taken,
        framing,
        frames,
        in_flight: InFlight::default(),
        greeted: !run.plan.has_greeting,
        out: Vec::new(),
        sent: 0,
        input: Vec::new(),
        skip: 0,
        opened: run.elapsed(),
        outcomes: Vec::new(),
        was_answered: false,
    };
    exchange.drive(stream).await
}

fn frames(framing: &mut AnyFraming, requests: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    let frame = |request: &Vec<u8>| {
        let mut out = Vec::new();
        let written = framing.write(request, &mut out);
        written.map(|()| out).map_err(|error| error.to_string())
    };
    requests.iter().map(frame).collect()
}

impl Exchange<'_> {
    async fn drive<S: AsyncRead + AsyncWrite>(mut self, stream: S) -> Result<End, String> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut check = time::interval(CHECK);
        let is_one = self.run.has_one_exchange();
        let mut must_half_close = self.run.plan.framing.exchanges() == Exchanges::OneUntilHalfClose;
        let mut must_flush = false;
        loop {
            let supply = self.fill()?;
            if supply == Supply::Over && self.in_flight.len() == 0 {
                return Ok(End::Done);
            }
            self.input.reserve(READ_SIZE);
            let unsent = self.out.get(self.sent..).unwrap_or_default();
            let must_write = !unsent.is_empty();
            let can_half_close = must_half_close && !must_write && self.in_flight.len() > 0;
            let sent = async {
                if must_write {
                    return writer.write(unsent).await;
                }
                // TLS keeps what the socket did not take.
                writer.flush().await?;
                if can_half_close {
                    writer.shutdown().await?;
                }
                Ok(0)
            };
            tokio::select! {
                biased;
                // First, because a server may always have something to read.
                _ = check.tick() => if let Some(error) = self.missing() {
                    return Ok(self.lost(error));
                },
                sent = sent, if must_write || must_flush || can_half_close => match sent {
                    Ok(length) => {
                        must_flush = must_write;
                        must_half_close &= !can_half_close;
                        self.written(length);
                    }
                    Err(error) => return Ok(self.lost(error.into())),
                },
                read = reader.read_buf(&mut self.input) => match read {
                    Ok(length) => match self.received(length) {
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
        let is_too_long = |since| now.saturating_sub(since) > self.run.plan.timeout;
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
    fn fill(&mut self) -> Result<Supply, String> {
        let is_one = self.run.has_one_exchange();
        let depth = if is_one { 1 } else { self.run.plan.depth };
        // As fast as it goes, requests are sent by the half of the depth: one by one, each would cost both ends a system
        // call, and what is measured would be these.
        if self.run.plan.load.rate.is_none() && self.in_flight.len() > depth / 2 {
            return Ok(Supply::Later);
        }
        let now = self.run.elapsed();
        while self.greeted && self.in_flight.len() < depth && self.out.len() < MAX_OUT {
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

    fn append(&mut self, due: Duration, sent: Duration) -> Result<(), String> {
        let id = self.in_flight.add(Unanswered { due, sent });
        let order = &self.run.plan.order;
        let chosen = order[self.schedule.turn() % order.len()];
        if let Some(frames) = &self.frames {
            self.out.extend_from_slice(&frames[chosen]);
            return Ok(());
        }
        self.framing.set_id(id);
        let request = &self.run.plan.requests[chosen];
        let written = self.framing.write(request, &mut self.out);
        written.map_err(|error| error.to_string())
    }

    fn written(&mut self, length: usize) {
        if length == 0 {
            return;
        }
        self.sent += length;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        if self.run.is_counted(self.run.elapsed()) {
            self.run.tallies.of(self.number).bytes_sent += length as u64;
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
        let state = if length == 0 {
            ReadState::Eof
        } else {
            ReadState::Idle
        };
        let read = self.parse(now, state);
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

    /// Takes the replies out of the input, and notes the outcomes that count.
    fn parse(&mut self, now: Duration, state: ReadState) -> Result<(), RequestError> {
        let is_end = matches!(state, ReadState::Eof);
        let mut start = 0;
        loop {
            let skipped = self.skip.min(self.input.len() - start);
            self.skip -= skipped;
            start += skipped;
            let rest = self.input.get(start..).unwrap_or_default();
            if rest.is_empty() && (!is_end || self.in_flight.len() == 0) {
                break;
            }
            let input = Input::new(rest, MAX_REPLY, Side::Client, state);
            let found = match self.framing.parse(input) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => return Err(RequestError::NoFrame),
            };
            self.skip = found.consumed;
            let failed = match outcome(found.kind) {
                Outcome::Nothing => continue,
                Outcome::End(error) => return Err(error),
                Outcome::Reply => {
                    let message = rest.get(found.payload).unwrap_or_default();
                    let is_right = message.starts_with(&self.run.plan.expected);
                    (!is_right).then_some(RequestError::WrongReply)
                }
                Outcome::Failed(error) => Some(error),
            };
            if !self.greeted {
                self.greeted = true;
                continue;
            }
            let answered = match self.frames {
                Some(_) => self.in_flight.answer_oldest(),
                None => self.in_flight.answer(found.id),
            };
            let Some(Unanswered { due, .. }) = answered else {
                return Err(RequestError::Unexpected);
            };
            self.was_answered = true;
            if !self.run.is_counted(due) {
                continue;
            }
            let outcome = failed.map_or(Ok(now.saturating_sub(due)), Err);
            self.outcomes.push(outcome);
        }
        self.input.drain(..start);
        Ok(())
    }

    /// Counts the requests that get no reply any more.
    fn lost(mut self, error: RequestError) -> End {
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
