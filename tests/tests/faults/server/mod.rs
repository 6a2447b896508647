//! Servers under a faulty peer.
//!
//! The rules: the connection ends, and its session and functions with it, by the limit that is meant for it; a request is
//! executed at most once, and only if it was complete; the replies are those to the requests, in order, and all of them to
//! a peer that waits for them; the report says what the functions and the peer have seen; the next peer is served;
//! nothing is left over.

mod plan;
mod protocol;

use std::{marker::PhantomData, sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer,
    framing::{Framing as _, Side},
    server::Report,
};
use tcs_tests::{
    Gate, LATE, Link, Over, Running, cutting::Found, gate, nothing_is_left, start_for_links, within,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use self::{
    plan::{Plan, STATES, State, request},
    protocol::{BULK_LEN, How, LAST, LONG, MatrixProtocol, Seen},
};
use crate::{
    peer::RawClient,
    table::{
        Cell, Cells, Row, encode, ends_with_eof, found, has_many, is_in_matrix, message, seed,
    },
};

/// What a function does with a request of this command. It replies with the request.
mod command {
    pub(super) const ECHO: u8 = 1;
    /// Waits at the gate.
    pub(super) const HOLD: u8 = 2;
    /// Sends two items, waits at the gate, and sends a third.
    pub(super) const ROWS: u8 = 3;
    /// Takes chunks until they end, or one has the number 99.
    pub(super) const UPLOAD: u8 = 4;
    /// Pushes an event.
    pub(super) const PUSH: u8 = 5;
    /// Replies with more bytes than a socket takes at once.
    pub(super) const BULK: u8 = 6;
    pub(super) const ITEM: u8 = 7;
    pub(super) const EVENT: u8 = 8;
    pub(super) const CHUNK: u8 = 9;
}

use command::{BULK, ECHO, EVENT, ITEM};

/// The limit of a message, which all requests but those that are over-long keep.
const MAX_LEN: usize = 64;

/// The limits of a server, of which each is another, so that none covers for one that is missing.
#[derive(Clone, Copy)]
struct Limits {
    idle: Duration,
    frame: Duration,
    write: Duration,
    half_close: Duration,
    /// From one chunk to the next.
    request: Duration,
    linger: Duration,
}

const LIMITS: Limits = Limits {
    idle: Duration::from_millis(1_500),
    frame: Duration::from_secs(2),
    write: Duration::from_millis(2_700),
    half_close: Duration::from_secs(6),
    request: Duration::from_millis(4_200),
    linger: Duration::from_secs(1),
};

/// None ends what does not end by itself, within the patience of the test.
const NO_LIMITS: Limits = {
    let long = Duration::from_mins(1);
    Limits {
        idle: long,
        frame: long,
        write: long,
        half_close: long,
        request: long,
        linger: LIMITS.linger,
    }
};

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The peer closes.
    Close,
    /// The peer closes its sending half and reads.
    HalfClose,
    Reset,
    /// The peer neither sends nor reads any more.
    Stall,
    /// The rest comes byte by byte.
    Bytewise,
    /// The rest comes, and the peer closes before the reply.
    CloseBeforeReply,
    /// The rest comes, and the peer closes after the reply.
    CloseAfterReply,
    Garbage,
    OverLong,
}

use Fault::{
    Bytewise, Close, CloseAfterReply, CloseBeforeReply, Garbage, HalfClose, OverLong, Reset, Stall,
};

const FAULTS: [Fault; 9] = [
    Close,
    HalfClose,
    Reset,
    Stall,
    Bytewise,
    CloseBeforeReply,
    CloseAfterReply,
    Garbage,
    OverLong,
];

/// Makes the cells of one framing.
pub(crate) fn cells<R: Row>() -> Cells {
    let mut all = Cells::default();
    for over in [Over::Memory, Over::Tcp, Over::Unix, Over::Tls] {
        for how in [How::Sync, How::Ready, How::Waiting, How::Blocking] {
            if is_in_matrix::<R>(over, how == How::Waiting) {
                let cells = if is_paused(over, how) {
                    &mut all.paused
                } else {
                    &mut all.real
                };
                match how {
                    How::Sync => add_cells::<R, false>(over, how, cells),
                    _ => add_cells::<R, true>(over, how, cells),
                }
            }
        }
    }
    all
}

/// Whether the clock can be paused: not while a thread is blocked.
fn is_paused(over: Over, how: How) -> bool {
    matches!(over, Over::Memory) && how != How::Blocking
}

fn add_cells<R: Row, const WAITS: bool>(over: Over, how: How, all: &mut Vec<Cell>) {
    for state in STATES {
        for fault in FAULTS {
            if is_possible::<R>(over, how, state, fault) {
                let name = format!("{over:?}/{how:?}/{state:?}/{fault:?}");
                let run = CellRun::<R, WAITS> {
                    over,
                    how,
                    state,
                    fault,
                    seed: seed(&name),
                    plan: state.plan::<R>(how),
                    seen: Arc::default(),
                    gate: gate(),
                    row: PhantomData,
                };
                all.push((name, Box::pin(run.check())));
            }
        }
    }
}

fn is_possible<R: Row>(over: Over, how: How, state: State, fault: Fault) -> bool {
    let is_exact = R::ATTRIBUTES.is_exact;
    let waits = how != How::Sync;
    let has_state = match state {
        State::Connected | State::Running => true,
        State::Draining => waits,
        State::FirstByte | State::HalfRequest | State::LastByteMissing => is_exact,
        State::Writing => matches!(over, Over::Memory) || R::ATTRIBUTES.is_chosen,
        State::Pipelined => has_many::<R>() && is_exact,
        State::Idle | State::Pushed => has_many::<R>(),
        State::Streaming => has_many::<R>() && waits,
        State::Uploading => has_many::<R>() && waits && is_exact,
    };
    let has_fault = match fault {
        Bytewise => is_exact,
        OverLong => is_exact && !R::ATTRIBUTES.is_fixed,
        Reset => !matches!(over, Over::Unix),
        _ => true,
    };
    // What a limit ends is a matter of the clock.
    has_state && has_fault && (is_paused(over, how) || !needs_limits(over, state, fault))
}

/// Whether it is a limit that ends the connection.
fn needs_limits(over: Over, state: State, fault: Fault) -> bool {
    // The peer sends while the server waits for it to read.
    let reads_too_late = matches!(over, Over::Memory)
        && state == State::Writing
        && matches!(fault, Garbage | OverLong);
    fault == Stall || reads_too_late
}

/// A cell while it runs.
struct CellRun<R, const WAITS: bool> {
    over: Over,
    how: How,
    state: State,
    fault: Fault,
    seed: u64,
    plan: Plan,
    seen: Arc<Seen>,
    gate: Gate,
    row: PhantomData<fn() -> R>,
}

impl<R: Row, const WAITS: bool> CellRun<R, WAITS> {
    async fn check(mut self) {
        let server = self.start().await;
        if self.is_bulk() {
            self.plan.sent = request::<R>(BULK, 1);
            self.plan.replies.clear();
            self.plan.before = 0;
        }
        let room = if self.state == State::Writing {
            // Less than the rest of any reply.
            2
        } else {
            1 << 16
        };
        let peer = RawClient::new(connect(&server, room).await);
        let peer = self.reach_state(&server, peer).await;
        let replies = within(self.inject(peer)).await;
        within(self.ended()).await;
        let has_next = self.state != State::Draining;
        if has_next {
            let mut next = RawClient::<R>::new(connect(&server, 1 << 16).await);
            within(next.ask(&request::<R>(ECHO, LAST))).await;
            within(next.hear(1, 1 << 16)).await;
            assert_eq!(next.messages(), [(ECHO, LAST)], "another peer");
        }
        let handle = server.handle().clone();
        handle.stop();
        let report = within(server.finished()).await;
        nothing_is_left(&report, &handle, 0);
        let accepted = 1 + u64::from(has_next);
        assert_eq!(report.connections.accepted, accepted, "{report}");
        self.judge(&report, &replies, usize::from(has_next));
    }

    /// Whether the reply is longer than what a socket takes at once.
    fn is_bulk(&self) -> bool {
        self.state == State::Writing && !matches!(self.over, Over::Memory)
    }

    async fn start(&self) -> Running {
        let limits = if needs_limits(self.over, self.state, self.fault) {
            LIMITS
        } else {
            NO_LIMITS
        };
        let protocol = MatrixProtocol::<R, WAITS> {
            how: self.how,
            seen: Arc::clone(&self.seen),
            gate: self.gate.clone(),
            row: PhantomData,
        };
        let server = ConcurrentServer::new(protocol)
            .max_frame_len(MAX_LEN)
            .max_reply_len(2 * BULK_LEN)
            .idle_timeout(limits.idle)
            .frame_timeout(limits.frame)
            .write_timeout(limits.write)
            .half_close_timeout(limits.half_close)
            .linger(limits.linger)
            .request_timeout(limits.request);
        start_for_links(self.over, server).await
    }

    async fn reach_state(&self, server: &Running, mut peer: RawClient<R>) -> RawClient<R> {
        let plan = &self.plan;
        if plan.complete.0 > 0 {
            within(peer.ask(&plan.sent)).await;
        } else {
            within(peer.send(&plan.sent)).await;
        }
        for _ in 0..plan.waiting {
            within(self.gate.reached()).await;
        }
        match self.state {
            State::Writing => within(peer.hear_some(1)).await,
            State::Draining => server.handle().stop(),
            _ => within(peer.hear(plan.heard, 1 << 16)).await,
        }
        if plan.heard > 0 && R::ATTRIBUTES.is_exact {
            let heard = peer.messages();
            assert_eq!(heard, plan.replies[..plan.heard], "before the fault");
        }
        peer
    }

    /// Does to the connection what the fault is. Returns the replies that the peer has received.
    async fn inject(&self, mut peer: RawClient<R>) -> Vec<(u8, u8)> {
        let plan = &self.plan;
        let began = Instant::now();
        match self.fault {
            Close => drop(peer.link.take()),
            Reset => peer.link.take().into_iter().for_each(Link::reset),
            CloseBeforeReply => {
                peer.ask(&plan.rest).await;
                drop(peer.link.take());
            }
            HalfClose => peer.finish().await,
            Stall => {}
            Bytewise => {
                for byte in &plan.rest {
                    peer.send(&[*byte]).await;
                    yield_now().await;
                }
                peer.ask(&[]).await;
            }
            CloseAfterReply => peer.ask(&plan.rest).await,
            Garbage => {
                let mut random = fastrand::Rng::with_seed(self.seed);
                let garbage: Vec<_> = (0..2 * MAX_LEN).map(|_| random.u8(..)).collect();
                peer.ask(&garbage).await;
            }
            OverLong => {
                let mut long = message::<R>(ECHO, LONG);
                long.resize(2 * MAX_LEN, b' ');
                let long = encode::<R>(Side::Client, LONG.into(), &long, None);
                peer.ask(&[plan.rest.clone(), long].concat()).await;
            }
        }
        settle().await;
        (0..plan.waiting + plan.complete.1).for_each(|_| self.gate.open());
        match self.fault {
            Close | Reset | CloseBeforeReply => return Vec::new(),
            Stall => {
                self.ended().await;
                self.ended_by_its_limit(began);
                peer.hear_rest().await;
            }
            Bytewise | CloseAfterReply if self.is_bulk() => {
                while !peer.is_over && peer.heard.len() <= BULK_LEN {
                    peer.hear_some(1 << 16).await;
                }
                assert!(peer.heard.len() > BULK_LEN, "the reply is cut");
            }
            Bytewise => peer.hear(plan.replies.len(), 1).await,
            CloseAfterReply => peer.hear(plan.replies.len(), 1 << 16).await,
            HalfClose | Garbage | OverLong => {
                peer.finish().await;
                peer.hear_rest().await;
            }
        }
        self.replies(&peer)
    }

    /// Fails unless it was the limit for this state that has ended the connection.
    fn ended_by_its_limit(&self, began: Instant) {
        let is_first = self.plan.complete.0 == 0;
        let limit = match self.state {
            State::Connected => LIMITS.idle,
            // Where the peer may still send, the server lingers.
            _ if is_first => LIMITS.frame + LIMITS.linger,
            State::Writing => LIMITS.write,
            State::Uploading => LIMITS.idle.min(LIMITS.request),
            // An idle connection is closed at once.
            State::Draining if has_many::<R>() => Duration::ZERO,
            _ if has_many::<R>() => LIMITS.idle,
            _ if ends_with_eof::<R>() => Duration::ZERO,
            _ => LIMITS.linger,
        };
        let took = began.elapsed();
        // Each of the two may be late, and an upload may end with or without the second.
        let slack = match self.state {
            State::Uploading => LIMITS.linger + 2 * LATE + 2 * POLL,
            _ if is_first => 2 * LATE + 2 * POLL,
            _ => LATE + 2 * POLL,
        };
        assert!(
            took + POLL >= limit && took <= limit + slack,
            "it ended after {took:?} instead of {limit:?}"
        );
    }

    /// Waits until the server has ended its connections.
    async fn ended(&self) {
        while self.seen.is_busy() {
            sleep(POLL).await;
        }
    }

    /// Returns the replies that a peer has received, without those to what is no request of the test.
    fn replies(&self, peer: &RawClient<R>) -> Vec<(u8, u8)> {
        if self.fault == OverLong && self.must_reject() && R::Framing::HAS_REJECTION_FRAME {
            let found = found::<R>(Side::Client, &peer.heard, true).found;
            let is_told = |it: &Found| matches!(it, Found::Control(kind, _) if *kind == TOO_LARGE);
            assert!(found.iter().any(is_told), "it is not told: {found:?}");
        }
        let mut replies = peer.messages();
        replies.retain(|reply| *reply != (0, 0));
        replies
    }

    /// Whether the server certainly reads the over-long request.
    fn must_reject(&self) -> bool {
        let is_read = has_many::<R>() || (ends_with_eof::<R>() && self.plan.complete.0 == 0);
        is_read && !matches!(self.state, State::Writing | State::Draining)
    }

    fn judge(&self, report: &Report, replies: &[(u8, u8)], next: usize) {
        let (plan, fault) = (&self.plan, self.fault);
        let is_exact = R::ATTRIBUTES.is_exact;
        let is_last_cut = fault == OverLong && ends_with_eof::<R>();
        let complete = match fault {
            Bytewise | CloseBeforeReply | CloseAfterReply | OverLong if !is_last_cut => {
                plan.complete.1
            }
            _ => plan.complete.0,
        };
        if is_exact {
            let least = match fault {
                Bytewise | CloseAfterReply => plan.replies.len(),
                Stall | Garbage | OverLong if self.state == State::Writing => 0,
                HalfClose | Stall | Garbage | OverLong => plan.before,
                Close | Reset | CloseBeforeReply => 0,
            };
            assert_eq!(
                Some(replies),
                plan.replies.get(..replies.len()),
                "the replies"
            );
            assert!(
                replies.len() >= least,
                "{replies:?} instead of {:?}",
                plan.replies
            );
        }

        // What was executed.
        let (mut executed, others) = self.seen.executed();
        if next == 1 {
            assert_eq!(executed.pop(), Some(LAST), "the next peer");
        }
        let sent: Vec<_> = (1..=u8::try_from(complete).expect("few")).collect();
        assert_eq!(
            Some(&executed[..]),
            sent.get(..executed.len()),
            "only complete ones, in order"
        );
        let least = match fault {
            // A reset may come before its request, and an end before those that wait behind a reply.
            Reset | Close | CloseBeforeReply => {
                usize::from(plan.has_begun() || (fault != Reset && complete > 0))
            }
            _ if self.state == State::Writing => 1,
            // With garbage behind it, a message without an end may be too large.
            _ if !is_exact => usize::from(complete > 0 && fault != Garbage),
            _ => complete,
        };
        // Where messages have no ends, garbage may be a part of one that is.
        let begun = executed.len() + if is_exact { 0 } else { others };
        assert!(begun >= least, "{executed:?} instead of {sent:?}");

        // The report, against these.
        let requests = report.requests;
        let executed = (executed.len() + next + others) as u64;
        let answered = requests.served + requests.failed;
        assert!(
            executed + requests.rejected <= requests.received,
            "{executed} executed: {report}"
        );
        assert!(
            answered <= executed,
            "{answered} of {executed} executed were answered: {report}"
        );
        let heard = replies
            .iter()
            .filter(|(command, _)| ![ITEM, EVENT].contains(command));
        let heard = (heard.count() + next) as u64;
        // Where messages have no ends, a part of a reply may look like one.
        assert!(
            !is_exact || heard <= requests.served,
            "{heard} replies: {report}"
        );
        if fault == OverLong && self.must_reject() {
            assert!(requests.rejected >= 1, "{report}");
        }
        if is_exact && matches!(fault, Bytewise | CloseAfterReply) {
            let all = (complete + next) as u64;
            assert_eq!((requests.received, requests.served), (all, all), "{report}");
        }
    }
}

/// The kind of a rejection, as `WIRE.md` has it.
const TOO_LARGE: u8 = 3;

/// How often the test looks whether a connection has ended.
const POLL: Duration = Duration::from_millis(10);

async fn connect(server: &Running, room: usize) -> Link {
    server.link(room).await.expect("it listens")
}

/// Lets the other tasks run. It is not to synchronize, but so that a fault has mostly arrived.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}
