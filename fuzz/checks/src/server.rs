//! A server that a hostile peer talks to, in virtual time.

use std::{future::pending, io, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    ConcurrentServer, Peer,
    framing::{CrlfText, Framing, LengthPrefixed, Lines, Netstrings, ReadState, Side},
    server::{Report, ServerHandle},
    transport::{Incoming, Listener},
};
use tcs_tests::{
    Kind, ReadyFn, SyncFn, WaitingFn, code,
    cutting::{self, Found},
    gate, tester_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::in_virtual_time;

/// So many actions are done. More would exceed the day of the clock.
const MAX_ACTIONS: usize = 100;

/// So many requests may wait for their replies.
const MAX_PIPELINED: usize = 50;

/// How long an action may take: a peer that does not read may not be read either.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a function waits. Without it, one waits for ever if its peer is not noticed to have left, which is so behind
/// 64 KiB that wait.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Send(&'a [u8]),
    Request(Request, u8),
    Wait(u8),
    Read(u8),
}

/// What the protocol of the tests can be asked.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Request {
    Echo,
    Error,
    Busy,
    Size,
    Last,
    Nothing,
    Close,
    Count,
    Wait,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum End {
    HalfClose,
    Close,
    Reset,
}

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    /// The pair of a framing and a kind of function, and in the two highest bits whether messages are large, and
    /// whether the peer reads while it sends.
    server: u8,
    pipe: u8,
    actions: Vec<Action<'a>>,
    end: End,
}

impl Case<'_> {
    /// Returns the unit of all lengths. With the large one, messages need memory of the budget.
    fn unit(&self) -> usize {
        if self.server & 0x80 == 0 { 1 } else { 2_000 }
    }

    fn max_frame_len(&self) -> usize {
        100 * self.unit()
    }

    fn max_reply_len(&self) -> usize {
        200 * self.unit()
    }

    fn is_greedy(&self) -> bool {
        self.server & 0x40 != 0
    }

    fn actions(&self) -> impl Iterator<Item = &Action<'_>> {
        self.actions.iter().take(MAX_ACTIONS)
    }

    fn waits(&self) -> bool {
        self.actions().any(|it| matches!(it, Action::Wait(_)))
    }

    /// Returns how many bytes are not known to be requests: each could be one.
    fn sent_by_hand(&self) -> usize {
        let lengths = self.actions().map(|action| match action {
            Action::Send(bytes) => bytes.len(),
            _ => 0,
        });
        lengths.sum()
    }
}

/// Does anything to a server.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    match (case.server & 0x3f) % 5 {
        0 => with::<LengthPrefixed, SyncFn>(&case, true),
        1 => with::<LengthPrefixed, WaitingFn>(&case, true),
        2 => with::<Netstrings, ReadyFn>(&case, false),
        3 => with::<Lines, SyncFn>(&case, false),
        _ => with::<CrlfText, WaitingFn>(&case, false),
    }
}

fn with<F: Framing, K: Kind>(case: &Case<'_>, has_control_frames: bool) {
    in_virtual_time(async {
        let (near, far) = tokio::io::duplex(1 + usize::from(case.pipe) * case.unit());
        let gate = gate();
        let bound = ConcurrentServer::new(tester_of::<K, F>(&gate).counting())
            .max_frame_len(case.max_frame_len())
            .max_reply_len(case.max_reply_len())
            .max_pipelined_requests(MAX_PIPELINED as u64)
            .request_timeout(REQUEST_TIMEOUT)
            .listener(One(Some(far)))
            .bind()
            .await
            .expect("good settings");
        let handle = bound.handle();
        let served = tokio::spawn(bound.listen());
        let (reading, writing) = tokio::io::split(near);
        let mut peer = HostilePeer {
            reading,
            writing,
            is_greedy: case.is_greedy(),
            heard: Vec::new(),
        };
        let sent = peer.act::<F>(case, K::WAITS, &handle).await;
        if case.end == End::HalfClose {
            drop(peer.writing.shutdown().await);
            drop(peer.reading.read_to_end(&mut peer.heard).await);
        }
        let heard = std::mem::take(&mut peer.heard);
        drop(peer);
        let report = ended(&handle, served).await;
        let expected = Expected::of(case, &sent.requests, K::WAITS, has_control_frames);
        judge::<F>(case, &sent, &expected, &heard, &report);
    });
}

/// A listener with one connection.
struct One(Option<DuplexStream>);

impl Listener for One {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        match self.0.take() {
            Some(stream) => Ok(Some(Incoming::new(stream, Peer::unnamed()))),
            None => pending().await,
        }
    }

    fn name(&self) -> String {
        "one".to_owned()
    }
}

/// Waits until the connection has ended by itself, which leaves no memory, and stops the server.
async fn ended(handle: &ServerHandle, served: JoinHandle<tcs::Result<Report>>) -> Report {
    while handle.stats().connections.accepted == 0 || handle.stats().connections.open > 0 {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(handle.reserved_bytes(), 0);
    handle.stop();
    let report = served.await.expect("the server does not panic");
    report.expect("the server ends well")
}

/// What a peer has sent.
#[derive(Default)]
struct Sent {
    /// The complete requests, without those that are bytes by hand.
    requests: Vec<(Request, u8)>,
    /// Whether the server has not taken something.
    is_cut: bool,
}

struct HostilePeer {
    reading: ReadHalf<DuplexStream>,
    writing: WriteHalf<DuplexStream>,
    is_greedy: bool,
    heard: Vec<u8>,
}

impl HostilePeer {
    /// Does what the case says, until the server does not take it.
    async fn act<F: Framing>(
        &mut self,
        case: &Case<'_>,
        waits: bool,
        handle: &ServerHandle,
    ) -> Sent {
        let mut sent = Sent::default();
        for action in case.actions() {
            match action {
                Action::Send(bytes) => sent.is_cut = !self.send(bytes).await,
                Action::Request(request, size) => {
                    let text = text(*request, usize::from(*size) * case.unit(), waits);
                    let frame = cutting::write::<F>(&[text.into_bytes()]);
                    sent.is_cut = !self.send(&frame).await;
                    if !sent.is_cut {
                        sent.requests.push((*request, *size));
                    }
                }
                Action::Wait(seconds) => sleep(Duration::from_secs((*seconds).into())).await,
                Action::Read(count) => self.read(usize::from(*count) * case.unit()).await,
            }
            // A request, what is left of the one before, and their replies.
            let most = 2 * (case.max_frame_len() + case.max_reply_len());
            let most = if case.unit() == 1 { 0 } else { most as u64 };
            let reserved = handle.reserved_bytes();
            assert!(reserved <= most, "{reserved} bytes are reserved");
            if sent.is_cut {
                break;
            }
        }
        sent
    }

    /// Sends bytes, unless the server stops to take them. A greedy peer reads meanwhile.
    async fn send(&mut self, mut bytes: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            tokio::select! {
                written = self.writing.write(bytes) => match written {
                    Ok(count) if count > 0 => bytes = &bytes[count..],
                    _ => return false,
                },
                read = self.reading.read_buf(&mut self.heard), if self.is_greedy => {
                    if !matches!(read, Ok(1..)) {
                        return false;
                    }
                }
                () = sleep_until(deadline) => return false,
            }
        }
        true
    }

    async fn read(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let end = self.heard.len() + count;
        while self.heard.len() < end {
            let room = (end - self.heard.len()) as u64;
            let mut limited = (&mut self.reading).take(room);
            let read = limited.read_buf(&mut self.heard);
            if !matches!(timeout_at(deadline, read).await, Ok(Ok(1..))) {
                return;
            }
        }
    }
}

fn text(request: Request, size: usize, waits: bool) -> String {
    match request {
        Request::Error => "error no".to_owned(),
        Request::Busy => "busy later".to_owned(),
        Request::Size => format!("size {size}"),
        Request::Last => "last bye".to_owned(),
        Request::Nothing => "nothing".to_owned(),
        Request::Close => "close".to_owned(),
        Request::Count => "count".to_owned(),
        Request::Wait if waits => "wait long".to_owned(),
        Request::Echo | Request::Wait => "x".repeat(size),
    }
}

#[derive(Debug, PartialEq)]
enum Reply {
    Message(Vec<u8>),
    /// A rejection of this kind.
    Rejection(u8),
}

/// What the requests of a peer that sends nothing else are answered.
struct Expected {
    replies: Vec<Reply>,
    /// Whether the server then closes the connection.
    closes: bool,
    /// Whether these are all replies.
    is_certain: bool,
}

impl Expected {
    fn of(
        case: &Case<'_>,
        requests: &[(Request, u8)],
        waits: bool,
        has_control_frames: bool,
    ) -> Self {
        let mut expected = Self {
            replies: Vec::new(),
            closes: false,
            // Above this, requests may be rejected.
            is_certain: requests.len() <= MAX_PIPELINED,
        };
        let mut executed = 0_u32;
        for (request, size) in requests.iter().take(MAX_PIPELINED) {
            let length = usize::from(*size) * case.unit();
            let is_echo = match request {
                Request::Echo => true,
                Request::Wait => !waits,
                _ => false,
            };
            let rejected = |kind| has_control_frames.then_some(Reply::Rejection(kind));
            executed += 1;
            let reply = match request {
                _ if is_echo && length > case.max_frame_len() => {
                    executed -= 1;
                    rejected(code::TOO_LARGE)
                }
                Request::Size if length > case.max_reply_len() => rejected(code::FAILED),
                Request::Size => Some(Reply::Message(vec![b'x'; length])),
                Request::Busy => rejected(code::BUSY),
                Request::Error if has_control_frames => rejected(code::ERROR),
                Request::Error => Some(Reply::Message(b"no".to_vec())),
                Request::Last => Some(Reply::Message(b"bye".to_vec())),
                Request::Count => Some(Reply::Message(executed.to_string().into_bytes())),
                Request::Nothing => continue,
                Request::Close => None,
                _ if is_echo => Some(Reply::Message(vec![b'x'; length])),
                _ => {
                    // It waits until some limit.
                    expected.is_certain = false;
                    break;
                }
            };
            let is_last = reply.is_none() || matches!(request, Request::Last);
            expected.replies.extend(reply);
            if is_last {
                expected.closes = true;
                expected.is_certain = true;
                break;
            }
        }
        expected
    }
}

/// Fails unless the server has answered, and counted, what was sent.
fn judge<F: Framing>(
    case: &Case<'_>,
    sent: &Sent,
    expected: &Expected,
    heard: &[u8],
    report: &Report,
) {
    let by_hand = case.sent_by_hand();
    let received = usize::try_from(report.requests.received).expect("64 bits");
    assert!(
        received <= sent.requests.len() + usize::from(sent.is_cut) + by_hand,
        "{report}"
    );
    if by_hand > 0 && is_for_another_protocol(heard) {
        return;
    }
    let is_whole = case.end == End::HalfClose && !case.waits() && by_hand == 0 && !sent.is_cut;
    let last = if is_whole {
        ReadState::Eof
    } else {
        ReadState::Idle
    };
    let read = cutting::read_until::<F>(Side::Client, &[heard], last, 1 << 20);
    assert!(read.error.is_none(), "{:?}", read.error);
    let replies = read.found.into_iter().filter_map(|found| match found {
        Found::Message(text) => Some(Reply::Message(text)),
        // What is final answers no request.
        Found::Control(kind, _) => (kind < code::GOING_AWAY).then_some(Reply::Rejection(kind)),
        other => panic!("the server said {other:?}"),
    });
    let replies: Vec<_> = replies.collect();
    assert!(replies.len() <= received, "{replies:?}, and {report}");
    if by_hand > 0 {
        return;
    }
    let both = usize::min(replies.len(), expected.replies.len());
    assert_eq!(replies[..both], expected.replies[..both]);
    if !expected.is_certain {
        return;
    }
    // A request that is too large is rejected before all of it has come.
    let most = expected.replies.len() + usize::from(sent.is_cut && !expected.closes);
    assert!(replies.len() <= most, "{replies:?}");
    if is_whole || (expected.closes && case.end == End::HalfClose && !case.waits()) {
        assert_eq!(replies.len(), expected.replies.len(), "{report}");
        if !expected.closes {
            assert_eq!(received, sent.requests.len(), "{report}");
        }
    }
}

/// Returns `true` if the server has answered in the protocol that it took the first bytes for.
fn is_for_another_protocol(heard: &[u8]) -> bool {
    let answers: [&[u8]; 5] = [
        b"HTTP/",
        b"\x15\x03",
        b"This port ",
        b"-ERR ",
        b"\x80\0\0\x37",
    ];
    answers.iter().any(|answer| heard.starts_with(answer))
}
