//! Servers under a faulty peer.
//!
//! The rules: the connection ends, and its session and functions with it; a request is executed at most once, and only
//! if it was complete; the replies are those to the requests, in order, and all of them to a peer that waits for them;
//! the report adds up; the next peer is served; nothing is left over.

use std::{
    collections::HashMap,
    io,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::Plain,
    framing::{Announcement, Framing, Side},
    protocol::{Context, Pushes, Receives, ServerProtocol, Streams},
    server::{Report, ServerHandle},
    testing::{Pipe, pipe},
    transport::{Incoming, Listener, UnixSocketListener},
};
use tcs_tests::{
    Act, BlockingFn, Gate, Io, Kind, Over, ReadyFn, SyncFn, WaitingFn, adds_up, gate, scratch_path,
    tls, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::{JoinHandle, yield_now},
    time::sleep,
};

use crate::table::{
    Cell, Cells, Link, decode, encode, ends_with_eof, has_many, header, is_chosen, is_exact,
    is_in_matrix, message, parsed,
};

matrix!(server);

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
    /// Replies with so many bytes that no socket takes them at once.
    pub(super) const BULK: u8 = 6;
    pub(super) const ITEM: u8 = 7;
    pub(super) const EVENT: u8 = 8;
    pub(super) const CHUNK: u8 = 9;
}

use command::{BULK, CHUNK, ECHO, EVENT, HOLD, ITEM, PUSH, ROWS, UPLOAD};

/// The number of the last chunk of an upload, and of the request of the next peer.
const LAST: u8 = 99;
/// More than the buffers of a socket have room for.
const BULK_LEN: usize = 4 << 20;
/// The limit of each wait for a peer that stalls: long enough for the steps before it where the clock is real.
const LIMIT: Duration = Duration::from_millis(500);
/// The limit of a message, which all requests but those that are over-long keep.
const MAX_LEN: usize = 64;

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

/// Where the connection is when that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
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

const STATES: [State; 12] = [
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

/// Makes the cells of one framing.
fn cells<F: Framing>() -> Cells {
    let mut all = Cells::default();
    for over in [Over::Memory, Over::Tcp, Over::Unix, Over::Tls] {
        for how in [How::Sync, How::Ready, How::Waiting, How::Blocking] {
            if is_in_matrix::<F>(over, how == How::Waiting) {
                // A clock cannot be paused while a thread is blocked.
                let cells = match over {
                    Over::Memory if how != How::Blocking => &mut all.paused,
                    _ => &mut all.real,
                };
                match how {
                    How::Sync => add_cells::<F, false>(over, how, cells),
                    _ => add_cells::<F, true>(over, how, cells),
                }
            }
        }
    }
    all
}

fn add_cells<F: Framing, const WAITS: bool>(over: Over, how: How, all: &mut Vec<Cell>) {
    for state in STATES {
        for fault in FAULTS {
            if is_possible::<F>(over, how, state, fault) {
                let name = format!("{over:?}/{how:?}/{state:?}/{fault:?}");
                all.push((name, Box::pin(check::<F, WAITS>(over, how, state, fault))));
            }
        }
    }
}

fn is_possible<F: Framing>(over: Over, how: How, state: State, fault: Fault) -> bool {
    let waits = how != How::Sync;
    let has_state = match state {
        State::Connected | State::Running => true,
        State::Draining => waits,
        State::FirstByte | State::HalfRequest | State::LastByteMissing => is_exact::<F>(),
        State::Writing => matches!(over, Over::Memory) || is_chosen::<F>(),
        State::Pipelined => has_many::<F>() && is_exact::<F>(),
        State::Idle | State::Pushed => has_many::<F>(),
        State::Streaming => has_many::<F>() && waits,
        State::Uploading => has_many::<F>() && waits && is_exact::<F>(),
    };
    let has_fault = match fault {
        Bytewise => is_exact::<F>(),
        // None is longer than another.
        OverLong => is_exact::<F>() && !std::any::type_name::<F>().contains("Fixed"),
        Reset => !matches!(over, Over::Unix),
        _ => true,
    };
    has_state && has_fault
}

/// What the functions tell the test.
#[derive(Debug, Default)]
struct Seen {
    /// How often each request was executed.
    executed: Mutex<HashMap<u8, usize>>,
    sessions: AtomicUsize,
    running: AtomicUsize,
}

/// Counts up, and down when it is dropped.
struct Counted(Arc<Seen>, fn(&Seen) -> &AtomicUsize);

impl Counted {
    fn new(seen: &Arc<Seen>, count: fn(&Seen) -> &AtomicUsize) -> Self {
        count(seen).fetch_add(1, SeqCst);
        Self(Arc::clone(seen), count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, SeqCst);
    }
}

/// Does what its requests say.
struct Told<F, const WAITS: bool> {
    how: How,
    seen: Arc<Seen>,
    gate: Gate,
    framing: PhantomData<fn() -> F>,
}

/// The kind of a function. It is no type, because each type makes the servers of all framings once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Sync,
    Ready,
    Waiting,
    Blocking,
}

impl How {
    async fn process(
        self,
        info: &ConnectionInfo,
        gate: &Gate,
        function: impl FnOnce() -> Act<()> + Send,
    ) {
        match self {
            Self::Sync => SyncFn::process(info, gate, function).await,
            Self::Ready => ReadyFn::process(info, gate, function).await,
            Self::Waiting => WaitingFn::process(info, gate, function).await,
            Self::Blocking => BlockingFn::process(info, gate, function).await,
        }
    }
}

/// Names the items, events and chunks.
enum Bytes {}

impl Streams for Bytes {
    type Format = Plain;
    type Item<'a> = &'a [u8];
}

impl Pushes for Bytes {
    type Format = Plain;
    type Event<'a> = &'a [u8];
}

impl Receives for Bytes {
    type Format = Plain;
    type Chunk<'a> = &'a [u8];
}

impl<F: Framing, const WAITS: bool> Told<F, WAITS> {
    /// Does what only a function can that waits.
    async fn converse(&self, info: &ConnectionInfo, command: u8) -> Result<(), Rejection> {
        let ended = |_| Rejection::busy("it ended");
        match command {
            ROWS => {
                let mut out = info.replies::<Bytes>();
                for number in 1..=3 {
                    if number == 3 {
                        self.gate.pass().await;
                    }
                    let item = message::<F>(ITEM, number);
                    out.send(&item)
                        .await
                        .map_err(|_| Rejection::busy("it ended"))?;
                }
            }
            UPLOAD => {
                let mut more = info.requests::<Bytes>();
                while let Some(chunk) = more.next().await.map_err(ended)?
                    && parsed::<F>(chunk) != Some((CHUNK, LAST))
                {}
            }
            _ => {}
        }
        Ok(())
    }
}

impl<F: Framing, const WAITS: bool> ServerProtocol for Told<F, WAITS> {
    type Framing = F;
    type Format = Plain;
    type Session = Counted;
    type Request<'a> = &'a [u8];
    type Reply<'a> = Vec<u8>;
    const WAITS: bool = WAITS;

    fn open_session(&self, _info: &ConnectionInfo) -> Counted {
        Counted::new(&self.seen, |seen| &seen.sessions)
    }

    async fn process_request(
        &self,
        context: Context<'_, Counted>,
        request: &[u8],
    ) -> Result<Vec<u8>, Rejection> {
        let info = context.info;
        let Some((command, number)) = parsed::<F>(request) else {
            return Ok(message::<F>(0, 0));
        };
        let _running = Counted::new(&self.seen, |seen| &seen.running);
        *self
            .seen
            .executed
            .lock()
            .expect("no panic")
            .entry(number)
            .or_default() += 1;
        if WAITS {
            self.converse(info, command).await?;
        }
        let mut reply = message::<F>(command, number);
        let function = || match command {
            HOLD if WAITS => Act::Wait(()),
            PUSH => {
                let event = message::<F>(EVENT, number);
                info.push::<Bytes>()
                    .try_send(&event)
                    .expect("there is room");
                Act::Return(())
            }
            _ => Act::Return(()),
        };
        self.how.process(info, &self.gate, function).await;
        if command == BULK {
            reply.resize(BULK_LEN, b'x');
        }
        Ok(reply)
    }
}

/// Pipes of any size, which can be reset.
struct Pipes(mpsc::UnboundedReceiver<Pipe>);

impl Listener for Pipes {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.0.recv().await;
        Ok(accepted.map(|pipe| Incoming::new(pipe, Peer::unnamed())))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// A server, and how to reach it.
struct Served {
    at: At,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

enum At {
    Memory(mpsc::UnboundedSender<Pipe>),
    Unix(std::path::PathBuf),
    Tcp(std::net::SocketAddr),
    Tls(std::net::SocketAddr),
}

impl Served {
    async fn start<F: Framing, const WAITS: bool>(
        over: Over,
        how: How,
        limit: Duration,
        seen: &Arc<Seen>,
        gate: &Gate,
    ) -> Self {
        let protocol = Told::<F, WAITS> {
            how,
            seen: Arc::clone(seen),
            gate: gate.clone(),
            framing: PhantomData,
        };
        let server = ConcurrentServer::new(protocol)
            .max_frame_len(MAX_LEN)
            .max_reply_len(2 * BULK_LEN)
            .idle_timeout(limit)
            .frame_timeout(limit)
            .write_timeout(limit)
            .half_close_timeout(limit)
            .linger(LIMIT)
            // From one chunk to the next.
            .request_timeout(limit);
        let (server, at) = match over {
            Over::Memory => {
                let (sender, receiver) = mpsc::unbounded_channel();
                (server.listener(Pipes(receiver)), Some(At::Memory(sender)))
            }
            Over::Unix => {
                let path = scratch_path("sock");
                let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
                (server.listener(socket), Some(At::Unix(path)))
            }
            Over::Tcp => (server.port(0), None),
            Over::Tls => (server.port(0).tls(tls::server()), None),
        };
        let bound = server.bind().await.expect("a free port");
        let at = at.unwrap_or_else(|| match over {
            Over::Tls => At::Tls(bound.local_addr()),
            _ => At::Tcp(bound.local_addr()),
        });
        Self {
            at,
            handle: bound.handle(),
            task: tokio::spawn(bound.listen()),
        }
    }

    /// Connects, through a pipe of so many bytes if it is in memory.
    async fn link(&self, room: usize) -> Link {
        let tcp = async |addr| {
            let stream = TcpStream::connect(addr).await.expect("it listens");
            stream.set_nodelay(true).expect("TCP has it");
            stream
        };
        match &self.at {
            At::Memory(sender) => {
                let (near, far) = pipe(room);
                sender.send(far).expect("it listens");
                Link::Memory(near)
            }
            At::Unix(path) => Link::Unix(UnixStream::connect(path).await.expect("it listens")),
            At::Tcp(addr) => Link::Tcp(tcp(*addr).await),
            At::Tls(addr) => Link::Tls(Box::new(tls::connect_over(tcp(*addr).await).await)),
        }
    }
}

/// The peer.
struct Talk<F> {
    /// Nothing once the peer has closed.
    link: Option<Link>,
    /// What was received.
    heard: Vec<u8>,
    /// Whether the server has closed.
    is_over: bool,
    framing: PhantomData<F>,
}

impl<F: Framing> Talk<F> {
    fn new(link: Link) -> Self {
        Self {
            link: Some(link),
            heard: Vec::new(),
            is_over: false,
            framing: PhantomData,
        }
    }

    fn io(&mut self) -> &mut dyn Io {
        self.link.as_mut().expect("it is open").io()
    }

    /// Sends as far as the server takes it.
    async fn send(&mut self, bytes: &[u8]) {
        let io = self.io();
        if io.write_all(bytes).await.is_ok() {
            io.flush().await.ok();
        }
    }

    async fn finish(&mut self) {
        self.io().shutdown().await.ok();
    }

    /// Sends requests, and what ends them.
    async fn ask(&mut self, bytes: &[u8]) {
        self.send(bytes).await;
        if ends_with_eof::<F>() {
            self.finish().await;
        }
    }

    /// Receives what comes next, up to so many bytes.
    async fn hear_some(&mut self, limit: usize) {
        let mut bytes = vec![0; limit];
        match self.io().read(&mut bytes).await {
            Ok(count) if count > 0 => self.heard.extend_from_slice(&bytes[..count]),
            _ => self.is_over = true,
        }
    }

    /// Receives until there are so many messages, or the end.
    async fn hear(&mut self, count: usize, piece: usize) {
        // The end of some messages is that of the connection.
        let is_missing = |talk: &Self| {
            (count > 0 && !has_many::<F>())
                || talk.heard.len() < 4 * count
                || (is_exact::<F>() && talk.messages().len() < count)
        };
        while !self.is_over && is_missing(self) {
            self.hear_some(piece).await;
        }
    }

    async fn hear_rest(&mut self) {
        while !self.is_over {
            self.hear_some(1 << 16).await;
        }
    }

    fn messages(&self) -> Vec<(u8, u8)> {
        decode::<F>(Side::Client, &self.heard, self.is_over)
    }
}

/// The bytes of a request.
fn request<F: Framing>(command: u8, number: u8) -> Vec<u8> {
    let message = message::<F>(command, number);
    encode::<F>(Side::Client, number.into(), &message, None)
}

fn chunk<F: Framing>(number: u8) -> Vec<u8> {
    let message = message::<F>(CHUNK, number);
    encode::<F>(Side::Client, 1, &message, Some(Announcement::Chunks))
}

/// What a state has, and what is missing.
struct Plan {
    /// What was sent before the fault.
    sent: Vec<u8>,
    /// What would be sent next.
    rest: Vec<u8>,
    /// How many of the requests are complete before the fault, and with the rest.
    complete: (usize, usize),
    /// The messages that answer all of it.
    replies: Vec<(u8, u8)>,
    /// The number of these that come before the fault.
    heard: usize,
    /// The number of these that answer what was sent before the fault.
    before: usize,
    /// How many functions wait at the gate.
    waiting: usize,
}

impl State {
    fn plan<F: Framing>(self, how: How) -> Plan {
        let waits = how != How::Sync;
        let hold = if waits { HOLD } else { ECHO };
        let cut = |len: fn(usize) -> usize| {
            let whole = request::<F>(ECHO, 1);
            let (sent, rest) = whole.split_at(len(whole.len()));
            (sent.to_vec(), rest.to_vec())
        };
        let echo = vec![(ECHO, 1)];
        let mut plan = Plan {
            sent: Vec::new(),
            rest: Vec::new(),
            complete: (1, 1),
            replies: echo,
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
                plan.sent = request::<F>(hold, 1);
                plan.replies = vec![(hold, 1)];
                plan.waiting = usize::from(waits);
            }
            Self::Writing => plan.sent = request::<F>(ECHO, 1),
            Self::Pipelined => {
                let requests = [(hold, 1), (ECHO, 2), (ECHO, 3)];
                plan.sent = requests
                    .map(|(command, number)| request::<F>(command, number))
                    .concat();
                plan.complete = (3, 3);
                (plan.replies, plan.before) = (requests.to_vec(), 3);
                plan.waiting = usize::from(waits);
            }
            Self::Idle => {
                plan.sent = request::<F>(ECHO, 1);
                plan.rest = request::<F>(ECHO, 2);
                plan.complete = (1, 2);
                plan.replies = vec![(ECHO, 1), (ECHO, 2)];
                plan.heard = 1;
            }
            Self::Streaming => {
                plan.sent = request::<F>(ROWS, 1);
                plan.replies = vec![(ITEM, 1), (ITEM, 2), (ITEM, 3), (ROWS, 1)];
                (plan.heard, plan.before, plan.waiting) = (2, 4, 1);
            }
            Self::Uploading => {
                plan.sent = [request::<F>(UPLOAD, 1), chunk::<F>(1)].concat();
                plan.rest = chunk::<F>(LAST);
                // The function may see an error.
                (plan.replies, plan.before) = (vec![(UPLOAD, 1)], 0);
            }
            Self::Pushed => {
                plan.sent = request::<F>(PUSH, 1);
                plan.rest = request::<F>(ECHO, 2);
                plan.complete = (1, 2);
                plan.replies = vec![(PUSH, 1), (EVENT, 1), (ECHO, 2)];
                (plan.heard, plan.before) = (2, 2);
            }
        }
        plan
    }
}

/// Lets the other tasks run. It is not to synchronize, but so that a fault has mostly arrived.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Waits until the server has ended its connections.
async fn ended(over: Over, seen: &Seen) {
    let mut pause = Duration::from_millis(1);
    let longest = match over {
        Over::Memory => LIMIT,
        _ => Duration::from_millis(8),
    };
    while seen.sessions.load(SeqCst) + seen.running.load(SeqCst) > 0 {
        sleep(pause).await;
        pause = longest.min(2 * pause);
    }
}

async fn check<F: Framing, const WAITS: bool>(over: Over, how: How, state: State, fault: Fault) {
    let (seen, gate) = (Arc::new(Seen::default()), gate());
    // It sends while the server waits for it to read.
    let reads_too_late = state == State::Writing && matches!(fault, Garbage | OverLong);
    let limit = if fault == Stall || reads_too_late {
        LIMIT
    } else {
        // None is to end what does not end by itself.
        100 * LIMIT
    };
    let server = Served::start::<F, WAITS>(over, how, limit, &seen, &gate).await;
    let mut plan = state.plan::<F>(how);
    let is_bulk = state == State::Writing && !matches!(over, Over::Memory);
    if is_bulk {
        plan.sent = request::<F>(BULK, 1);
        plan.replies.clear();
        plan.before = 0;
    }
    let room = if state == State::Writing { 3 } else { 1 << 16 };
    let mut peer = Talk::<F>::new(server.link(room).await);

    // To the state.
    if plan.complete.0 > 0 {
        within(peer.ask(&plan.sent)).await;
    } else {
        within(peer.send(&plan.sent)).await;
    }
    for _ in 0..plan.waiting {
        within(gate.reached()).await;
    }
    match state {
        State::Writing => within(peer.hear_some(1)).await,
        State::Draining => server.handle.stop(),
        _ => within(peer.hear(plan.heard, 1 << 16)).await,
    }
    if plan.heard > 0 && is_exact::<F>() {
        let heard = peer.messages();
        assert_eq!(heard, plan.replies[..plan.heard], "before the fault");
    }

    let replies = within(suffer(over, fault, peer, &plan, &gate, &seen, is_bulk)).await;
    within(ended(over, &seen)).await;
    if is_exact::<F>() && fault != Garbage {
        let least = match fault {
            HalfClose => plan.before,
            Bytewise | CloseAfterReply => plan.replies.len(),
            _ => 0,
        };
        let expected = plan.replies.get(..replies.len());
        assert_eq!(Some(&replies[..]), expected, "the replies");
        assert!(
            replies.len() >= least,
            "{replies:?} instead of {:?}",
            plan.replies
        );
    }

    // Another peer, and the report.
    let is_draining = state == State::Draining;
    if !is_draining {
        let mut other = Talk::<F>::new(server.link(1 << 16).await);
        within(other.ask(&request::<F>(ECHO, LAST))).await;
        within(other.hear(1, 1 << 16)).await;
        assert_eq!(other.messages(), [(ECHO, LAST)], "another peer");
        drop(other);
        server.handle.stop();
    }
    let report = within(server.task)
        .await
        .expect("no panic")
        .expect("it ends well");
    adds_up(&report);
    let (requests, connections) = (report.requests, report.connections);
    assert_eq!((requests.in_flight, connections.open), (0, 0), "{report}");
    assert_eq!(
        connections.accepted,
        if is_draining { 1 } else { 2 },
        "{report}"
    );
    let executed = seen.executed.lock().expect("no panic");
    let complete = match fault {
        Bytewise | CloseBeforeReply | CloseAfterReply | OverLong => plan.complete.1,
        _ => plan.complete.0,
    };
    for (number, times) in &*executed {
        assert_eq!(*times, 1, "executions of {number}");
        let was_sent = usize::from(*number) <= complete || (*number == LAST && !is_draining);
        assert!(was_sent, "executed {number}, of {complete}");
    }
    assert!(executed.len() as u64 <= requests.received, "{report}");
}

/// Does to the connection what the fault is. Returns the replies that the peer has received.
async fn suffer<F: Framing>(
    over: Over,
    fault: Fault,
    mut peer: Talk<F>,
    plan: &Plan,
    gate: &Gate,
    seen: &Seen,
    is_bulk: bool,
) -> Vec<(u8, u8)> {
    let open = async || {
        settle().await;
        (0..plan.waiting + plan.complete.1).for_each(|_| gate.open());
    };
    match fault {
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
            let mut random = fastrand::Rng::with_seed(1);
            let garbage: Vec<_> = (0..2 * MAX_LEN).map(|_| random.u8(..)).collect();
            peer.ask(&garbage).await;
        }
        OverLong => {
            let message = [header::<F>(), vec![b'x'; 2 * MAX_LEN]].concat();
            let long = encode::<F>(Side::Client, LAST.into(), &message, None);
            peer.ask(&[plan.rest.clone(), long].concat()).await;
        }
    }
    open().await;
    match fault {
        Close | Reset | CloseBeforeReply => return Vec::new(),
        // It is the server that ends the connection.
        Stall => ended(over, seen).await,
        Bytewise | CloseAfterReply if is_bulk => {
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
    let mut replies = peer.messages();
    // Those to what is no request of the test.
    replies.retain(|reply| *reply != (0, 0));
    replies
}
