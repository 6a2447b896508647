//! The exchanges of a call.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use tcs::{
    RejectionKind,
    framing::{Announcement, Exchanges, Notice, Side},
    transport::Stream,
};
use tokio::time::{Instant, timeout};

use super::{
    Args,
    outcome::{closed_unanswered, is_error, not_sent_in_time, text_or_hex, timed_out},
    requests::Requests,
};
use crate::{
    describe::{self, ModuleFormat},
    escape::escaped,
    failure::{Exit, Failure},
    framing::FrameKind,
    output::{log, print},
    wire::{Frame, Parts, Wire, disconnected, too_long},
};

/// How long the end of the stream may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of the greeting, which has no request. So has the id of its frame.
pub(super) const GREETING: u32 = 0;

struct Session<'a> {
    args: &'a Args,
    wire: Wire<Stream>,
    /// The longest message that is accepted.
    limit: usize,
    /// The requests that wait for replies, oldest first.
    in_flight: Vec<Pending>,
    sent: u32,
    /// Whether errors name the request.
    are_many: bool,
    /// The parts of replies that have arrived, by id.
    parts: Parts,
    /// The bytes of items for which no credit was returned, by id.
    uncredited: HashMap<u32, usize>,
    /// The last failure that has not ended the session.
    failure: Option<Failure>,
    /// Whether the server did not understand a request.
    has_bad_request: bool,
}

pub(super) struct Pending {
    pub(super) number: u32,
    began: Instant,
    pub(super) has_reply: bool,
    replies_left: u32,
}

/// Connects, sends all requests, and prints what comes.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    args.check()?;
    let mut requests = Requests::of(&args).await?;
    let stream = args.target.connect().await?;
    let limit = usize::try_from(args.max_len).unwrap_or(usize::MAX);
    let mut session = Session {
        wire: Wire::new(stream, &args.messages.framing, Side::Client, limit),
        limit,
        args: &args,
        in_flight: Vec::new(),
        sent: 0,
        are_many: requests.are_many(),
        parts: Parts::default(),
        uncredited: HashMap::new(),
        failure: None,
        has_bad_request: false,
    };
    session.log_verbose(|| format!("connected to {}", args.target.address));
    if let Err(error) = session.converse(&mut requests).await {
        // Both failures are reported, in their order.
        session.note_failure(error);
        return session.failure.map_or(Ok(()), Err);
    }
    if let (Some(name), true) = (&args.requests.operation, session.has_bad_request) {
        session.suggest(name).await;
    }
    // Some transports have an end of their own, such as TLS.
    drop(timeout(CLOSE_TIMEOUT, session.wire.close_half()).await);
    session.failure.map_or(Ok(()), Err)
}

impl Session<'_> {
    async fn converse(&mut self, requests: &mut Requests) -> Result<(), Failure> {
        if self.args.replies.greeting {
            self.greeting().await?;
        }
        self.exchanges(requests).await?;
        if self.args.replies.follow && self.failure.is_none() {
            self.follow().await?;
        }
        Ok(())
    }

    /// Waits for what the server says first, as for the reply to a request.
    async fn greeting(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        self.in_flight.push(Pending {
            number: GREETING,
            began,
            has_reply: false,
            replies_left: 1,
        });
        while !self.in_flight.is_empty() {
            self.receive(GREETING, began).await?;
        }
        self.wire.go_on();
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Sends the requests, and receives their replies.
    async fn exchanges(&mut self, requests: &mut Requests) -> Result<(), Failure> {
        let depth = usize::from(self.args.requests.pipeline);
        let mut has_more = true;
        loop {
            // Without replies, only this limits what waits to be sent.
            let has_room = !self.in_flight.is_empty() || !self.wire.is_full();
            if has_more && has_room && self.in_flight.len() < depth {
                // Meanwhile, the server may push something.
                tokio::select! {
                    biased;
                    request = requests.next() => match request? {
                        Some(request) => self.send(&request)?,
                        None => has_more = false,
                    },
                    frame = self.wire.next() => match frame? {
                        Some(frame) => self.handle(&frame)?,
                        None if self.in_flight.is_empty() => return self.closed(requests).await,
                        None => return Err(closed_unanswered(self.args, &self.in_flight)),
                    },
                }
            } else if let Some(&Pending { number, began, .. }) = self.next_due() {
                self.receive(number, began).await?;
            } else if has_more {
                self.make_room().await?;
            } else {
                return self.send_rest().await;
            }
        }
    }

    /// Takes the next frame. Request `number`, which was sent at `began`, must be answered next.
    async fn receive(&mut self, number: u32, began: Instant) -> Result<(), Failure> {
        let next = match self.left(began) {
            // The server may send without a pause, so that the next frame is always ready.
            Duration::ZERO => None,
            left => timeout(left, self.wire.next()).await.ok(),
        };
        let Some(frame) = next else {
            let what = match number {
                GREETING => "greeting".to_owned(),
                number => format!("reply{}", self.to_request(Some(number))),
            };
            return Err(timed_out(&what, self.args.replies.timeout));
        };
        let frame = frame?.ok_or_else(|| closed_unanswered(self.args, &self.in_flight))?;
        self.handle(&frame)
    }

    /// Sends what is queued, up to the next frame: the server may read no more until its own messages are read.
    async fn make_room(&mut self) -> Result<(), Failure> {
        let limit = self.args.replies.timeout;
        let sent = timeout(limit, self.wire.flush_or_next()).await;
        match sent.map_err(|_| not_sent_in_time(limit))?? {
            Some(frame) => self.handle(&frame),
            None => Ok(()),
        }
    }

    async fn send_rest(&mut self) -> Result<(), Failure> {
        let limit = self.args.replies.timeout;
        let sent = timeout(limit, self.wire.flush()).await;
        let sent = sent.map_err(|_| not_sent_in_time(limit))?;
        sent.map_err(|error| disconnected(&error))
    }

    /// Returns the request that must be answered next. With ids, the items of one do not give the others more time.
    fn next_due(&self) -> Option<&Pending> {
        if self.wire.has_ids() {
            return self.in_flight.iter().min_by_key(|pending| pending.began);
        }
        self.in_flight.first()
    }

    /// Returns what is left of the time limit of something that began then.
    fn left(&self, began: Instant) -> Duration {
        self.args.replies.timeout.saturating_sub(began.elapsed())
    }

    /// Returns an error if there are more requests for a server that has closed the connection.
    async fn closed(&self, requests: &mut Requests) -> Result<(), Failure> {
        // A person who types requests learns of it at once.
        if requests.are_typed() || requests.next().await?.is_some() {
            let message = "the server closed the connection before the last request";
            return Err(Failure::new(Exit::Closed, message).hint("call again for the others"));
        }
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.sent = self.sent.wrapping_add(1);
        let number = self.sent;
        if number > 1 && self.args.messages.framing.exchanges() != Exchanges::Many {
            let message = format!(
                "a connection has one exchange with --framing {}",
                self.args.messages.framing
            );
            return Err(Failure::usage(message).hint("send one request with each call"));
        }
        if self.wire.has_ids() {
            let limit = u32::try_from(self.args.replies.timeout.as_millis()).unwrap_or(u32::MAX);
            self.wire.queue_notice(Notice::Deadline(limit), number);
        }
        self.wire.queue(request, number)?;
        self.log_verbose(|| format!("request {number}: {}", text_or_hex(request)));
        if self.args.replies.count > 0 {
            self.in_flight.push(Pending {
                number,
                began: Instant::now(),
                has_reply: false,
                replies_left: self.args.replies.count,
            });
        }
        Ok(())
    }

    /// Prints a frame, and notes what it answers.
    fn handle(&mut self, frame: &Frame) -> Result<(), Failure> {
        let id = frame.id;
        match frame.kind {
            FrameKind::Message | FrameKind::Announced(Announcement::Parts) => {
                // A reply to no request must not fill the memory.
                if self.wire.has_ids() && self.position(id).is_none() {
                    self.log_verbose(|| format!("a reply to no request, with the id {id}"));
                    return Ok(());
                }
                match self.parts.add(frame, self.limit)? {
                    Some(message) => self.reply(&message, id),
                    None => Ok(()),
                }
            }
            FrameKind::Announced(Announcement::Events) => self.print("event: ", &frame.payload),
            FrameKind::Announced(_) => {
                // An endless stream has a time limit for each item.
                let place = self.position(id);
                if let Some(pending) = place.and_then(|place| self.in_flight.get_mut(place)) {
                    pending.began = Instant::now();
                }
                self.return_credit(id, frame.payload.len() + 8);
                self.print("item: ", &frame.payload)
            }
            FrameKind::Control(code) => self.control(code, &frame.payload, id),
            FrameKind::Oversized(length) => Err(too_long(length)),
            FrameKind::Skip => Ok(()),
        }
    }

    /// Lets the server send more items, if the framing limits them.
    fn return_credit(&mut self, id: u32, length: usize) {
        if !self.wire.has_ids() || self.position(id).is_none() {
            return;
        }
        let received = self.uncredited.entry(id).or_default();
        *received += length;
        if *received >= Notice::INITIAL_CREDIT as usize / 2 {
            let credit = Notice::Credit(u32::try_from(*received).unwrap_or(u32::MAX));
            *received = 0;
            self.wire.queue_notice(credit, id);
        }
    }

    /// Returns where the request with this id is, or the oldest without ids.
    fn position(&self, id: u32) -> Option<usize> {
        if self.wire.has_ids() {
            return self
                .in_flight
                .iter()
                .position(|pending| pending.number == id);
        }
        (!self.in_flight.is_empty()).then_some(0)
    }

    fn reply(&mut self, message: &[u8], id: u32) -> Result<(), Failure> {
        // What servers of this library say to people (`WIRE.md`).
        if message.starts_with(b"This port expects length-prefixed frames") {
            let message = "the server expects length-prefixed frames";
            return Err(Failure::new(Exit::Protocol, message).hint("leave out --framing"));
        }
        let is_error = is_error(self.args, message)?;
        self.print("", message)?;
        let place = self.position(id);
        if is_error {
            let number = place.and_then(|place| self.in_flight.get(place));
            let request = self.to_request(number.map(|pending| pending.number));
            let message = format!("the reply{request} is an error");
            self.note_failure(Failure::new(Exit::Rejected, message));
        }
        let Some((place, pending)) = place.zip(place.and_then(|it| self.in_flight.get_mut(it)))
        else {
            return Ok(());
        };
        let (number, elapsed) = (pending.number, pending.began.elapsed());
        let is_last = match &self.args.replies.until {
            Some(until) if number != GREETING => until.as_bytes() == message,
            _ => true,
        };
        pending.has_reply = true;
        pending.began = Instant::now();
        pending.replies_left -= u32::from(is_last);
        if pending.replies_left == 0 {
            self.in_flight.remove(place);
            self.uncredited.remove(&id);
        }
        match number {
            GREETING => self.log_verbose(|| format!("greeting after {elapsed:.1?}")),
            _ => self.log_verbose(|| format!("reply to request {number} after {elapsed:.1?}")),
        }
        Ok(())
    }

    /// Returns which request something answers, if there are several.
    fn to_request(&self, number: Option<u32>) -> String {
        match number {
            Some(number) if self.are_many && number != GREETING => format!(" to request {number}"),
            _ => String::new(),
        }
    }

    fn control(&mut self, code: u8, text: &[u8], id: u32) -> Result<(), Failure> {
        let Some(kind) = RejectionKind::from_code(code) else {
            self.log_verbose(|| format!("notice {code:#04x}"));
            return Ok(());
        };
        self.parts.forget(id);
        self.uncredited.remove(&id);
        let place = self.position(id);
        let number = place.and_then(|place| Some(self.in_flight.get(place)?.number));
        let what = match number {
            Some(number) if self.are_many && number != GREETING => {
                format!("request {number} was rejected")
            }
            _ => "rejected".to_owned(),
        };
        let failure = Failure::rejected(&what, kind, text);
        if kind.is_final() {
            return Err(failure);
        }
        self.has_bad_request |= kind == RejectionKind::BadRequest;
        self.note_failure(failure);
        place.map(|place| self.in_flight.remove(place));
        Ok(())
    }

    /// Notes a failure that does not end the session. The last one is reported at its end, and the one before it now.
    fn note_failure(&mut self, failure: Failure) {
        if let Some(former) = self.failure.replace(failure) {
            former.report();
        }
    }

    /// Adds what the operation should be, if the server describes itself.
    async fn suggest(&mut self, name: &str) {
        let Some(format) = ModuleFormat::of(self.args.messages.view.format) else {
            return;
        };
        let limit = self.args.replies.timeout.min(describe::PATIENCE);
        let contract = describe::fetch(&mut self.wire, format, limit);
        if let (Ok(Some(contract)), Some(failure)) = (contract.await, &mut self.failure) {
            failure.hint = Some(escaped(contract.advice(name).as_bytes()));
        }
    }

    /// Prints what comes until the server closes.
    async fn follow(&mut self) -> Result<(), Failure> {
        while let Some(frame) = self.wire.next().await? {
            self.handle(&frame)?;
        }
        Ok(())
    }

    fn print(&self, prefix: &str, message: &[u8]) -> Result<(), Failure> {
        let view = self.args.messages.view;
        let shown = view.show(message)?;
        // What the operation returns, without its name.
        let returned = self.args.requests.operation.as_deref().and_then(|name| {
            let start = format!("{{{}:", Value::from(name));
            shown.strip_prefix(start.as_bytes())?.strip_suffix(b"}")
        });
        print(&[prefix.as_bytes(), returned.unwrap_or(&shown), b"\n"])
    }

    fn log_verbose(&self, text: impl FnOnce() -> String) {
        if self.args.replies.verbose {
            log(text());
        }
    }
}
