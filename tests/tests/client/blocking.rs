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
    client::{ChannelOptions, ConnectOptions},
    framing::Multiplexed,
    server_protocol,
};
use tcs_tests::{
    Heard, LIMIT,
    channel::Owned,
    client::{Ask, Prefixed, ask, told},
    frame,
    ids::{control_of, kind::DEADLINE, message_of},
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

/// Fails unless the result is the error of a method that was called in `async` code.
#[track_caller]
fn refuses<T>(method: &str, result: Result<T>) {
    let Err(error) = result else {
        panic!("{method} has blocked");
    };
    assert_eq!(told(&error), (ErrorKind::Runtime, Execution::NotSent));
    let text = format!(
        "`{method}()` of `tcs::blocking` would block `async` code: use `tcs::Connection` or `tcs::Channel`, or call it \
         in `spawn_blocking`"
    );
    assert_eq!(error.to_string(), text);
}

/// Fails unless each method says that it would block.
fn each_method_refuses(addr: SocketAddr, mut connection: Connection, channel: &Channel) {
    let connected: Result<Connection> = Connection::connect(addr);
    refuses("connect", connected);
    let connected: Result<Channel> = Channel::connect(addr);
    refuses("connect", connected);
    refuses("call", connection.call::<Prefixed>("a"));
    refuses("exchange", connection.exchange::<Ask<_>>(ask("a")));
    refuses("upload", connection.upload::<Prefixed>("a"));
    refuses("receive", connection.receive::<&str, tcs::format::Plain>());
    refuses("close", connection.close());
    refuses("call", channel.call::<Owned>("a"));
    refuses("call_with", channel.call_with::<Prefixed, _>("a", str::len));
    refuses("exchange", channel.exchange::<Ask<_>>(ask("a")));
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
        refuses("call", results.recv().expect("it was dropped"));
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
