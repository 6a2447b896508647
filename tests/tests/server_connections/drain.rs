//! A server that is stopped finishes what it began, and its report adds up.

use std::time::{Duration, Instant};

use tcs::{
    ConcurrentServer, ErrorKind,
    framing::{LengthPrefixed, Lines},
    protocol::ServerProtocol,
    server::Report,
    server_protocol,
};
use tcs_tests::{
    Gate, Heard, Kind, RawPeer, Running, adds_up, code, control, each_kind, frame, gate, own_ip,
    start, tester_of, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

each_kind!(
    idle_connection_is_told_and_closed_at_once,
    connections_are_told_in_whatever_order_others_have_ended,
    started_frame_may_finish_during_drain,
    started_frame_that_does_not_finish_is_rejected_after_a_second_or_two,
    started_frame_keeps_a_shorter_limit_of_its_own_during_drain,
    peer_that_never_stops_sending_does_not_hold_up_a_drain,
    peer_that_keeps_sending_hears_its_last_reply,
    idle_peers_that_stay_open_do_not_hold_up_a_drain,
    future_stops_a_server,
    dropped_server_cuts_its_connections,
    drain_without_control_frames_just_closes,
    report_adds_up_with_what_the_peers_saw,
);
each_kind!(
    [ready_async, waiting, blocking]
    request_in_flight_is_answered_during_drain,
);
each_kind!([sync, ready_async, waiting] peer_that_asks_as_the_server_stops_is_not_reset);
each_kind!(
    [ready_async, waiting]
    report_adds_up_with_a_peer_that_was_gone,
    request_that_was_read_ahead_is_answered_during_drain,
    drain_timeout_cuts_the_rest,
    handle_ends_a_drain_at_once,
);

async fn server<K: Kind>(gate: &Gate) -> Running {
    let tester = tester_of::<K, LengthPrefixed>(gate);
    start(ConcurrentServer::new(tester).host(own_ip().to_string())).await
}

/// Waits until the listener is closed.
async fn rejects(server: &Running) {
    while TcpStream::connect(server.addr()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn request_in_flight_is_answered_during_drain<K: Kind>() {
    let gate = gate();
    let server = server::<K>(&gate).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait work"), frame(b"behind")].concat())).await;
    within(gate.reached()).await;

    server.handle().stop();
    within(rejects(&server)).await;
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("work"));
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::GOING_AWAY, "the server is stopping".to_owned())
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = server.finished().await;
    assert_eq!((report.requests.served, report.requests.aborted), (2, 0));
    assert_eq!(
        (report.connections.closed, report.connections.aborted),
        (1, 0)
    );
}

async fn idle_connection_is_told_and_closed_at_once<K: Kind>() {
    let server = server::<K>(&gate()).await;
    let mut peer = server.peer().await;
    within(peer.ask("hello")).await;
    server.handle().stop();
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}

async fn connections_are_told_in_whatever_order_others_have_ended<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(tester).max_connections(3)).await;
    let open = async || {
        let mut peer = server.peer().await;
        within(peer.ask("hello")).await;
        peer
    };
    let (first, second, third) = (open().await, open().await, open().await);
    // The next is accepted only when one has ended.
    drop(first);
    let fourth = open().await;
    drop(third);
    let fifth = open().await;
    server.handle().stop();
    for mut peer in [second, fourth, fifth] {
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    }
    let report = server.finished().await;
    assert_eq!(report.requests.served, 5);
    assert_eq!(
        (report.connections.closed, report.connections.aborted),
        (5, 0)
    );
}

/// Connects a peer whose second frame has started.
///
/// Its beginning is sent together with the first, so the server has read it when it replies. A reply on
/// another connection would not tell: another worker thread may have written it.
async fn peer_with_a_started_frame(server: &Running) -> RawPeer {
    let mut peer = server.peer().await;
    let (first, second) = (frame(b"hello"), frame(b"started"));
    within(peer.send([&first, &second[..6]].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("hello"));
    peer
}

async fn started_frame_may_finish_during_drain<K: Kind>() {
    let server = server::<K>(&gate()).await;
    let mut peer = peer_with_a_started_frame(&server).await;
    let mut idle = server.peer().await;
    within(idle.ask("hello")).await;
    server.handle().stop();
    // When the idle one was told, the other was told as well, and still waits for its frame.
    assert_eq!(within(idle.hear()).await.kind(), code::GOING_AWAY);
    within(peer.send(&frame(b"started")[6..])).await;
    assert_eq!(within(peer.hear()).await, Heard::message("started"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop((peer, idle));
    assert_eq!(server.finished().await.requests.served, 3);
}

async fn started_frame_that_does_not_finish_is_rejected_after_a_second_or_two<K: Kind>() {
    let server = server::<K>(&gate()).await;
    let mut peer = peer_with_a_started_frame(&server).await;
    let stopped = Instant::now();
    server.handle().stop();
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::GOING_AWAY,
            "the server is stopping, and the frame was not complete".to_owned()
        )
    );
    assert!(stopped.elapsed() >= Duration::from_secs(1));
    drop(peer);
    let requests = server.finished().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn started_frame_keeps_a_shorter_limit_of_its_own_during_drain<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = ConcurrentServer::new(tester).frame_timeout(Duration::from_millis(500));
    let server = start(server).await;
    let mut peer = peer_with_a_started_frame(&server).await;
    server.handle().stop();
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::IDLE,
            "the frame was not complete after 500ms (`frame_timeout`)".to_owned()
        )
    );
    drop(peer);
    let requests = server.finished().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn peer_that_never_stops_sending_does_not_hold_up_a_drain<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    is_not_held_up(tester).await;
}

#[server_protocol]
async fn nap(bytes: &[u8]) -> &[u8] {
    tokio::time::sleep(Duration::from_millis(1)).await;
    bytes
}

#[tokio::test]
async fn peer_that_sends_while_functions_wait_does_not_hold_up_a_drain() {
    is_not_held_up(Nap).await;
}

/// Drains an echo that is asked without a pause.
async fn is_not_held_up(echo: impl ServerProtocol<Framing = LengthPrefixed>) {
    // Nothing but the end of its frames can end it.
    let server = ConcurrentServer::new(echo)
        .drain_timeout(None)
        .linger(Duration::from_millis(100));
    let server = start(server).await;
    let (mut reading, mut writing) = TcpStream::connect(server.addr())
        .await
        .expect("it listens")
        .into_split();
    let sending = tokio::spawn(async move {
        let requests = frame([b'x'; 100]).repeat(1_000);
        while writing.write_all(&requests).await.is_ok() {}
    });
    let receiving = tokio::spawn(async move {
        let mut replies = vec![0; 1 << 16];
        let mut received = 0_u64;
        while let Ok(count @ 1..) = reading.read(&mut replies).await {
            received += count as u64;
        }
        received
    });
    let other = within(server.peer().await.ask("so that both are served")).await;
    assert_eq!(other, Heard::message("so that both are served"));
    let report = within(server.stopped()).await;
    assert_eq!(report.connections.aborted, 0);
    within(sending).await.expect("no panic");
    let heard = within(receiving).await.expect("no panic");
    // A reset may take what the peer had not read yet.
    assert!(
        heard >= 104 && heard <= report.requests.served * 104 + 100,
        "{heard}, {report}"
    );
}

async fn peer_that_keeps_sending_hears_its_last_reply<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(tester).linger(Duration::from_secs(20))).await;
    let (mut reading, mut writing) = TcpStream::connect(server.addr())
        .await
        .expect("it listens")
        .into_split();
    let sending = tokio::spawn(async move {
        let requests = frame([b'x'; 100]).repeat(40_000);
        // It is not reset: what it sends in vain is read as long as the server lingers.
        writing.write_all(&requests).await.expect("no reset");
        writing
    });
    let mut heard = vec![0; 104];
    within(reading.read_exact(&mut heard))
        .await
        .expect("a reply");
    server.handle().stop();
    within(reading.read_to_end(&mut heard))
        .await
        .expect("no reset");
    // A peer that never pauses has always begun a frame, which has a second to complete.
    let texts = ["", ", and the frame was not complete"];
    let mut goodbyes = texts
        .map(|more| control(code::GOING_AWAY, &format!("the server is stopping{more}")))
        .into_iter();
    let replies = goodbyes.find_map(|goodbye| heard.strip_suffix(goodbye.as_slice()));
    let replies = replies.expect("a goodbye");
    drop((within(sending).await.expect("no reset"), reading));
    let requests = server.finished().await.requests;
    assert_eq!(replies.len() as u64, requests.served * 104);
}

async fn idle_peers_that_stay_open_do_not_hold_up_a_drain<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(tester).linger(Duration::from_secs(15))).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = server.peer().await;
        assert_eq!(within(peer.ask("hello")).await, Heard::message("hello"));
        peers.push(peer);
    }
    let stopped = Instant::now();
    server.handle().stop();
    for peer in &mut peers {
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    let report = server.finished().await;
    let took = stopped.elapsed();
    // A second is more than it takes; the rest is for busy machines.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((report.requests.served, report.connections.closed), (3, 3));
    drop(peers);
}

async fn request_that_was_read_ahead_is_answered_during_drain<K: Kind>() {
    let gate = gate();
    let server = server::<K>(&gate).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait work"))).await;
    within(gate.reached()).await;
    within(peer.send(frame(b"behind"))).await;
    within(server.peer().await.ask("so that it was read ahead")).await;
    server.handle().stop();
    rejects(&server).await;
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("work"));
    assert_eq!(within(peer.hear()).await, Heard::message("behind"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 3);
}

/// On one thread, so that tokio does not know of the request yet when the connection notices the stop.
async fn peer_that_asks_as_the_server_stops_is_not_reset<K: Kind>() {
    let server = server::<K>(&gate()).await;
    let mut peer = TcpStream::connect(server.addr()).await.expect("it listens");
    let mut reply = frame(b"hello");
    within(peer.write_all(&reply)).await.expect("it reads");
    within(peer.read_exact(&mut reply)).await.expect("a reply");
    within(peer.write_all(&reply)).await.expect("it reads");
    server.handle().stop();
    let mut rest = Vec::new();
    within(peer.read_to_end(&mut rest)).await.expect("no reset");
    assert_eq!(rest[4], code::GOING_AWAY);
    assert!(peer.take_error().expect("a socket").is_none());
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}

async fn drain_timeout_cuts_the_rest<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).drain_timeout(Duration::from_millis(50));
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"first"), frame(b"wait"), frame(b"behind")].concat())).await;
    within(gate.reached()).await;
    server.handle().stop();
    assert_eq!(within(peer.hear()).await, Heard::message("first"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::FAILED, "the server ended before the reply".to_owned())
    );
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    let report = server.finished_after_aborting(1).await;
    assert_eq!((report.requests.served, report.requests.aborted), (1, 1));
}

async fn handle_ends_a_drain_at_once<K: Kind>() {
    let gate = gate();
    let server = server::<K>(&gate).await;
    let handle = server.handle();
    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait"))).await;
    within(gate.reached()).await;
    handle.stop();
    within(rejects(&server)).await;
    handle.abort();
    let error = server.result().await.expect_err("it was interrupted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(error.to_string(), "ended at once; requests aborted: 1");
}

async fn future_stops_a_server<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let bound = ConcurrentServer::new(tester)
        .port(0)
        .bind()
        .await
        .expect("a port");
    let addr = bound.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listening = tokio::spawn(bound.listen_until(stopped));
    let mut peer = RawPeer::connect(addr).await;
    within(peer.ask("hello")).await;
    stop.send(()).expect("it listens");
    let report = within(listening)
        .await
        .expect("no panic")
        .expect("no error");
    adds_up(&report);
    assert_eq!(report.requests.served, 1);
}

async fn dropped_server_cuts_its_connections<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(tester).host(own_ip().to_string())).await;
    let mut peer = server.peer().await;
    within(peer.ask("hello")).await;
    server.drop_future();
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    let error = server.try_peer().await.expect_err("the listener is closed");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

async fn drain_without_control_frames_just_closes<K: Kind>() {
    let tester = tester_of::<K, Lines>(&gate());
    let server = start(ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send("hello\n")).await;
    assert_eq!(within(peer.receive(6)).await, b"hello\n");
    server.handle().stop();
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}

async fn report_adds_up_with_what_the_peers_saw<K: Kind>() {
    let server = server::<K>(&gate()).await;
    let (mut answered, mut failed, mut rejected) = (0, 0, 0);
    for _ in 0..5 {
        let mut peer = server.peer().await;
        for request in ["a", "error b", "panic c", "busy d", "size 9"] {
            match within(peer.ask(request)).await {
                Heard::Message(_) | Heard::Control(code::ERROR, _) => answered += 1,
                Heard::Control(code::FAILED, _) => failed += 1,
                Heard::Control(code::BUSY, _) => rejected += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    let report: Report = server.stopped().await;
    let requests = report.requests;
    assert_eq!(
        (requests.served, requests.failed, requests.rejected),
        (answered, failed, rejected)
    );
    assert_eq!((answered, failed, rejected), (15, 5, 5));
    assert_eq!(report.connections.accepted, 5);
}

async fn report_adds_up_with_a_peer_that_was_gone<K: Kind>() {
    let gate = gate();
    let server = server::<K>(&gate).await;
    let mut gone = server.peer().await;
    within(gone.send(frame(b"wait"))).await;
    within(gate.reached()).await;
    gone.reset();
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.aborted), (1, 1));
}
