//! Functions that take their connection over.

use std::time::Duration;

use tcs::{
    ConcurrentServer, ConnectionInfo, IterativeServer, OnceServer, Response,
    format::Json,
    framing::{Lines, Raw, UntilEof},
    protocol::{Draining, Push, Upgrade, Upgraded},
    server_protocol,
};
use tcs_tests::{
    Gate, Log, Over, gate, over_each, patiently, serve_in_memory, start, start_over, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex},
    spawn,
};

over_each!(
    unread_bytes_come_first_and_then_the_stream,
    peer_that_leaves_at_once_ends_the_function,
    what_is_written_last_arrives_before_the_end,
);

/// What the functions of these tests do with their connections.
#[server_protocol(framing = Lines)]
async fn door<'a>(
    line: &'a str,
    #[state] name: &'a str,
    #[state] gate: &'a Gate,
    #[session] count: &'a mut u32,
    draining: Draining<'a>,
) -> Result<Response<String, Upgrade<'a>>, String> {
    *count += 1;
    let reply = format!("ok {count}");
    Ok(match line {
        "echo" => Response::upgrade(reply, async move |mut io: Upgraded| {
            // Of the state, the request and the session.
            let greeting = format!("{name} {line} {count}\n");
            io.write_all(greeting.as_bytes()).await.expect("it reads");
            echo(io).await;
        }),
        "wait" => Response::upgrade(reply, async move |io: Upgraded| {
            gate.pass().await;
            drop(io);
        }),
        "bye" => Response::upgrade(reply, async move |mut io: Upgraded| {
            drop(io.write_all(b"bye").await);
        }),
        "drained" => Response::upgrade(reply, async move |mut io: Upgraded| {
            gate.pass().await;
            draining.await;
            drop(io.write_all(b"drained").await);
        }),
        "panic" => Response::upgrade(reply, async move |mut io: Upgraded| {
            let byte = io.read_u8().await.expect("it is sent");
            panic!("panic of {byte}");
        }),
        "moved" => Response::upgrade(reply, async move |io: Upgraded| {
            let gate = gate.clone();
            spawn(async move {
                gate.pass().await;
                drop(io);
            });
        }),
        "unsendable" => Response::upgrade("a\nb".to_owned(), async move |io: Upgraded| {
            gate.pass().await;
            drop(io);
        }),
        "close" => Response::ReplyAndClose(reply),
        "fail" => return Err("failed".to_owned()),
        _ => Response::Reply(reply),
    })
}

/// Sends everything back, through a second stream.
async fn echo(mut io: Upgraded) {
    let (mut near, far) = duplex(16);
    let (mut reading, mut writing) = tokio::io::split(far);
    let back = async move {
        drop(tokio::io::copy(&mut reading, &mut writing).await);
        drop(writing.shutdown().await);
    };
    // The second stream ends with an error of the first.
    let copying = async move { drop(copy_bidirectional(&mut io, &mut near).await) };
    tokio::join!(copying, back);
}

fn protocol() -> (Door, Gate) {
    let gate = gate();
    (Door::new("Ann".to_owned(), gate.clone()), gate)
}

async fn unread_bytes_come_first_and_then_the_stream(over: Over) {
    let server = ConcurrentServer::new(protocol().0);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send("one\necho\nbehind\n\0")).await;
    let said = b"ok 1\nok 2\nAnn echo 2\nbehind\n\0";
    assert_eq!(within(peer.receive(said.len())).await, said);
    // More than any buffer on the way has room for.
    let sent = vec![b'x'; 300_000];
    let back = within(peer.send_and_receive(&sent, sent.len())).await;
    assert_eq!(back, sent);
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.received), (2, 2));
}

async fn peer_that_leaves_at_once_ends_the_function(over: Over) {
    let server = ConcurrentServer::new(protocol().0);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send("one\necho\n")).await;
    assert_eq!(within(peer.receive(5)).await, b"ok 1\n");
    drop(peer);
    let requests = server.stopped().await.requests;
    // Whether the reply is taken is a matter of the transport.
    assert_eq!(requests.received, 2);
    assert_eq!(requests.in_flight, 0);
}

async fn what_is_written_last_arrives_before_the_end(over: Over) {
    let server = ConcurrentServer::new(protocol().0);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    // What is not read must not reset the connection.
    within(peer.send(["bye\n", &"x".repeat(50_000)].concat())).await;
    assert_eq!(within(peer.rest()).await, b"ok 1\nbye");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn bytes_behind_the_request_are_kept_wherever_they_are_cut() {
    let sent = b"echo\nab";
    for first in 1..sent.len() {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol().0), 64);
        within(peer.send(&sent[..first])).await;
        if first >= 5 {
            assert_eq!(within(peer.receive(16)).await, b"ok 1\nAnn echo 1\n");
        } else {
            tokio::task::yield_now().await;
        }
        within(peer.send(&sent[first..])).await;
        within(peer.finish()).await;
        let said = within(peer.rest()).await;
        assert!(said.ends_with(b"ab"), "{first}: {said:?}");
        assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
    }
}

#[tokio::test]
async fn end_that_was_read_with_the_request_is_the_end_of_the_stream() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol().0), 64);
    within(peer.send("echo\nab")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ok 1\nAnn echo 1\nab");
    let report = within(serving).await.expect("no panic");
    assert_eq!((report.requests.served, report.connections.closed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn no_limit_of_time_applies_to_the_function() {
    let (door, gate) = protocol();
    let second = Duration::from_secs(1);
    let server = ConcurrentServer::new(door)
        .idle_timeout(second)
        .request_timeout(second)
        .write_timeout(second)
        .half_close_timeout(second);
    let (mut peer, serving) = serve_in_memory(server, 64);
    patiently(peer.send("wait\n")).await;
    patiently(peer.finish()).await;
    patiently(gate.reached()).await;
    tokio::time::sleep(60 * second).await;
    assert!(!serving.is_finished());
    gate.open();
    assert_eq!(patiently(peer.rest()).await, b"ok 1\n");
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        1
    );
}

#[tokio::test]
async fn connection_stays_counted_and_limited() {
    for request in ["wait\n", "moved\n"] {
        let (door, gate) = protocol();
        let server = start(ConcurrentServer::new(door).max_connections(1)).await;
        let handle = server.handle();
        let mut first = server.peer().await;
        within(first.send(request)).await;
        within(gate.reached()).await;
        assert_eq!(within(first.receive(5)).await, b"ok 1\n");
        let mut second = server.peer().await;
        within(second.send("close\n")).await;
        let stats = handle.stats();
        assert_eq!((stats.connections.accepted, stats.connections.open), (1, 1));
        assert_eq!((stats.requests.served, stats.requests.in_flight), (1, 0));
        gate.open();
        assert_eq!(within(first.rest()).await, b"");
        drop(first);
        assert_eq!(within(second.rest()).await, b"ok 1\n");
        let report = server.stopped().await;
        assert_eq!((report.requests.served, report.connections.closed), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_the_function_and_then_drops_it() {
    for (request, end, is_closed) in [
        ("drained\n", &b"drained"[..], true),
        ("wait\n", b"", false),
        ("moved\n", b"", false),
    ] {
        let (door, gate) = protocol();
        let drain = Duration::from_mins(1);
        let server = ConcurrentServer::new(door).drain_timeout(drain);
        let server = start_over(Over::Memory, server).await;
        let mut peer = server.peer().await;
        patiently(peer.send(request)).await;
        patiently(gate.reached()).await;
        server.handle().stop();
        tokio::time::sleep(drain / 2).await;
        assert_eq!(server.handle().stats().connections.open, 1);
        if is_closed {
            gate.open();
        }
        // A stream that was moved elsewhere is not the server's to close.
        if request != "moved\n" {
            assert_eq!(patiently(peer.rest()).await, [b"ok 1\n", end].concat());
        }
        let aborted = u64::from(!is_closed);
        let report = patiently(server.finished_after_aborting(aborted)).await;
        assert_eq!(report.connections.closed, u64::from(is_closed));
        gate.open();
    }
}

#[tokio::test]
async fn abort_drops_the_function() {
    let (door, gate) = protocol();
    let server = start(ConcurrentServer::new(door)).await;
    let handle = server.handle();
    let mut peer = server.peer().await;
    within(peer.send("wait\n")).await;
    within(gate.reached()).await;
    handle.abort();
    assert_eq!(within(peer.rest()).await, b"ok 1\n");
    within(server.result()).await.expect_err("it is aborted");
    let stats = handle.stats();
    assert_eq!((stats.requests.served, stats.connections.aborted), (1, 1));
}

#[tokio::test]
async fn panic_of_the_function_ends_its_connection_only() {
    let (log, _guard) = Log::start();
    let (door, _gate) = protocol();
    let server = start(ConcurrentServer::new(door)).await;
    let mut other = server.peer().await;
    let mut peer = server.peer().await;
    within(peer.send("panic\n\x07")).await;
    assert_eq!(within(peer.rest()).await, b"ok 1\n");
    within(other.send("close\n")).await;
    assert_eq!(within(other.rest()).await, b"ok 1\n");
    let report = server.stopped().await;
    assert_eq!((report.requests.served, report.requests.failed), (2, 0));
    assert_eq!(log.with("panic of 7").len(), 1);
    assert_eq!(log.with("the function that took it over panicked").len(), 1);
}

#[tokio::test]
async fn end_is_logged_with_its_bytes() {
    let (log, _guard) = Log::start();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol().0), 64);
    within(peer.send("echo\nab")).await;
    assert_eq!(within(peer.receive(18)).await, b"ok 1\nAnn echo 1\nab");
    within(peer.send("cd")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"cd");
    let report = within(serving).await.expect("no panic");
    assert_eq!((report.bytes.received, report.bytes.sent), (9, 20));
    let ends = log.with("the function that took it over has ended");
    assert!(
        ends.len() == 1 && ends[0].contains("bytes_sent=20"),
        "{ends:?}"
    );
}

#[tokio::test]
async fn reply_that_cannot_be_sent_is_not_followed_by_the_function() {
    let (door, gate) = protocol();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(door), 64);
    within(peer.send("fail\nunsendable\n")).await;
    assert_eq!(within(peer.rest()).await, b"failed\n");
    let report = within(serving).await.expect("no panic");
    assert_eq!((report.requests.served, report.requests.failed), (1, 1));
    assert!(!gate.was_reached());
}

#[tokio::test]
async fn connection_of_one_exchange_can_be_taken_over() {
    let (mut peer, serving) = serve_in_memory(OnceServer::new(protocol().0), 64);
    within(peer.send("echo\nab")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ok 1\nAnn echo 1\nab");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
    let (mut peer, serving) = serve_in_memory(IterativeServer::new(protocol().0), 64);
    within(peer.send("bye\n")).await;
    assert_eq!(within(peer.rest()).await, b"ok 1\nbye");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Takes any first bytes, without a wait.
#[server_protocol(framing = Raw)]
fn byte_tunnel(_first: &[u8]) -> Response<&'static str, Upgrade<'static>> {
    Response::upgrade("hello ", echo)
}

#[server_protocol(framing = UntilEof)]
fn whole(all: &str) -> Response<&str, Upgrade<'_>> {
    Response::upgrade("got ", async move |mut io: Upgraded| {
        let mut rest = Vec::new();
        let read = io.read_to_end(&mut rest).await.expect("it has ended");
        let last = format!("{all} {read}");
        io.write_all(last.as_bytes()).await.expect("it reads");
    })
}

#[server_protocol(framing = Lines, format = Json)]
async fn json_tunnel(_number: u32) -> Response<u32, Upgrade<'static>> {
    Response::upgrade(7, echo)
}

#[tokio::test]
async fn every_framing_and_format_can_be_left() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(ByteTunnel), 64);
    within(peer.send("anything")).await;
    assert_eq!(within(peer.receive(6)).await, b"hello ");
    within(peer.send("more")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"more");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);

    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Whole), 64);
    within(peer.send("all")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"got all 0");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);

    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(JsonTunnel), 64);
    within(peer.send("1\n2\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"7\n2\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

#[server_protocol(framing = Lines, push = &str)]
fn pushing<'a>(
    _line: &'a str,
    #[state] pushes: &'a tokio::sync::mpsc::UnboundedSender<Push<Pushing>>,
    push: Push<Pushing>,
) -> Response<&'static str, Upgrade<'a>> {
    push.try_send("an event").expect("there is room");
    Response::upgrade("ok", async move |mut io: Upgraded| {
        drop(pushes.send(push));
        drop(io.read_u8().await);
    })
}

#[tokio::test]
async fn events_end_with_the_protocol() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Pushing::new(sender)), 64);
    within(peer.send("go\n")).await;
    let push = within(receiver.recv()).await.expect("it is sent");
    let error = push.try_send("late").expect_err("nobody would get it");
    assert!(error.is_closed());
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ok\n");
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 1);
}

#[server_protocol(framing = Lines)]
fn pushing_later<'a>(
    _line: &'a str,
    #[state] pushes: &'a tokio::sync::mpsc::UnboundedSender<Push<Pushing>>,
    info: &'a ConnectionInfo,
) -> Response<&'static str, Upgrade<'a>> {
    Response::upgrade("ok", async move |mut io: Upgraded| {
        drop(pushes.send(info.push()));
        drop(io.read_u8().await);
    })
}

#[tokio::test]
async fn handle_that_is_first_taken_after_the_protocol_is_closed() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let server = ConcurrentServer::new(PushingLater::new(sender));
    let (mut peer, serving) = serve_in_memory(server, 64);
    within(peer.send("go\n")).await;
    let push = within(receiver.recv()).await.expect("it is sent");
    assert!(push.is_closed());
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ok\n");
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn stream_outlives_a_connection_that_was_aborted() {
    let (door, gate) = protocol();
    let server = start(ConcurrentServer::new(door)).await;
    let mut peer = server.peer().await;
    within(peer.send("moved\n")).await;
    within(gate.reached()).await;
    server.handle().abort();
    within(server.result()).await.expect_err("it is aborted");
    assert_eq!(within(peer.receive(5)).await, b"ok 1\n");
    gate.open();
    assert_eq!(within(peer.rest()).await, b"");
}
