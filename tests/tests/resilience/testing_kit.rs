//! What the kit for tests says of tests that fail, and how its streams behave.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, Connection, Execution, OnceServer, Peer, Response,
    framing::{CrlfText, Lines, Multiplexed},
    protocol::ServerProtocol,
    server::AtCapacity,
    server_protocol,
    testing::{
        At, Cut, FaultyStream, LeakCheck, Pipe, Player, Script, Seed, WireTest,
        cut_client_everywhere, cut_everywhere, pipe, serve,
    },
};
use tcs_tests::{frame, panic_text};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Returns the text of the panic of a test.
async fn failure(test: impl Future<Output: Send> + Send + 'static) -> String {
    let Err(error) = tokio::spawn(test).await else {
        panic!("it has not failed");
    };
    panic_text(error.into_panic())
}

/// Plays with a peer that sends these bytes, and closes.
async fn played_with(bytes: &'static str, script: Script) -> String {
    let (mut near, far) = pipe(64);
    near.write_all(bytes.as_bytes()).await.expect("it is open");
    drop(near);
    failure(script.play(far)).await
}

#[tokio::test(start_paused = true)]
async fn step_that_fails_says_where_and_what() {
    let line = line!() + 1;
    let script = Script::new().receive("He").receive("llo\n");
    let said = played_with("Help\n", script.clone()).await;
    let place = format!("step 2 of the script, at {}:{line}:", file!());
    assert!(said.starts_with(&place), "{said}");
    let told = "something else has come\nexpected: `llo\\n`\nreceived: `lp\\n`\n\
                the first 1 of 4 bytes are as expected";
    assert!(said.ends_with(told), "{said}");

    let said = played_with("Hell", script).await;
    assert!(
        said.contains("the connection has ended\nexpected: `llo\\n`\nreceived: `ll`"),
        "{said}"
    );

    let said = played_with("x", Script::new().receive_eof()).await;
    assert!(said.contains("expected: the end\nreceived: `x`"), "{said}");

    let said = played_with("x", Script::new().receive_any(2)).await;
    assert!(said.contains("expected: 2 bytes\nreceived: `x`"), "{said}");

    let said = played_with("", Script::new().send("\0")).await;
    assert!(said.contains("broken pipe\nto send: `\\x00`"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn step_after_the_end_fails() {
    for script in [Script::new().close(), Script::new().reset()] {
        let said = played_with("", script.receive("never")).await;
        let place = format!("step 2 of the script, at {}:", file!());
        assert!(said.starts_with(&place), "{said}");
        assert!(said.contains(": no step can follow the end"), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn step_that_takes_too_long_fails() {
    let (near, _far) = pipe(64);
    let script = Script::new()
        .within(Duration::from_hours(2))
        .pause(Duration::from_hours(1));
    let said = failure(script.receive("Ann").play(near)).await;
    assert!(
        said.contains("step 2") && said.contains("it took 7200s"),
        "{said}"
    );
}

#[tokio::test]
async fn script_over_tcp_resets_and_its_failure_is_that_of_finish() {
    let (addr, player) = Script::new().receive("a").send("b").reset().listen().await;
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(b"a").await.expect("it is open");
    player.finish().await;
    let error = stream
        .read_to_end(&mut Vec::new())
        .await
        .expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (mut stream, player): (Pipe, Player) = Script::new().receive("a").connect();
    stream.write_all(b"x").await.expect("it is open");
    let said = failure(player.finish()).await;
    assert!(said.contains("received: `x`"), "{said}");
}

/// Writes and reads over a stream that is cut, and returns the bytes that it has read, and those at the other end.
async fn cut(at: At, cut: Cut) -> [Result<String, ErrorKind>; 2] {
    let (near, mut far) = pipe(64);
    far.write_all(b"abc").await.expect("it is open");
    let mut near = FaultyStream::new(near).cut(at, cut);
    near.write_all(b"12").await.ok();
    near.flush().await.ok();
    let limit = Duration::from_secs(1);
    let mut ends = [Ok(String::new()), Ok(String::new())];
    // Each byte by itself, so that those before a reset or a stall are seen.
    while let Ok(read) = timeout(limit, near.read_u8()).await {
        match read {
            Ok(byte) => ends[0].as_mut().expect("no error").push(byte.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => {
                ends[0] = Err(error.kind());
                break;
            }
        }
    }
    near.write_all(b"3").await.ok();
    while let Ok(read) = timeout(limit, far.read_u8()).await {
        match read {
            Ok(byte) => ends[1].as_mut().expect("no error").push(byte.into()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                ends[1].as_mut().expect("no error").push('.');
                break;
            }
            Err(error) => {
                ends[1] = Err(error.kind());
                break;
            }
        }
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn connection_is_cut_after_so_many_bytes() {
    let text = |text: &str| Ok(text.to_owned());
    let is_reset = || Err(ErrorKind::ConnectionReset);
    for (at, how, near, far) in [
        (At::Read(2), Cut::Close, text("ab"), text("12.")),
        (At::Read(2), Cut::HalfClose, text("ab"), text("123")),
        (At::Read(2), Cut::Reset, is_reset(), is_reset()),
        (At::Written(1), Cut::Close, text(""), text("1.")),
        (At::Written(1), Cut::HalfClose, text("abc"), text("1.")),
        (At::Written(1), Cut::Reset, is_reset(), is_reset()),
        (At::Written(9), Cut::Reset, text("abc"), text("123")),
    ] {
        assert_eq!(cut(at, how).await, [near, far], "{at:?} {how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_connection_takes_and_returns_nothing() {
    let (near, mut far) = pipe(64);
    far.write_all(b"abc").await.expect("it is open");
    let mut near = FaultyStream::new(near).cut(At::Read(1), Cut::Stall);
    assert_eq!(near.read_u8().await.expect("before"), b'a');
    let limit = Duration::from_hours(1);
    assert!(timeout(limit, near.read_u8()).await.is_err());
    assert!(timeout(limit, near.write_u8(1)).await.is_err());
    assert!(timeout(limit, far.read_u8()).await.is_err(), "it is open");
}

#[tokio::test]
async fn cut_by_one_task_wakes_another() {
    let (near, _far) = pipe(64);
    let near = FaultyStream::new(near).cut(At::Written(1), Cut::Reset);
    let (mut reading, mut writing) = tokio::io::split(near);
    let read = tokio::spawn(async move { reading.read_u8().await });
    tokio::task::yield_now().await;
    writing.write_all(b"1").await.expect("before");
    let error = read.await.expect("no panic").expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn pieces_of_a_seed_are_the_same_each_time() {
    let mut sizes = [Vec::new(), Vec::new()];
    for sizes in &mut sizes {
        let mut seed = Seed::from_u64(7);
        let (near, mut far) = pipe(1 << 16);
        far.write_all(&[b'x'; 10_000]).await.expect("there is room");
        drop(far);
        let mut near = seed.chunked(near);
        loop {
            let mut buffer = [0; 5_000];
            let count = near.read(&mut buffer).await.expect("no cut");
            if count == 0 {
                break;
            }
            sizes.push(count);
        }
        sizes.push(seed.below(1_000_000));
    }
    let [once, again] = sizes;
    assert!(once.len() > 3);
    assert_eq!(once, again);
}

#[tokio::test]
async fn pieces_of_a_seed_have_any_size() {
    let (near, mut far) = pipe(1 << 16);
    far.write_all(&vec![b'x'; 1 << 16])
        .await
        .expect("there is room");
    let mut near = Seed::from_u64(7).chunked(near);
    let mut odd = 0;
    for _ in 0..10 {
        let count = near.read(&mut [0; 5_000]).await.expect("no cut");
        odd += usize::from(count < 5_000 && !count.is_power_of_two());
    }
    assert!(odd > 2, "{odd}");
}

/// Runs itself once more with a seed, and looks at what that says.
#[test]
fn seed_of_a_failure_is_printed_and_replayed() {
    // Not `TCS_SEED`, with which you may replay another test of this crate.
    if std::env::var_os("TCS_SEED_REPLAYED").is_some() {
        let seeds: Vec<_> = Seed::many(20).collect();
        assert_eq!(seeds.len(), 1);
        panic!("as the first time");
    }
    let name = "testing_kit::seed_of_a_failure_is_printed_and_replayed";
    let program = std::env::current_exe().expect("it runs");
    let output = std::process::Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env("TCS_SEED", "123456")
        .env("TCS_SEED_REPLAYED", "")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("as the first time"), "{said}");
    assert!(
        said.contains("TCS_SEED=123456 repeats this failure"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_over_is_named() {
    let leaks = LeakCheck::new().count("sessions", {
        let mut count = 0;
        let count = std::sync::Mutex::new(std::iter::from_fn(move || {
            count += 1;
            Some(usize::min(count, 3))
        }));
        move || count.lock().expect("no panic").next().expect("no end")
    });
    let task = tokio::spawn(std::future::pending::<()>());
    let said = failure(leaks.assert_none()).await;
    // The test itself is one of the tasks.
    assert_eq!(
        said,
        "left over: 2 tasks (2 instead of 0), 2 sessions (3 instead of 1)"
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn task_that_ends_later_is_not_left_over() {
    let leaks = LeakCheck::new();
    let task = tokio::spawn(tokio::time::sleep(Duration::from_secs(5)));
    leaks.assert_none().await;
    assert!(task.is_finished());
}

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[server_protocol(framing = Lines)]
async fn count(step: u32, #[session] sum: &mut u32) -> u32 {
    tokio::time::sleep(Duration::from_secs(1)).await;
    *sum += step;
    *sum
}

#[server_protocol(framing = Multiplexed)]
async fn wait(seconds: u64) -> u64 {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    seconds
}

#[tokio::test(start_paused = true)]
async fn server_has_one_session_for_its_calls_and_one_for_each_connection() {
    let mut server = serve(Count).await;
    assert_eq!(server.call(2).await.expect("a reply"), 2);
    assert_eq!(server.call(3).await.expect("a reply"), 5);
    let mut another = server.connect();
    assert_eq!(another.call::<Count>(1).await.expect("a reply"), 1);
    let channel = server.channel();
    assert_eq!(channel.call::<Count>(1).await.expect("a reply"), 1);
    drop((another, channel));
    let report = server.finish().await;
    assert_eq!(
        (report.requests.served, report.connections.accepted),
        (4, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn any_server_is_served() {
    let mut server = serve(OnceServer::new(Greet)).await;
    assert_eq!(server.call("Ann").await.expect("a reply"), "Hello, Ann!");
    server.closed().await;
    assert_eq!(server.finish().await.requests.served, 1);

    let server = serve(ConcurrentServer::new(Greet).max_connections(2)).await;
    let mut connections: [Connection; 3] = std::array::from_fn(|_| server.connect());
    for connection in &mut connections[..2] {
        connection.call::<Greet>("Ann").await.expect("a reply");
    }
    // The third waits until there is room.
    let third = connections[2].call::<Greet>("Ann");
    assert!(timeout(Duration::from_secs(20), third).await.is_err());
    server.finish().await;

    let invalid = failure(serve(ConcurrentServer::new(Greet).max_connections(0))).await;
    assert!(invalid.contains("max_connections"), "{invalid}");
}

#[test]
fn calls_agree_with_the_server_wherever_the_connection_is_cut() {
    cut_everywhere(Greet, || ["Ann", "Bob", ""]);
    cut_everywhere(Count, || [1, 22, 333]);
    cut_everywhere(Wait, || [0, 2, 1]);
    cut_client_everywhere(Greet, async |server| {
        server.channel().call::<Greet>("Ann").await
    });
    cut_client_everywhere(Wait, async |server| server.channel().call::<Wait>(1).await);
}

#[server_protocol(framing = CrlfText, greeting = "220 ready")]
fn smtp(line: &str) -> Response<&'static str> {
    match line {
        "NOOP" => Response::Reply("250 ok"),
        "QUIT" => Response::ReplyAndClose("221 bye"),
        _ => Response::Reply("500 unknown"),
    }
}

fn serve_stream<P: ServerProtocol>(protocol: P, stream: Pipe) -> impl Future + Send + 'static {
    ConcurrentServer::new(protocol).serve_stream(stream, Peer::unnamed())
}

#[test]
fn servers_of_the_library_pass() {
    WireTest::new()
        .exchange(frame("Ann"), frame("Hello, Ann!"))
        .exchange(frame(""), frame("Hello, !"))
        .exchange(frame("Zoë"), frame("Hello, Zoë!"))
        .check(|stream| serve_stream(Greet, stream));
    WireTest::new()
        .exchange("1\n", "1\n")
        .exchange("22\r\n", "23\n")
        .exchange("333\n", "356\n")
        .check(|stream| serve_stream(Count, stream));
    WireTest::new()
        .greeting("220 ready\r\n")
        .exchange("NOOP\r\n", "250 ok\r\n")
        .exchange("JUMP\r\n", "500 unknown\r\n")
        .exchange("QUIT\r\n", "221 bye\r\n")
        .check(|stream| serve_stream(Smtp, stream));
}

#[test]
fn server_without_limits_is_found() {
    let server = || ConcurrentServer::new(Greet).idle_timeout(None);
    let list = WireTest::new().exchange(frame("Ann"), frame("Hello, Ann!"));
    list.without_limits()
        .check(|stream| server().serve_stream(stream, Peer::unnamed()));
    let list = WireTest::new().exchange(frame("Ann"), frame("Hello, Ann!"));
    let said = failure_of(|| list.check(|stream| server().serve_stream(stream, Peer::unnamed())));
    let expected = "Stall after 0 bytes of the requests: the server has not closed";
    assert!(said.contains(expected), "{said}");
}

#[test]
#[should_panic(expected = "the server has executed 2 requests, and the calls say 1 to 1")]
fn request_that_is_executed_twice_is_found() {
    cut_client_everywhere(Greet, async |server| {
        let channel = server.channel().idempotent();
        channel.call::<Greet>("Ann").await
    });
}

#[test]
fn calls_must_succeed_without_a_cut() {
    #[server_protocol]
    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| "no number".to_owned())
    }

    let said = failure_of(|| {
        cut_client_everywhere(Greet, async |_| Err::<(), _>(Execution::NotSent));
    });
    assert!(said.starts_with("without a cut: NotSent"), "{said}");
    // The server has executed the request, but an error is not a value to compare with.
    let said = failure_of(|| cut_everywhere(Number, || ["x", "1", "2"]));
    assert!(said.starts_with("without a cut: Executed"), "{said}");
}

/// Reads to the end at the other end of a pipe.
async fn is_reset(mut far: Pipe) -> bool {
    let read = timeout(Duration::from_secs(1), far.read_to_end(&mut Vec::new())).await;
    matches!(read, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test(start_paused = true)]
async fn stream_with_faults_is_reset_as_well() {
    let (near, far) = pipe(64);
    let script = Script::new().send("x").reset();
    script.play(FaultyStream::new(near).bytewise()).await;
    assert!(is_reset(far).await);

    let (near, far) = pipe(64);
    let inner = FaultyStream::new(Seed::from_u64(1).chunked(near));
    let mut outer = FaultyStream::new(inner).cut(At::Written(1), Cut::Reset);
    outer.write_all(b"x").await.expect("before");
    assert!(is_reset(far).await);
}

#[tokio::test(start_paused = true)]
async fn stream_that_cannot_be_reset_fails() {
    let (near, _far) = tokio::io::duplex(64);
    let said = failure(async { drop(Script::new().reset().play(near).await) }).await;
    assert!(said.contains("DuplexStream cannot be reset"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn connection_is_cut_when_the_last_byte_was_read() {
    let (near, mut far) = pipe(64);
    far.write_all(b"abc").await.expect("it is open");
    let mut near = FaultyStream::new(near).cut(At::Read(2), Cut::Reset);
    near.read_exact(&mut [0; 2]).await.expect("before");
    assert!(is_reset(far).await);
}

#[tokio::test(start_paused = true)]
async fn half_close_that_takes_several_polls_goes_on() {
    let (near, mut far) = pipe(1);
    // To shut it down is to write what it has kept, which takes three reads of the other end.
    let near = tokio::io::BufWriter::new(near);
    let mut near = FaultyStream::new(near).cut(At::Written(3), Cut::HalfClose);
    near.write_all(b"abc").await.expect("before");
    let reading = tokio::spawn(async move { near.read_u8().await });
    let mut text = String::new();
    let read = timeout(Duration::from_secs(1), far.read_to_string(&mut text)).await;
    assert!(read.is_ok(), "it has not ended");
    assert_eq!(text, "abc");
    drop(far);
    reading.await.expect("no panic").expect_err("the end");
}

/// Returns the text of the panic of a test that has no runtime.
fn failure_of(test: impl FnOnce()) -> String {
    let test = std::panic::AssertUnwindSafe(test);
    panic_text(std::panic::catch_unwind(test).expect_err("it fails"))
}

#[tokio::test(start_paused = true)]
async fn player_that_is_dropped_after_a_failure_fails() {
    let (mut near, player) = Script::new().receive("a").connect();
    near.write_all(b"x").await.expect("it is open");
    near.read_u8().await.expect_err("it has ended");
    tokio::task::yield_now().await;
    let said = failure_of(|| drop(player));
    assert!(said.contains("received: `x`"), "{said}");

    // One that goes on does not.
    let (_near, player) = Script::new().receive("a").connect();
    drop(player);
}

#[tokio::test(start_paused = true)]
async fn connection_that_was_rejected_is_closed() {
    let server = ConcurrentServer::new(Greet).max_connections(1);
    let server = serve(server.at_capacity(AtCapacity::Reject)).await;
    let (mut first, mut second) = (server.connect(), server.connect());
    first.call::<Greet>("Ann").await.expect("a reply");
    let error = second.call::<Greet>("Bob").await.expect_err("it is full");
    assert!(error.rejection().is_some(), "{error}");
    drop(first);
    // The client's end may be open still.
    server.closed().await;
    drop(second);
    assert_eq!(server.finish().await.connections.accepted, 1);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a connection is still open")]
async fn connection_that_stays_open_fails() {
    let server = serve(Wait).await;
    let _stream = server.stream();
    // Less than the server waits for a request.
    let limit = Duration::from_secs(90);
    timeout(limit, server.closed()).await.expect("a limit");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the server has not ended within")]
async fn server_that_does_not_end_fails() {
    #[server_protocol(framing = Lines)]
    async fn hang(_text: &str) -> u8 {
        std::future::pending().await
    }

    let server = ConcurrentServer::new(Hang)
        .drain_timeout(None)
        .request_timeout(None);
    let server = serve(server).await;
    let stream = server.stream();
    let _stream = Script::new().send("x\n").play(stream).await;
    let limit = Duration::from_secs(90);
    timeout(limit, server.finish()).await.expect("a limit");
}

#[tokio::test]
async fn test_with_a_runtime_of_its_own_says_what_to_use() {
    let said = failure_of(|| cut_everywhere(Greet, || ["Ann"]));
    assert!(said.contains("use `#[test]`"), "{said}");
}

#[test]
fn value_that_is_another_is_found() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    #[server_protocol]
    fn number(_text: &str) -> usize {
        CALLS.fetch_add(1, SeqCst)
    }

    let said = failure_of(|| cut_everywhere(Number, || ["a"]));
    assert!(said.contains("\"1\", where \"0\" is expected"), "{said}");
}

#[test]
fn list_without_an_exchange_fails() {
    let said = failure_of(|| WireTest::new().check(|stream| serve_stream(Greet, stream)));
    assert_eq!(said, "no exchange is listed");
}

/// Replies with each byte that it receives, until the end or a minute without one.
async fn echo(mut stream: Pipe) {
    let mut buffer = [0; 16];
    let limit = Duration::from_mins(1);
    while let Ok(Ok(count @ 1..)) = timeout(limit, stream.read(&mut buffer)).await {
        let written = timeout(limit, stream.write_all(&buffer[..count])).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

#[test]
fn server_that_replies_while_it_reads_passes() {
    let text = [b'x'; 20];
    WireTest::new().exchange(text, text).check(echo);
}

#[test]
fn all_requests_at_once_have_room() {
    const LEN: usize = 70_000;

    let served = Arc::new(AtomicUsize::new(0));
    let text = vec![b'x'; LEN];
    let list = WireTest::new()
        .exchange(&text, &text)
        .exchange(&text, &text);
    let said = failure_of(|| {
        list.check(move |mut stream| {
            let number = served.fetch_add(1, SeqCst);
            async move {
                // To be cut at each of its bytes takes too long.
                assert!(number < 4, "enough");
                let mut text = vec![0; LEN];
                while stream.read_exact(&mut text).await.is_ok() {
                    stream.write_all(&text).await.expect("it is open");
                }
            }
        });
    });
    assert!(said.starts_with("through a pipe of one byte"), "{said}");
}

#[test]
fn slow_server_passes() {
    let has_ticked = Arc::new(AtomicBool::new(false));
    WireTest::new().exchange("a", "a").check(move |stream| {
        let has_ticked = has_ticked.swap(true, SeqCst);
        async move {
            // Longer than a step of a script may take, and with more polls than a server that does not wait.
            let ticks = if has_ticked { 1 } else { 110_000 };
            for _ in 0..ticks {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(21)).await;
            echo(stream).await;
        }
    });
}

#[test]
fn panic_of_the_connection_beside_is_found() {
    let open = Arc::new(AtomicUsize::new(0));
    let has_shared = Arc::new(AtomicBool::new(false));
    let said = failure_of(|| {
        WireTest::new().exchange("abc", "abc").check(move |stream| {
            let (open, has_shared) = (Arc::clone(&open), Arc::clone(&has_shared));
            async move {
                if open.fetch_add(1, SeqCst) > 0 {
                    has_shared.store(true, SeqCst);
                }
                echo(stream).await;
                let is_last = open.fetch_sub(1, SeqCst) == 1;
                assert!(!(is_last && has_shared.load(SeqCst)), "the last one");
            }
        });
    });
    let expected =
        "beside a connection in the middle of a request: the server has panicked: the last one";
    assert_eq!(said, expected);
}
