//! Clients without `async`: on each thread that may block, they work; elsewhere, they return an error.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tcs::{
    ConcurrentServer, Error, ErrorKind, Execution, Result,
    blocking::{Channel, Connection},
    client::{ChannelEvent, ChannelOptions, ConnectOptions},
    framing::{LengthPrefixed, Multiplexed},
    server_protocol,
};
use tcs_tests::{
    Heard, LIMIT,
    channel::Owned,
    client::{Ask, Prefixed, ask, events, items, told},
    frame,
    ids::{
        announced_of, control_of,
        kind::{CANCEL, DEADLINE, ITEMS},
        message_of,
    },
    patiently, start,
    threads::joined,
    within,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::{block_in_place, spawn_blocking},
};

use crate::multiplexed_channel::Owned as Texts;

/// No reply takes longer.
struct Echo {
    addr: SocketAddr,
    has_ended: Arc<AtomicBool>,
}

fn echo() -> Echo {
    let (listener, addr) = silent();
    let has_ended = Arc::new(AtomicBool::new(false));
    let server = Echo {
        addr,
        has_ended: Arc::clone(&has_ended),
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            if has_ended.load(Ordering::Relaxed) {
                return;
            }
            let mut stream = stream.expect("a peer");
            thread::spawn(move || {
                let mut bytes = [0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..count]).expect("it is open");
                }
            });
        }
    });
    server
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        // It waits for a peer.
        drop(TcpStream::connect(self.addr));
    }
}

/// Accepts connections, and says nothing.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    (listener, addr)
}

fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

/// Fails unless each method works.
fn each_method_works(addr: SocketAddr) {
    let mut connection: Connection = Connection::connect(addr).expect("it listens");
    assert_eq!(connection.peer().addr(), Some(addr));
    // The reply borrows from the connection.
    let reply: &str = connection
        .deadline(LIMIT)
        .call::<Prefixed>("a")
        .expect("a reply");
    assert_eq!(reply, "a");
    let output = connection.exchange(ask("b")).expect("a reply");
    assert_eq!(output, "b");
    connection.close().expect("the thread may block");

    let channel: Channel = Channel::connect(addr).expect("it listens");
    assert_eq!(channel.state().connected, 1);
    let channel = channel.deadline(LIMIT).idempotent().hedge(LIMIT);
    assert_eq!(channel.call::<Owned>("c").expect("a reply"), "c");
    let length = channel.call_with::<Prefixed, _>("four", str::len);
    assert_eq!(length.expect("a reply"), 4);
    assert_eq!(channel.exchange(ask("d")).expect("a reply"), "d");
}

#[test]
fn calls_block_a_thread_without_a_runtime() {
    each_method_works(echo().addr);
}

#[test]
fn calls_work_where_a_runtime_allows_to_block() {
    let server = echo();
    let addr = server.addr;
    let runtime = multi_thread();
    runtime.block_on(async {
        let called = spawn_blocking(move || each_method_works(addr));
        within(called).await.expect("no panic");
        block_in_place(|| each_method_works(addr));
        let called = tokio::spawn(async move { block_in_place(|| each_method_works(addr)) });
        within(called).await.expect("no panic");
    });
    let runtime = current_thread();
    runtime.block_on(async {
        let called = spawn_blocking(move || each_method_works(addr));
        within(called).await.expect("no panic");
    });
    let _entered = runtime.enter();
    each_method_works(addr);
}

#[test]
fn greeting_is_received() {
    let (listener, addr) = silent();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(&frame("welcome")).expect("it is open");
    });
    let mut connection: Connection = Connection::connect(addr).expect("it listens");
    let greeting: &str = connection
        .receive::<_, tcs::format::Plain>()
        .expect("a greeting");
    assert_eq!(greeting, "welcome");
    joined(server);
}

/// Serves this many connections. On each, it receives the first of two, and sends the second, one after the other.
fn serves<const N: usize>(
    connections: [Vec<(Vec<u8>, Vec<u8>)>; N],
) -> (thread::JoinHandle<()>, SocketAddr) {
    let (listener, addr) = silent();
    let server = thread::spawn(move || {
        for steps in connections {
            let (mut stream, _) = listener.accept().expect("a client");
            for (expected, sent) in steps {
                let mut received = vec![0; expected.len()];
                stream.read_exact(&mut received).expect("a request");
                assert_eq!(received, expected);
                stream.write_all(&sent).expect("it is open");
            }
        }
    });
    (server, addr)
}

#[test]
fn items_and_events_of_a_connection_are_received() {
    let cancel = [0x80, 0, 0, 1, CANCEL];
    let (server, addr) = serves([vec![
        (frame("1"), [items(&["a", "b"]), items(&["c"])].concat()),
        (vec![], [events(&["event"]), frame("end")].concat()),
        (frame("2"), [items(&["a", "b"]), frame("end")].concat()),
        (frame("3"), items(&["a"])),
        (
            [&cancel[..], &frame("4")].concat(),
            [items(&["b"]), frame("end"), frame("four")].concat(),
        ),
    ]]);
    let mut connection: Connection = Connection::connect(addr).expect("it listens");
    let mut stream = connection.stream::<Prefixed>("1").expect("it is open");
    assert_eq!(stream.next().expect("an item"), Some("a"));
    let rest: Result<Vec<String>> = stream.owned::<String>().collect();
    assert_eq!(rest.expect("items"), ["b", "c"]);
    assert_eq!(stream.next().expect("the end"), None);
    assert_eq!(stream.finish().expect("a reply"), "end");
    let event = connection.deadline(LIMIT).next_event::<Prefixed>();
    assert_eq!(event.expect("it was kept"), "event");

    let mut stream = connection.stream::<Prefixed>("2").expect("it is open");
    assert_eq!(stream.skip_rest().expect("items"), 2);
    assert_eq!(stream.finish().expect("a reply"), "end");

    drop(connection.stream::<Prefixed>("3").expect("it is open"));
    assert_eq!(connection.call::<Prefixed>("4").expect("a reply"), "four");
    joined(server);
}

#[test]
fn items_of_a_channel_are_received() {
    let (server, addr) = serves([vec![
        (
            message_of(1, "1"),
            [
                announced_of(1, ITEMS, "a"),
                announced_of(1, ITEMS, "b"),
                message_of(1, "end"),
            ]
            .concat(),
        ),
        (message_of(1, "2"), announced_of(1, ITEMS, "a")),
        (control_of(1, CANCEL, ""), vec![]),
    ]]);
    let channel: Channel<Multiplexed> = Channel::connect(addr).expect("it listens");
    let mut stream = channel.stream::<Texts>("1").expect("room");
    assert_eq!(stream.next().expect("an item"), Some("a"));
    let rest: Result<Vec<String>> = stream.owned::<String>().collect();
    assert_eq!(rest.expect("items"), ["b"]);
    assert_eq!(stream.finish().expect("a reply"), "end");

    let mut dropped = channel.stream::<Texts>("2").expect("room");
    assert_eq!(dropped.next().expect("an item"), Some("a"));
    drop(dropped);
    joined(server);
}

#[test]
fn subscription_is_renewed_after_a_restart_of_the_server() {
    let answer = |event| [frame("welcome"), events(&[event])].concat();
    let (server, addr) = serves(["a", "b"].map(|event| vec![(frame("follow"), answer(event))]));
    let channel: Channel = Channel::connect(addr).expect("it listens");
    let mut all = channel.events::<Owned>();
    let subscribed = channel.subscribe::<Owned>("follow");
    let (reply, mut followed) = subscribed.expect("a reply");
    assert_eq!(reply, "welcome");
    let received = thread::spawn(move || {
        for events in [&mut followed, &mut all] {
            for expected in [
                ChannelEvent::Event("a"),
                ChannelEvent::Reconnected,
                ChannelEvent::Event("b"),
            ] {
                assert_eq!(events.next().expect("an event"), expected);
            }
        }
    });
    joined(received);
    joined(server);
}

/// Fails unless this is the error of a method that was called in `async` code.
#[track_caller]
fn assert_refused(method: &str, error: &Error) {
    assert_eq!(told(error), (ErrorKind::Runtime, Execution::NotSent));
    let text = format!(
        "`{method}()` of `tcs::blocking` would block `async` code: use `tcs::Connection` or `tcs::Channel`, or call it \
         in `spawn_blocking`"
    );
    assert_eq!(error.to_string(), text);
}

/// Runs this on a thread that may block.
fn elsewhere<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> T {
    let result = thread::scope(|scope| scope.spawn(run).join());
    result.expect("no panic").expect("it may block")
}

/// Fails unless each method that waits says that it would block.
fn each_method_refuses(addr: SocketAddr, mut connection: Connection, channel: &Channel) {
    let connect = || elsewhere(|| Connection::<LengthPrefixed>::connect(addr));
    let (mut first, mut second, mut third) = (connect(), connect(), connect());
    let mut upload = elsewhere(|| first.upload::<Prefixed>("a"));
    let mut items = elsewhere(|| second.stream::<Prefixed>("a"));
    let uploaded = elsewhere(|| third.upload::<Prefixed>("a"));
    let multiplexed = elsewhere(|| Channel::<Multiplexed>::connect(addr));
    let mut shared = elsewhere(|| multiplexed.stream::<Texts>("a"));
    let (_, mut events) = elsewhere(|| channel.subscribe::<Owned>("a"));

    let connected = ConnectOptions::new().connect_blocking::<LengthPrefixed>(addr);
    let opened = ChannelOptions::<LengthPrefixed>::new(addr).connect_blocking();
    let item = items.owned::<String>().next();
    let shared_item = shared.owned::<String>().next();
    let refused = [
        ("connect", Connection::<LengthPrefixed>::connect(addr).err()),
        ("connect", Channel::<LengthPrefixed>::connect(addr).err()),
        ("connect_blocking", connected.err()),
        ("connect_blocking", opened.err()),
        ("call", connection.call::<Prefixed>("a").err()),
        (
            "call_for",
            connection.call_for::<Prefixed, _>("a", Some).err(),
        ),
        ("exchange", connection.exchange::<Ask<_>>(ask("a")).err()),
        ("upload", connection.upload::<Prefixed>("a").err()),
        ("stream", connection.stream::<Prefixed>("a").err()),
        ("next_event", connection.next_event::<Prefixed>().err()),
        (
            "receive",
            connection.receive::<&str, tcs::format::Plain>().err(),
        ),
        ("close", connection.close().err()),
        ("send", upload.send("a").err()),
        ("finish", uploaded.finish().err()),
        ("next", items.next().err()),
        ("owned", item.and_then(Result::err)),
        ("skip_rest", items.skip_rest().err()),
        ("finish", items.finish().err()),
        ("call", channel.call::<Owned>("a").err()),
        (
            "call_with",
            channel.call_with::<Prefixed, _>("a", str::len).err(),
        ),
        ("call_for", channel.call_for::<Owned, _>("a", Some).err()),
        ("exchange", channel.exchange::<Ask<_>>(ask("a")).err()),
        ("subscribe", channel.subscribe::<Owned>("a").err()),
        ("stream", multiplexed.stream::<Texts>("a").err()),
        ("next", shared.next().err()),
        ("owned", shared_item.and_then(Result::err)),
        ("finish", shared.finish().err()),
        ("next", events.next().err()),
    ];
    for (method, error) in &refused {
        let told = match *method {
            "connect_blocking" => "connect",
            "call_for" => "call",
            "owned" => "next",
            method => method,
        };
        let error = error.as_ref();
        assert_refused(
            told,
            error.unwrap_or_else(|| panic!("{method} has blocked")),
        );
    }

    // No method is forgotten.
    let do_not_wait = [
        "deadline",
        "deadline",
        "idempotent",
        "hedge",
        "events",
        "state",
    ];
    let tested = refused.iter().map(|(method, _)| *method);
    let mut tested: Vec<&str> = tested.chain(do_not_wait).collect();
    let declared = include_str!("../../../tcs/src/blocking.rs").lines();
    let declared = declared.filter_map(|line| line.trim_start().strip_prefix("pub fn "));
    let names = declared.filter_map(|rest| rest.split(['<', '(']).next());
    let mut declared: Vec<&str> = names.collect();
    tested.sort_unstable();
    declared.sort_unstable();
    assert_eq!(tested, declared);
}

#[test]
fn each_method_returns_an_error_in_async_code() {
    let server = echo();
    let addr = server.addr;
    let channel: Channel = Channel::connect(addr).expect("it listens");
    let connect = || Connection::connect(addr).expect("it listens");
    for runtime in [current_thread(), multi_thread()] {
        let connection = connect();
        runtime.block_on(async { each_method_refuses(addr, connection, &channel) });
        let (connection, shared) = (connect(), channel.clone());
        let task = runtime.spawn(async move { each_method_refuses(addr, connection, &shared) });
        runtime.block_on(within(task)).expect("no panic");
    }
    // The channel still works.
    assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a");
}

/// Calls when it is dropped.
struct CallsOnDrop(Channel, mpsc::Sender<Result<String>>);

impl Drop for CallsOnDrop {
    fn drop(&mut self) {
        let Self(channel, results) = self;
        results
            .send(channel.call::<Owned>("bye"))
            .expect("the test waits");
    }
}

#[test]
fn drop_in_async_code_does_not_panic() {
    let server = echo();
    let addr = server.addr;
    let (sender, results) = mpsc::channel();
    for runtime in [current_thread(), multi_thread()] {
        let mut connection: Connection = Connection::connect(addr).expect("it listens");
        assert_eq!(connection.call::<Prefixed>("a").expect("a reply"), "a");
        let channel: Channel = Channel::connect(addr).expect("it listens");
        let calls = CallsOnDrop(channel.clone(), sender.clone());
        let task = runtime.spawn(async move { drop((connection, channel, calls)) });
        runtime.block_on(within(task)).expect("no panic");
        let called = results.recv().expect("it was dropped");
        assert_refused("call", &called.expect_err("it would block"));
    }
    // Of a thread: with its runtime, or after it.
    for first_channel in [false, true] {
        thread_local! {
            static KEPT: std::cell::RefCell<Option<CallsOnDrop>> = const { std::cell::RefCell::new(None) };
        }
        let sender = sender.clone();
        let thread = thread::spawn(move || {
            if first_channel {
                KEPT.set(None);
            }
            let channel: Channel = Channel::connect(addr).expect("it listens");
            assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a");
            KEPT.set(Some(CallsOnDrop(channel, sender)));
        });
        joined(thread);
        match results.recv().expect("it was dropped") {
            Ok(reply) => assert_eq!(reply, "bye"),
            Err(error) => assert_eq!(
                error.to_string(),
                "`call()` was called outside of a tokio runtime, while its thread ended"
            ),
        }
    }
}

#[test]
fn threads_share_a_channel() {
    let server = echo();
    let channel: Channel = Channel::connect(server.addr).expect("it listens");
    thread::scope(|scope| {
        for thread in 0..8 {
            let channel = &channel;
            scope.spawn(move || {
                for number in 0..100 {
                    let request = format!("{thread}: {number}");
                    let reply = channel.call::<Owned>(&request).expect("a reply");
                    assert_eq!(reply, request);
                }
            });
        }
    });
    assert_eq!(channel.state().connects, 1);
}

#[test]
fn channel_that_connects_lazily_connects_in_the_first_call() {
    let server = echo();
    let addr = server.addr;
    let lazy = ChannelOptions::new(addr).connect_lazily();
    let channel = Channel::from(lazy.expect("good options"));
    assert_eq!(channel.state().connects, 0);
    // Several threads begin at the same time.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a"));
        }
    });
    assert_eq!(channel.state().connects, 1);
}

#[test]
fn channel_of_a_runtime_that_has_ended_connects_again() {
    let server = echo();
    let addr = server.addr;
    let runtime = multi_thread();
    let connected = runtime.block_on(within(tcs::Channel::connect(addr)));
    let channel = Channel::from(connected.expect("it listens"));
    assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a");
    assert_eq!(channel.state().connects, 1);
    drop(runtime);
    assert_eq!(channel.call::<Owned>("b").expect("a reply"), "b");
    assert_eq!(channel.state().connects, 2);
}

#[test]
fn channel_reconnects_after_a_restart_of_the_server() {
    let (listener, addr) = silent();
    let answer_one = |listener: &TcpListener| {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 5];
        stream.read_exact(&mut request).expect("a request");
        stream.write_all(&request).expect("it is open");
        stream
    };
    let server = thread::spawn(move || {
        let first = answer_one(&listener);
        // It stops and starts again, while the client knows nothing of it.
        drop(first);
        drop(answer_one(&listener));
    });
    let channel: Channel = Channel::connect(addr).expect("it listens");
    assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a");
    let began = Instant::now();
    while channel.state().connected > 0 {
        assert!(began.elapsed() < LIMIT, "it is open still");
        thread::yield_now();
    }
    assert_eq!(channel.call::<Owned>("b").expect("a reply"), "b");
    assert_eq!(channel.state().connects, 2);
    joined(server);
}

#[test]
fn late_calls_return_at_their_deadline() {
    // Time enough for the thread of a channel to send a request.
    let short = Duration::from_millis(500);
    let (_listener, addr) = silent();
    let mut connection: Connection = Connection::connect(addr).expect("it listens");
    let late = connection.deadline(short).call::<Prefixed>("a");
    let late = late.expect_err("nobody replies");
    assert_eq!(told(&late), (ErrorKind::TimedOut, Execution::Unknown));
    let channel: Channel = Channel::connect(addr).expect("it listens");
    let late = channel.deadline(short).call::<Owned>("a");
    let late = late.expect_err("nobody replies");
    assert_eq!(told(&late), (ErrorKind::TimedOut, Execution::Unknown));
    // Without one, the reply timeout.
    let options = ConnectOptions::new().reply_timeout(short);
    let mut connection: Connection = options.connect_blocking(addr).expect("it listens");
    let late = connection
        .call::<Prefixed>("a")
        .expect_err("nobody replies");
    assert_eq!(late.kind(), ErrorKind::TimedOut);
}

/// Calls another server, over a channel or a connection.
#[server_protocol(blocking)]
fn relay(
    request: &str,
    #[state] backend: &(SocketAddr, Channel<Multiplexed>),
) -> Result<String, Error> {
    let (addr, channel) = backend;
    if request == "channel" {
        return channel.call::<Texts>(request);
    }
    let mut connection: Connection<Multiplexed> = Connection::connect(*addr)?;
    connection.call::<Texts>(request)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_of_a_blocking_function_tell_its_deadline() {
    let limit = Duration::from_hours(1);
    let (listener, addr) = silent();
    let lazy = ChannelOptions::<Multiplexed>::new(addr).connect_lazily();
    let channel = Channel::from(lazy.expect("good options"));
    let server = ConcurrentServer::new(Relay::new((addr, channel))).request_timeout(limit);
    let server = start(server).await;
    let requests = ["channel", "connection"];
    let backend = thread::spawn(move || {
        // They stay open.
        requests.map(|request| {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut notice = control_of(1, DEADLINE, [0; 4]);
            let mut message = message_of(1, request);
            stream.read_exact(&mut notice).expect("a notice");
            stream.read_exact(&mut message).expect("a request");
            stream.write_all(&message).expect("it is open");
            (stream, notice, message)
        })
    });
    let mut peer = server.peer().await;
    for request in requests {
        assert_eq!(patiently(peer.ask(request)).await, Heard::message(request));
    }
    for ((_, notice, message), request) in joined(backend).into_iter().zip(requests) {
        let (rest, milliseconds) = notice.split_last_chunk().expect("a number");
        assert_eq!(rest, control_of(1, DEADLINE, [0; 4]).split_at(9).0);
        assert_eq!(message, message_of(1, request));
        let left = Duration::from_millis(u32::from_be_bytes(*milliseconds).into());
        assert!(
            limit / 2 < left && left <= limit + Duration::from_millis(1),
            "{left:?}"
        );
    }
    drop(peer);
    server.stopped().await;
}

/// The variable with the address that the program of the next test calls.
const ADDR: &str = "TCS_TEST_BLOCKING_ADDR";

#[test]
fn program_ends_while_its_channel_is_open() {
    let name = "blocking::program_ends_while_its_channel_is_open";
    if let Ok(addr) = std::env::var(ADDR) {
        let addr: SocketAddr = addr.parse().expect("an address");
        let mut connection: Connection = Connection::connect(addr).expect("it listens");
        assert_eq!(connection.call::<Prefixed>("a").expect("a reply"), "a");
        let channel: Channel = Channel::connect(addr).expect("it listens");
        assert_eq!(channel.call::<Owned>("a").expect("a reply"), "a");
        // A call of another thread is in flight.
        let (listener, addr) = silent();
        thread::spawn(move || {
            let channel: Channel = Channel::connect(addr).expect("it listens");
            drop(channel.call::<Owned>("a"));
        });
        let (mut stream, _) = listener.accept().expect("the thread");
        stream.read_exact(&mut [0; 5]).expect("a request");
        Box::leak(Box::new((connection, channel)));
        return;
    }
    let server = echo();
    let mut program = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(ADDR, server.addr.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let began = Instant::now();
    let status = loop {
        if let Some(status) = program.try_wait().expect("a program") {
            break status;
        }
        assert!(began.elapsed() < LIMIT, "it does not end");
        thread::yield_now();
    };
    assert!(status.success(), "{status}");
}

/// Nothing tells it from a thread of `spawn_blocking`, so tokio has the last word.
#[test]
#[should_panic(expected = "Cannot start a runtime from within a runtime")]
fn call_in_unconstrained_code_panics_and_does_not_hang() {
    let server = echo();
    let channel: Channel = Channel::connect(server.addr).expect("it listens");
    let call = async { channel.call::<Owned>("a") };
    let called = current_thread().block_on(tokio::task::unconstrained(call));
    drop(called);
}
