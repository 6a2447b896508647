//! Every wait of a server has a limit.
//!
//! The clock is paused: hours pass in no time, and limits end when they should.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, IterativeServer, OnceServer, framing::LengthPrefixed, server::Report,
    server_protocol,
};
use tcs_tests::{
    Heard, Kind, LATE, Tester, code, control, each_kind, ended_between, ended_in_time, frame, gate,
    patiently, serve_in_memory as serve, tester_of,
};
use tokio::{task::JoinHandle, time::Instant};

each_kind!(
    paused:
    idle_connection_is_told_and_closed,
    idle_connection_keeps_others_waiting_for_a_short_time_only,
    notices_do_not_extend_the_idle_time,
    pieces_of_notices_extend_the_idle_time_by_that_of_one_frame,
    started_frame_has_its_own_limit,
    frame_that_is_skipped_has_the_same_limit,
    frame_that_was_skipped_leaves_the_next_its_time,
    bytes_that_arrive_earn_a_started_frame_more_time,
    bytes_that_are_skipped_earn_their_frame_more_time,
    peer_that_does_not_read_is_given_up,
    peer_that_reads_slowly_is_not_given_up,
    peer_that_reads_a_little_now_and_then_is_given_up,
    bytes_that_a_peer_takes_earn_it_more_time,
    peer_that_reads_64_kib_a_second_is_never_given_up,
    server_that_closes_first_lingers,
    idle_connection_lingers_if_much_was_sent_lately,
    idle_connection_lingers_only_while_a_large_reply_may_be_unread,
    limits_can_be_switched_off,
);
each_kind!(
    [ready_async, waiting] paused:
    function_has_no_limit_unless_it_is_given_one,
    function_that_takes_too_long_is_answered_in_its_place,
    function_that_takes_too_long_with_a_session_ends_the_connection,
);

/// More than each limit that a server has unless it is changed.
const TEN_MINUTES: Duration = Duration::from_mins(10);

fn server<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

async fn ended(serving: JoinHandle<Report>) -> Report {
    patiently(serving).await.expect("no panic")
}

async fn idle_connection_is_told_and_closed<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    for _ in 0..2 {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(299)).await;
        assert_eq!(
            patiently(peer.ask("still here")).await,
            Heard::message("still here")
        );
        ended_in_time(began, Duration::from_secs(299));
    }
    let began = Instant::now();
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Control(
            code::IDLE,
            "no request arrived for 300s (`idle_timeout`)".to_owned()
        )
    );
    ended_in_time(began, Duration::from_mins(5));
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(ended(serving).await.requests.received, 2);
}

async fn idle_connection_keeps_others_waiting_for_a_short_time_only<K: Kind>() {
    let tester = || tester_of::<K, LengthPrefixed>(&gate());
    let iterative = serve(IterativeServer::new(tester()), 1 << 16);
    let once = serve(OnceServer::new(tester()), 1 << 16);
    let began = Instant::now();
    for ((mut peer, serving), seconds) in [(iterative, 5), (once, 30)] {
        assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
        ended_in_time(began, Duration::from_secs(seconds));
        drop(peer);
        assert_eq!(ended(serving).await.connections.closed, 1);
    }
}

async fn notices_do_not_extend_the_idle_time<K: Kind>() {
    let iterative = IterativeServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let (mut peer, serving) = serve(iterative, 1 << 16);
    for request in ["first", "second"] {
        assert_eq!(patiently(peer.ask(request)).await, Heard::message(request));
        let began = Instant::now();
        patiently(peer.send(control(0x80, "notice"))).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        if request == "second" {
            patiently(peer.send(control(0x80, "notice"))).await;
            assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
            ended_in_time(began, Duration::from_secs(5));
        }
    }
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 2);
}

async fn pieces_of_notices_extend_the_idle_time_by_that_of_one_frame<K: Kind>() {
    let notice = control(0x80, "notice");
    // Within the header, and within the text.
    for at in [2, 7] {
        let iterative = IterativeServer::new(tester_of::<K, LengthPrefixed>(&gate()));
        let (mut peer, serving) = serve(iterative.frame_timeout(Duration::from_secs(10)), 1 << 16);
        let began = Instant::now();
        let (start, rest) = notice.split_at(at);
        patiently(peer.send(start)).await;
        // Each wait is one for the rest of a frame.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            patiently(peer.send([rest, start].concat())).await;
        }
        assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
        ended_in_time(began, Duration::from_secs(15));
        drop(peer);
        assert_eq!(ended(serving).await.requests.served, 0);
    }
}

async fn started_frame_has_its_own_limit<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    let began = Instant::now();
    // A byte now and then does not extend it.
    for byte in &frame(b"trickling along")[..5] {
        patiently(peer.send([*byte])).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Control(
            code::IDLE,
            "the frame was not complete after 30s (`frame_timeout`)".to_owned()
        )
    );
    ended_in_time(began, Duration::from_secs(30));
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.received, requests.rejected), (1, 1));
}

async fn frame_that_is_skipped_has_the_same_limit<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_frame_len(100), 1 << 16);
    let began = Instant::now();
    patiently(peer.send(300_u32.to_be_bytes())).await;
    let too_large = "a message of 300 bytes exceeds `max_frame_len` of 100 bytes".to_owned();
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Control(code::TOO_LARGE, too_large)
    );
    for _ in 0..5 {
        patiently(peer.send(b"x")).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
    ended_in_time(began, Duration::from_secs(30));
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.received, requests.rejected), (1, 1));
}

async fn frame_that_was_skipped_leaves_the_next_its_time<K: Kind>() {
    let (idle, frame_limit) = (Duration::from_secs(5), Duration::from_secs(30));
    for (next, limit) in [(&b""[..], idle), (&frame(b"next")[..5], frame_limit)] {
        let server = server::<K>().max_frame_len(100).idle_timeout(idle);
        let (mut peer, serving) = serve(server, 1 << 16);
        patiently(peer.send([&[0, 0, 1, 44][..], &[0; 200]].concat())).await;
        assert_eq!(patiently(peer.hear()).await.kind(), code::TOO_LARGE);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let began = Instant::now();
        patiently(peer.send([&[0; 100], next].concat())).await;
        assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
        ended_in_time(began, limit);
        drop(peer);
        ended(serving).await;
    }
}

async fn bytes_that_arrive_earn_a_started_frame_more_time<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 20);
    let began = Instant::now();
    let message = vec![b'x'; 300_000];
    let request = frame(&message);
    patiently(peer.send(&request[..128 * 1024])).await;
    tokio::time::sleep(Duration::from_millis(31_500)).await;
    patiently(peer.send(&request[128 * 1024..])).await;
    assert_eq!(patiently(peer.hear()).await, Heard::Message(message));
    ended_in_time(began, Duration::from_millis(31_500));
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 1);
}

async fn bytes_that_are_skipped_earn_their_frame_more_time<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>().max_frame_len(100_000), 1 << 20);
    let began = Instant::now();
    let request = frame(vec![b'x'; 300_000]);
    patiently(peer.send(&request[..128 * 1024])).await;
    assert_eq!(patiently(peer.hear()).await.kind(), code::TOO_LARGE);
    tokio::time::sleep(Duration::from_millis(31_500)).await;
    patiently(peer.send([&request[128 * 1024..], &*frame(b"next")].concat())).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("next"));
    ended_in_time(began, Duration::from_millis(31_500));
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn peer_that_does_not_read_is_given_up<K: Kind>() {
    // Otherwise the first reply is sent before the second request is taken, if the machine is slow.
    let server = server::<K>().poll_budget(Duration::MAX);
    let (mut peer, serving) = serve(server, 64);
    let began = Instant::now();
    patiently(peer.send([frame(b"size 1000"), frame(b"behind")].concat())).await;
    let report = ended(serving).await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!((report.requests.received, report.requests.aborted), (2, 2));
}

async fn peer_that_reads_slowly_is_not_given_up<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 64);
    patiently(peer.send(frame(b"size 320"))).await;
    let mut received = 0;
    while received < 324 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let some = patiently(peer.receive_some()).await.len();
        assert_ne!(some, 0, "it was given up after {received} bytes");
        received += some;
    }
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 1);
}

async fn peer_that_reads_a_little_now_and_then_is_given_up<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 64);
    let began = Instant::now();
    patiently(peer.send(frame(b"size 10000"))).await;
    let reading = tokio::spawn(async move {
        while !patiently(peer.receive_some()).await.is_empty() {
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
    });
    let report = ended(serving).await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!((report.requests.received, report.requests.aborted), (1, 1));
    patiently(reading).await.expect("no panic");
}

async fn bytes_that_a_peer_takes_earn_it_more_time<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    let began = Instant::now();
    patiently(peer.send(frame(b"size 8000000"))).await;
    patiently(peer.receive(10 << 16)).await;
    let report = ended(serving).await;
    // As much as it took, and what the pipe holds.
    ended_between(began, Duration::from_secs(40), Duration::from_secs(41));
    assert_eq!((report.requests.received, report.requests.aborted), (1, 1));
}

async fn peer_that_reads_64_kib_a_second_is_never_given_up<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    patiently(peer.send(frame(b"size 8000000"))).await;
    let mut received = 0;
    while received < 8_000_004 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let some = patiently(peer.receive_some()).await.len();
        assert_ne!(some, 0, "it was given up after {received} bytes");
        received += some;
    }
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 1);
}

async fn server_that_closes_first_lingers<K: Kind>() {
    let (mut peer, serving) = serve(server::<K>(), 1 << 16);
    patiently(peer.send(frame(b"last words"))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("words"));
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    let began = Instant::now();
    // What still arrives is dropped, and does not extend the wait.
    while peer.try_send(vec![0; 1 << 12]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(10), "it lingers on");
    }
    let passed = began.elapsed();
    assert!(
        passed >= Duration::from_secs(2) && passed <= Duration::from_millis(2_400),
        "{passed:?}"
    );
    assert_eq!(ended(serving).await.requests.received, 1);
}

/// The peer may not have received it yet, and a reset would take it away.
async fn idle_connection_lingers_if_much_was_sent_lately<K: Kind>() {
    let (idle, linger) = (Duration::from_secs(1), Duration::from_secs(5));
    for (replies, size, lingers) in [(1, 14_000, false), (10, 14_000, true), (1, 14_600, true)] {
        let server = server::<K>().idle_timeout(idle).linger(linger);
        let (mut peer, serving) = serve(server, 1 << 16);
        for _ in 0..replies {
            patiently(peer.send(frame(format!("size {size}").as_bytes()))).await;
            patiently(peer.receive(4 + size)).await;
        }
        let began = Instant::now();
        assert_eq!(ended(serving).await.requests.served, replies);
        let limit = if lingers { idle + linger } else { idle };
        // Two waits, each of which may end late.
        ended_between(began, limit, limit + LATE);
        drop(peer);
    }
}

/// A large reply may still be in the send queue of the operating system, where a reset destroys it.
async fn idle_connection_lingers_only_while_a_large_reply_may_be_unread<K: Kind>() {
    for (request, idle, earliest, latest) in [
        ("size 14000", 1, 1, 1),
        // Until it was sent two seconds ago, or the connection has lingered for two seconds.
        ("size 15000", 1, 2, 3),
        ("size 15000", 3, 3, 3),
    ] {
        let [idle, earliest, latest] = [idle, earliest, latest].map(Duration::from_secs);
        let server = server::<K>().idle_timeout(idle);
        let (mut peer, serving) = serve(server, 1 << 16);
        let reply = patiently(peer.ask(request)).await;
        assert!(matches!(reply, Heard::Message(_)), "{reply:?}");
        let began = Instant::now();
        let report = ended(serving).await;
        // Two waits, each of which may end late.
        ended_between(began, earliest, latest + LATE);
        assert_eq!(report.requests.served, 1);
        assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
    }
}

async fn function_has_no_limit_unless_it_is_given_one<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let (mut peer, serving) = serve(ConcurrentServer::new(tester), 1 << 16);
    patiently(peer.send(frame(b"wait long"))).await;
    patiently(gate.reached()).await;
    tokio::time::sleep(TEN_MINUTES).await;
    gate.open();
    assert_eq!(patiently(peer.hear()).await, Heard::message("long"));
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 1);
}

async fn function_that_takes_too_long_is_answered_in_its_place<K: Kind>() {
    let limit = Duration::from_secs(3);
    let (mut peer, serving) = serve(server::<K>().request_timeout(limit), 1 << 16);
    let began = Instant::now();
    patiently(peer.send([frame(b"wait"), frame(b"behind")].concat())).await;
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Control(
            code::TIMED_OUT,
            "no reply within 3s (`request_timeout`)".to_owned()
        )
    );
    ended_in_time(began, limit);
    assert_eq!(patiently(peer.hear()).await, Heard::message("behind"));
    drop(peer);
    let requests = ended(serving).await.requests;
    assert_eq!((requests.failed, requests.served), (1, 1));
}

async fn function_that_takes_too_long_with_a_session_ends_the_connection<K: Kind>() {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = ConcurrentServer::new(tester.counting()).request_timeout(Duration::from_secs(3));
    let (mut peer, serving) = serve(server, 1 << 16);
    patiently(peer.send([frame(b"wait"), frame(b"behind")].concat())).await;
    assert_eq!(patiently(peer.hear()).await.kind(), code::TIMED_OUT);
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Control(
            code::GOING_AWAY,
            "the session was lost with the failed request".to_owned()
        )
    );
    drop(peer);
    assert_eq!(ended(serving).await.requests.received, 1);
}

/// Blocks its thread for this many seconds, as far as the paused clock can tell.
#[server_protocol]
async fn block(seconds: u64) -> &'static str {
    let mut advance = pin!(tokio::time::advance(Duration::from_secs(seconds)));
    // The first poll moves the clock, and would only let others run after that.
    poll_fn(|cx| {
        let _moved = advance.as_mut().poll(cx);
        Poll::Ready("done")
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nothing_could_run_does_not_count() {
    let server = ConcurrentServer::new(Block).idle_timeout(Duration::from_secs(10));
    let (mut peer, serving) = serve(server, 1 << 16);
    for _ in 0..3 {
        assert_eq!(patiently(peer.ask("60")).await, Heard::message("done"));
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    let began = Instant::now();
    // Nine of the ten seconds have passed.
    assert_eq!(patiently(peer.hear()).await.kind(), code::IDLE);
    ended_in_time(began, Duration::from_secs(1));
    drop(peer);
    assert_eq!(ended(serving).await.requests.served, 3);
}

async fn limits_can_be_switched_off<K: Kind>() {
    let server = server::<K>()
        .idle_timeout(None)
        .frame_timeout(None)
        .write_timeout(None)
        .linger(None);
    let (mut peer, serving) = serve(server, 64);
    tokio::time::sleep(TEN_MINUTES).await;
    let request = frame(b"size 1000");
    patiently(peer.send(&request[..7])).await;
    tokio::time::sleep(TEN_MINUTES).await;
    patiently(peer.send([&request[7..], &frame(b"last")].concat())).await;
    tokio::time::sleep(TEN_MINUTES).await;
    assert_eq!(
        patiently(peer.hear()).await,
        Heard::Message(vec![b'x'; 1_000])
    );
    assert_eq!(patiently(peer.hear()).await, Heard::message(""));
    patiently(peer.rest()).await;
    let began = Instant::now();
    assert_eq!(ended(serving).await.requests.served, 2);
    ended_in_time(began, Duration::ZERO);
    drop(peer);
}
