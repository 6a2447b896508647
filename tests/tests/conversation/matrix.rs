//! Every part of a conversation, with each kind of function, framing and transport; and peers that leave after each of
//! its bytes.

use std::{
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, Response,
    format::{Encode, Plain},
    framing::{LengthPrefixed, Lines, Multiplexed},
    protocol::{
        Concurrency, Context, Push, PushError, PushGroup, Pushes, Receives, ServerProtocol,
        Streams, Upgrade, Upgraded,
    },
    server::Report,
};
use tcs_tests::{
    Act, BlockingFn, Gate, Kind, Over, RawPeer, ReadyFn, Running, SyncFn, WaitingFn, each_kind,
    gate, start_over, within,
};
use tokio::{
    io::{copy, split},
    runtime::Handle,
    task::yield_now,
};

use crate::hub::{Wire, hear};

each_kind!(each_conversation_has_its_bytes);

/// Does what its requests say. [`Step`]s are the other end.
struct All<C> {
    shared: Shared,
    gate: Gate,
    case: PhantomData<fn() -> C>,
}

/// A kind of function, its framing, and how many of its requests a connection has at the same time.
trait Case: 'static {
    type Kind: Kind;
    type Framing: Wire;
    type Reply<'a>: Encode<Plain> + std::marker::Send;
    const CONCURRENT: Option<Concurrency>;

    fn reply<'a>(text: Result<String, String>) -> Self::Reply<'a>;

    /// Sends back what it receives. Only a function that has the connection for itself can do so.
    fn echo<'a>() -> Option<Self::Reply<'a>> {
        None
    }
}

struct OneByOne<K, F>(PhantomData<fn() -> (K, F)>);

impl<K: Kind, F: Wire> Case for OneByOne<K, F> {
    type Kind = K;
    type Framing = F;
    type Reply<'a> = Result<Response<String, Upgrade<'a>>, String>;
    const CONCURRENT: Option<Concurrency> = None;

    fn reply<'a>(text: Result<String, String>) -> Self::Reply<'a> {
        text.map(Response::Reply)
    }

    fn echo<'a>() -> Option<Self::Reply<'a>> {
        let echo = async |io: Upgraded| {
            let (mut reading, mut writing) = split(io);
            // The peer may leave at any time.
            drop(copy(&mut reading, &mut writing).await);
        };
        Some(Ok(Response::upgrade("yes".to_owned(), echo)))
    }
}

/// Requests are processed at the same time, and answered in order or as they are ready.
struct Concurrent<K, F, const IS_ORDERED: bool>(PhantomData<fn() -> (K, F)>);

type SideBySide<K, F> = Concurrent<K, F, true>;
type AsTheyAreReady<K, F> = Concurrent<K, F, false>;

impl<K: Kind, F: Wire, const IS_ORDERED: bool> Case for Concurrent<K, F, IS_ORDERED> {
    type Kind = K;
    type Framing = F;
    type Reply<'a> = Result<Response<String>, String>;
    const CONCURRENT: Option<Concurrency> = Some(if IS_ORDERED {
        Concurrency::ordered(4)
    } else {
        Concurrency::unordered(4)
    });

    fn reply<'a>(text: Result<String, String>) -> Self::Reply<'a> {
        text.map(Response::Reply)
    }
}

/// What a test shares with the functions.
#[derive(Clone, Default)]
struct Shared {
    room: Arc<PushGroup<Talk>>,
    /// The handles that functions have kept.
    kept: Arc<Mutex<Vec<Push<Talk>>>>,
    /// The events that were queued.
    queued: Arc<AtomicU64>,
}

/// Names the events, items and chunks.
enum Talk {}

impl Pushes for Talk {
    type Format = Plain;
    type Event<'a> = &'a str;
}

impl Streams for Talk {
    type Format = Plain;
    type Item<'a> = &'a str;
}

impl Receives for Talk {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

impl Shared {
    fn tell(&self, push: &Push<Talk>, event: &str) -> Result<(), PushError> {
        push.try_send(event)?;
        self.queued.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the peers whose functions have kept their handles. Returns how many are there.
    fn tell_kept(&self, event: &str) -> usize {
        let kept = self.kept.lock().expect("no panic");
        kept.iter()
            .filter(|push| self.tell(push, event).is_ok())
            .count()
    }

    fn say(&self, event: &str) -> usize {
        let members = self.room.send(event).expect("it can be sent");
        self.queued.fetch_add(members as u64, Ordering::Relaxed);
        members
    }

    /// Does what needs no wait.
    fn act(&self, info: &ConnectionInfo, request: &str) -> Result<String, String> {
        let (word, text) = request.split_once(' ').unwrap_or((request, ""));
        Ok(match word {
            "tell" => {
                self.tell(&info.push(), text)?;
                "told".to_owned()
            }
            "keep" => {
                self.kept.lock().expect("no panic").push(info.push());
                "kept".to_owned()
            }
            "join" => self.room.join(&info.push()).to_string(),
            "say" => self.say(text).to_string(),
            "others" => {
                let others = self.room.send_to_others(&info.push(), text)?;
                self.queued.fetch_add(others as u64, Ordering::Relaxed);
                others.to_string()
            }
            _ => "end".to_owned(),
        })
    }

    /// Does what waits. Returns nothing if the request asks for nothing of it.
    async fn converse(info: &ConnectionInfo, request: &str) -> Result<Option<String>, String> {
        let (word, count) = request.split_once(' ').unwrap_or((request, ""));
        let count = || count.parse::<usize>().map_err(|_| "no number".to_owned());
        Ok(match word {
            "rows" | "fail" => {
                let mut out = info.replies::<Talk>();
                for number in 1..=count()? {
                    out.send(&number.to_string()).await?;
                }
                if word == "fail" {
                    return Err("no more".to_owned());
                }
                None
            }
            "join" if request != "join" => {
                let mut more = info.requests::<Talk>();
                let mut joined = String::new();
                while let Some(chunk) = more.next().await?
                    && chunk != "."
                {
                    joined.push_str(chunk);
                    joined.push('|');
                }
                Some(joined)
            }
            "block" => {
                let mut more = info.requests::<Talk>();
                let (mut body, mut block) = (more.exactly(count()?), Vec::new());
                while let Some(piece) = body.next().await? {
                    block.extend_from_slice(piece);
                }
                Some(String::from_utf8_lossy(&block).into_owned())
            }
            "closed" => {
                info.closed().await;
                None
            }
            _ => None,
        })
    }
}

impl<C: Case> ServerProtocol for All<C> {
    type Framing = C::Framing;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = C::Reply<'a>;
    const WAITS: bool = C::Kind::WAITS;
    const CONCURRENT: Option<Concurrency> = C::CONCURRENT;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> Result<C::Reply<'a>, Rejection> {
        let (info, shared) = (context.info, &self.shared);
        match Shared::converse(info, request).await {
            Ok(Some(reply)) => return Ok(C::reply(Ok(reply))),
            Ok(None) => {}
            Err(error) => return Ok(C::reply(Err(error))),
        }
        let mut reply = None;
        let function = || {
            let echo = (request == "upgrade").then(C::echo).flatten();
            reply = Some(echo.unwrap_or_else(|| C::reply(shared.act(info, request))));
            Act::Return(())
        };
        C::Kind::process(info, &self.gate, function).await;
        Ok(reply.expect("the function was called"))
    }
}

impl Shared {
    async fn start<C: Case>(&self, over: Over) -> Running {
        let protocol = All::<C> {
            shared: self.clone(),
            gate: gate(),
            case: PhantomData,
        };
        start_over(over, ConcurrentServer::new(protocol)).await
    }

    /// Stops the server. Fails unless all that it had is gone, and the numbers of events add up.
    async fn stop(self, server: Running) -> Report {
        server.handle().stop();
        let report = within(server.finished()).await;
        assert_eq!((report.requests.in_flight, report.connections.open), (0, 0));
        // Another thread may still be about to forget a task that has ended.
        let no_task_is_left = async {
            while Handle::current().metrics().num_alive_tasks() > 0 {
                yield_now().await;
            }
        };
        within(no_task_is_left).await;
        let queued = self.queued.load(Ordering::Relaxed);
        let events = report.events;
        assert_eq!(events.sent + events.dropped, queued, "{report}");
        assert!(self.room.is_empty());
        assert_eq!(Arc::strong_count(&self.room), 1);
        report
    }
}

/// What a peer does next.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Hear(Vec<u8>),
    /// Somebody else pushes an event to the room.
    Elsewhere(&'static str),
    /// Somebody else pushes an event with the handle that the function has kept.
    Kept(&'static str),
    Finish,
}

use Step::{Elsewhere, Finish, Hear, Kept, Send};

/// A whole conversation, with its name and the number of its requests.
type Talked = (&'static str, u64, Vec<Step>);

/// What every kind of function can do.
fn without_waits<C: Case>() -> Vec<Talked> {
    let message = C::Framing::message;
    let say = |request| Send(message(request));
    let event = |text| C::Framing::events(&[text]);
    let with_reply = |reply, text| Hear([message(reply), event(text)].concat());
    vec![
        (
            "events of the function",
            2,
            vec![
                say("tell a"),
                with_reply("told", "a"),
                say("tell "),
                with_reply("told", ""),
            ],
        ),
        (
            "events from elsewhere",
            1,
            vec![
                say("join"),
                Hear(message("true")),
                Elsewhere("one"),
                Hear(event("one")),
                Elsewhere(""),
                Hear(event("")),
            ],
        ),
        (
            "events of a handle that was kept",
            2,
            vec![
                say("keep"),
                Hear(message("kept")),
                Kept("one"),
                Hear(event("one")),
                say("tell own"),
                with_reply("told", "own"),
                Kept("two"),
                Hear(event("two")),
            ],
        ),
        (
            "events of a group",
            3,
            vec![
                say("join"),
                Hear(message("true")),
                say("others not"),
                Hear(message("0")),
                say("say hi"),
                with_reply("1", "hi"),
            ],
        ),
    ]
}

/// What functions can do that wait.
fn with_waits<F: Wire>() -> Vec<Talked> {
    let say = |request| Send(F::message(request));
    let end = F::message("end");
    vec![
        (
            "a streamed reply",
            2,
            vec![
                say("rows 3"),
                Hear([F::items(&["1", "2", "3"]), end.clone()].concat()),
                say("rows 0"),
                Hear(end.clone()),
            ],
        ),
        (
            "an error after some items",
            2,
            vec![
                say("fail 2"),
                Hear([F::items(&["1", "2"]), F::error("no more")].concat()),
                say("rows 0"),
                Hear(end.clone()),
            ],
        ),
        (
            "a peer that has closed",
            1,
            vec![say("closed"), Finish, Hear(end)],
        ),
    ]
}

/// What functions can do whose requests come one by one.
fn with_chunks<F: Wire>() -> Vec<Talked> {
    let end = F::message("end");
    vec![
        (
            "further messages",
            3,
            vec![
                Send(F::with_chunks("join all", &["a", "", "b"])),
                Hear(F::message("a||b|")),
                Send([F::with_chunks("join all", &[]), F::message("rows 0")].concat()),
                Hear([F::message(""), end.clone()].concat()),
            ],
        ),
        (
            "a block",
            2,
            vec![
                Send(
                    [
                        F::message("block 5"),
                        b"ab cd".to_vec(),
                        F::message("rows 0"),
                    ]
                    .concat(),
                ),
                Hear([F::message("ab cd"), end].concat()),
            ],
        ),
    ]
}

fn upgrade<F: Wire>() -> Talked {
    (
        "an upgrade",
        1,
        vec![
            Send(F::message("upgrade")),
            Hear(F::message("yes")),
            Send(b"raw\0\n".to_vec()),
            Hear(b"raw\0\n".to_vec()),
            Finish,
        ],
    )
}

fn conversations<C: Case>() -> Vec<Talked> {
    let mut all = without_waits::<C>();
    if C::echo().is_some() {
        all.push(upgrade::<C::Framing>());
    }
    if C::Kind::WAITS {
        all.extend(with_waits::<C::Framing>());
        if C::CONCURRENT.is_none() {
            all.extend(with_chunks::<C::Framing>());
        }
    }
    all
}

async fn each_conversation_has_its_bytes<K: Kind>() {
    for over in [
        Over::Tcp,
        #[cfg(unix)]
        Over::Unix,
        #[cfg(target_os = "linux")]
        Over::Tls,
        Over::Memory,
    ] {
        all_conversations::<OneByOne<K, LengthPrefixed>>(over).await;
        all_conversations::<OneByOne<K, Lines>>(over).await;
        all_conversations::<OneByOne<K, Multiplexed>>(over).await;
        all_conversations::<SideBySide<K, LengthPrefixed>>(over).await;
        all_conversations::<SideBySide<K, Lines>>(over).await;
        all_conversations::<SideBySide<K, Multiplexed>>(over).await;
        all_conversations::<AsTheyAreReady<K, Lines>>(over).await;
        all_conversations::<AsTheyAreReady<K, Multiplexed>>(over).await;
    }
}

async fn all_conversations<C: Case>(over: Over) {
    let shared = Shared::default();
    let server = shared.start::<C>(over).await;
    let mut replies = 0;
    for (name, requests, steps) in conversations::<C>() {
        println!("{name}");
        let mut peer = server.peer().await;
        for step in &steps {
            match step {
                Send(bytes) => within(peer.send(bytes)).await,
                Hear(bytes) => hear(&mut peer, bytes).await,
                Elsewhere(event) => assert_eq!(shared.say(event), 1),
                Kept(event) => assert_eq!(shared.tell_kept(event), 1),
                Finish => within(peer.finish()).await,
            }
        }
        if !matches!(steps.last(), Some(Finish)) {
            within(peer.try_finish()).await.ok();
        }
        assert_eq!(within(peer.rest()).await, b"");
        replies += requests;
    }
    let report = shared.stop(server).await;
    assert_eq!(report.requests.served, replies, "{report}");
    assert_eq!(report.events.dropped, 0, "{report}");
}

/// How a peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Close,
    /// It closes its sending half, and reads the rest.
    HalfClose,
    Reset,
}

impl Shared {
    /// Goes on with a conversation until this many bytes were sent and received. Does not look at them.
    async fn play(&self, peer: &mut RawPeer, steps: &[Step], mut left: usize) {
        for step in steps {
            match step {
                Send(bytes) => {
                    let part = &bytes[..bytes.len().min(left)];
                    within(peer.send(part)).await;
                    left -= part.len();
                }
                Hear(bytes) => {
                    let count = bytes.len().min(left);
                    assert_eq!(within(peer.receive(count)).await.len(), count);
                    left -= count;
                }
                // Members that have left may not have gone yet.
                Elsewhere(event) if left > 0 => _ = self.say(event),
                Kept(event) if left > 0 => _ = self.tell_kept(event),
                Finish if left > 0 => within(peer.finish()).await,
                Elsewhere(_) | Kept(_) | Finish => {}
            }
            if left == 0 {
                return;
            }
        }
    }
}

fn len_of(steps: &[Step]) -> usize {
    let lengths = steps.iter().map(|step| match step {
        Send(bytes) | Hear(bytes) => bytes.len(),
        Elsewhere(_) | Kept(_) | Finish => 0,
    });
    lengths.sum()
}

/// Peers leave one server after each byte of each conversation.
async fn leave_after_each_byte<C: Case>(over: Over, leave: Leave) {
    let shared = Shared::default();
    let server = shared.start::<C>(over).await;
    let mut peers = 0;
    for (name, _, steps) in conversations::<C>() {
        println!("{name}");
        for cut in 0..=len_of(&steps) {
            let mut peer = server.peer().await;
            peers += 1;
            shared.play(&mut peer, &steps, cut).await;
            match leave {
                Leave::Close => drop(peer),
                Leave::HalfClose => {
                    within(peer.try_finish()).await.ok();
                    within(peer.rest()).await;
                }
                Leave::Reset => peer.reset(),
            }
        }
    }
    // It serves others.
    let mut peer = server.peer().await;
    peer.send(C::Framing::message("other")).await;
    hear(&mut peer, &C::Framing::message("end")).await;
    drop(peer);
    let connections = shared.stop(server).await.connections;
    assert_eq!(
        (connections.accepted, connections.aborted),
        (peers + 1, 0),
        "each peer was served"
    );
}

#[tokio::test]
async fn peers_may_leave_after_each_byte() {
    for leave in [Leave::Close, Leave::HalfClose] {
        leave_after_each_byte::<OneByOne<SyncFn, LengthPrefixed>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<ReadyFn, LengthPrefixed>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<WaitingFn, LengthPrefixed>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<BlockingFn, LengthPrefixed>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<WaitingFn, Lines>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<SyncFn, Multiplexed>>(Over::Memory, leave).await;
        leave_after_each_byte::<OneByOne<WaitingFn, Multiplexed>>(Over::Memory, leave).await;
        leave_after_each_byte::<SideBySide<ReadyFn, LengthPrefixed>>(Over::Memory, leave).await;
        leave_after_each_byte::<SideBySide<WaitingFn, Lines>>(Over::Memory, leave).await;
        leave_after_each_byte::<AsTheyAreReady<ReadyFn, Multiplexed>>(Over::Memory, leave).await;
        leave_after_each_byte::<AsTheyAreReady<WaitingFn, Multiplexed>>(Over::Memory, leave).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn peers_may_leave_after_each_byte_over_tls() {
    for leave in [Leave::Close, Leave::HalfClose] {
        leave_after_each_byte::<OneByOne<WaitingFn, LengthPrefixed>>(Over::Tls, leave).await;
        leave_after_each_byte::<OneByOne<WaitingFn, Lines>>(Over::Tls, leave).await;
        leave_after_each_byte::<AsTheyAreReady<WaitingFn, Multiplexed>>(Over::Tls, leave).await;
    }
}

#[tokio::test]
async fn peers_may_reset_their_connections_after_each_byte() {
    leave_after_each_byte::<OneByOne<SyncFn, Lines>>(Over::Tcp, Leave::Reset).await;
    leave_after_each_byte::<OneByOne<ReadyFn, Lines>>(Over::Tcp, Leave::Reset).await;
    leave_after_each_byte::<OneByOne<WaitingFn, LengthPrefixed>>(Over::Tcp, Leave::Reset).await;
    leave_after_each_byte::<SideBySide<WaitingFn, Lines>>(Over::Tcp, Leave::Reset).await;
    leave_after_each_byte::<AsTheyAreReady<WaitingFn, Multiplexed>>(Over::Tcp, Leave::Reset).await;
}
