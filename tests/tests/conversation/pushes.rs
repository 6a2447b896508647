//! Messages that nobody asked for.

use std::time::Duration;

use tcs::{
    framing::{LengthPrefixed, Lines},
    protocol::PushOverflow,
    server::Report,
};
use tcs_tests::{
    Heard, Kind, Log, Over, RawPeer, Running, SyncFn, WaitingFn, code, control, each_kind,
    ended_in_time, frame, patiently, serve_in_memory, start, start_over, within,
};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};

use crate::hub::{Shared, Wire, expect, hear, shared};

each_kind!(
    over_each:
    event_reaches_an_idle_peer,
    event_follows_the_reply_of_the_function_that_pushes_it,
);
each_kind!(
    [ready_async, waiting] over_each:
    event_from_elsewhere_arrives_while_a_function_waits,
    event_of_a_waiting_function_follows_its_reply,
    event_of_an_answered_function_does_not_wait_for_the_next,
    event_of_a_function_that_panicked_does_not_wait_for_the_next,
);

// With a paused clock, tests have one thread: a yield lets the connection take what it can.
each_kind!(
    paused:
    slow_peer_harms_only_itself,
    events_that_a_peer_leaves_behind_are_dropped_and_counted,
    oldest_events_are_dropped_if_the_server_says_so,
    queues_of_peers_that_do_not_read_share_the_memory_budget,
    events_beyond_the_limit_close_the_connection_if_the_server_says_so,
    function_sets_the_idle_timeout_of_its_connection,
);

/// Connects a peer that has joined the room.
async fn joined<F: Wire>(server: &Running) -> RawPeer {
    let mut peer = server.peer().await;
    expect(&mut peer, &F::message("join"), &F::message("true")).await;
    peer
}

async fn event_reaches_an_idle_peer<K: Kind>(over: Over) {
    reaches::<K, LengthPrefixed>(over).await;
    reaches::<K, Lines>(over).await;
}

async fn reaches<K: Kind, F: Wire>(over: Over) {
    let shared = shared();
    let server = start_over(over, shared.server::<K, F>()).await;
    let mut peers = [joined::<F>(&server).await, joined::<F>(&server).await];
    for event in ["first", "", "third"] {
        assert_eq!(shared.room.send(event).expect("it fits"), 2);
        for peer in &mut peers {
            hear(peer, &F::events(&[event])).await;
        }
    }
    server.handle().stop();
    for peer in &mut peers {
        within(peer.rest()).await;
    }
    let report = within(server.finished()).await;
    assert_eq!((report.events.sent, report.events.dropped), (6, 0));
    assert_eq!(report.requests.served, 2);
}

async fn event_follows_the_reply_of_the_function_that_pushes_it<K: Kind>(over: Over) {
    follows::<K, LengthPrefixed>(over).await;
    follows::<K, Lines>(over).await;
}

async fn follows<K: Kind, F: Wire>(over: Over) {
    let server = start_over(over, shared().server::<K, F>()).await;
    let mut peer = server.peer().await;
    for _ in 0..3 {
        let expected = [F::message("told"), F::events(&["news"])].concat();
        expect(&mut peer, &F::message("tell news"), &expected).await;
    }
}

async fn event_from_elsewhere_arrives_while_a_function_waits<K: Kind>(over: Over) {
    arrives::<K, LengthPrefixed>(over).await;
    arrives::<K, Lines>(over).await;
}

async fn arrives<K: Kind, F: Wire>(over: Over) {
    let shared = shared();
    let server = start_over(over, shared.server::<K, F>()).await;
    let mut peer = joined::<F>(&server).await;
    peer.send(F::message("wait")).await;
    within(shared.gate.reached()).await;
    for event in ["first", "second"] {
        shared.room.send(event).expect("it fits");
        hear(&mut peer, &F::events(&[event])).await;
    }
    shared.gate.open();
    hear(&mut peer, &F::message("waited")).await;
}

async fn event_of_a_waiting_function_follows_its_reply<K: Kind>(over: Over) {
    holds::<K, LengthPrefixed>(over).await;
    holds::<K, Lines>(over).await;
}

async fn holds<K: Kind, F: Wire>(over: Over) {
    let shared = shared();
    let server = start_over(over, shared.server::<K, F>()).await;
    let mut peer = joined::<F>(&server).await;
    peer.send(F::message("tell-and-wait own")).await;
    within(shared.gate.reached()).await;
    // Events stay in their order, so this one waits, too.
    shared.room.send("later").expect("it fits");
    shared.gate.open();
    let expected = [F::message("told"), F::events(&["own", "later"])].concat();
    hear(&mut peer, &expected).await;
}

async fn event_of_an_answered_function_does_not_wait_for_the_next<K: Kind>(over: Over) {
    let shared = shared();
    let server = start_over(over, shared.server::<K, Lines>()).await;
    let mut peer = server.peer().await;
    let expected = b"told\nnews\n";
    expect(&mut peer, b"tell news\nwait\n", expected).await;
    shared.gate.open();
    hear(&mut peer, b"waited\n").await;
}

async fn event_of_a_function_that_panicked_does_not_wait_for_the_next<K: Kind>(over: Over) {
    let shared = shared();
    let server = start_over(over, shared.server::<K, LengthPrefixed>()).await;
    let mut peer = joined::<LengthPrefixed>(&server).await;
    peer.send([frame("tell-and-panic own"), frame("wait")].concat())
        .await;
    within(shared.gate.reached()).await;
    shared.room.send("later").expect("it fits");
    shared.gate.open();
    let expected = [
        control(code::FAILED, "the function panicked"),
        LengthPrefixed::events(&["own", "later"]),
    ];
    hear(&mut peer, &expected.concat()).await;
    shared.gate.open();
    hear(&mut peer, &frame("waited")).await;
}

/// A member that does not read, before whose events a pipe of 64 bytes is full.
async fn stuck<K: Kind>(shared: &Shared, overflow: PushOverflow) -> (RawPeer, JoinHandle<Report>) {
    let server = shared.server::<K, Lines>();
    let server = server.max_push_queue(1_000).push_overflow(overflow);
    let (mut peer, serving) = serve_in_memory(server, 64);
    expect(&mut peer, b"join\n", b"true\n").await;
    (peer, serving)
}

async fn slow_peer_harms_only_itself<K: Kind>() {
    let shared = shared();
    let (mut slow, _) = stuck::<K>(&shared, PushOverflow::Reject).await;
    let (mut quick, _) = stuck::<K>(&shared, PushOverflow::Reject).await;
    let mut sent_to_both = 0;
    for number in 0..100 {
        let event = format!("{number:0100}");
        let sent = shared.room.send(&event).expect("it fits");
        sent_to_both += usize::from(sent == 2);
        hear(&mut quick, format!("{event}\n").as_bytes()).await;
    }
    // What was queued arrives in order, once the peer reads. A buffer takes some events out of the queue.
    assert!((7..20).contains(&sent_to_both), "{sent_to_both}");
    for number in 0..sent_to_both {
        hear(&mut slow, format!("{number:0100}\n").as_bytes()).await;
    }
    assert_eq!(shared.room.send("again").expect("it fits"), 2);
    hear(&mut slow, b"again\n").await;
}

#[tokio::test(start_paused = true)]
async fn events_that_fill_many_buffers_arrive_at_once() {
    const EVENTS: usize = 3_000;
    let shared = shared();
    let server = shared.server::<WaitingFn, Lines>().max_push_queue(4 << 20);
    let (mut peer, _) = serve_in_memory(server, 4 << 20);
    peer.send("join\n").await;
    assert_eq!(patiently(peer.receive(5)).await, b"true\n");
    let event = "x".repeat(999);
    // While it waits for a request, and while a function waits.
    for request in ["", "wait\n"] {
        peer.send(request).await;
        if !request.is_empty() {
            patiently(shared.gate.reached()).await;
        }
        for _ in 0..EVENTS {
            assert_eq!(shared.room.send(&event).expect("it fits"), 1);
        }
        let began = Instant::now();
        patiently(peer.receive(1_000 * EVENTS)).await;
        // No sweep of the server had to wake it.
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    shared.gate.open();
    assert_eq!(patiently(peer.receive(7)).await, b"waited\n");
}

#[tokio::test]
async fn group_to_which_nobody_sends_forgets_members_as_well() {
    let shared = shared();
    for _ in 0..100 {
        let (mut peer, serving) = serve_in_memory(shared.server::<SyncFn, Lines>(), 64);
        expect(&mut peer, b"join\n", b"true\n").await;
        drop(peer);
        within(serving).await.expect("no panic");
    }
    let debug = format!("{:?}", shared.room);
    let members = debug
        .matches(|c: char| c.is_ascii_digit())
        .collect::<String>();
    assert!(members.len() == 1, "{debug}");
    assert_eq!(shared.room.send("news").expect("it fits"), 0);
    assert_eq!(format!("{:?}", shared.room), "PushGroup { members: 0, .. }");
}

async fn events_that_a_peer_leaves_behind_are_dropped_and_counted<K: Kind>() {
    let shared = shared();
    let (peer, serving) = stuck::<K>(&shared, PushOverflow::Reject).await;
    let mut queued = 0;
    while shared
        .room
        .send("an event of some length")
        .expect("it fits")
        == 1
    {
        queued += 1;
        yield_now().await;
    }
    drop(peer);
    let events = within(serving).await.expect("no panic").events;
    assert_eq!(events.sent + events.dropped, queued);
    assert!(events.dropped > 10, "{events:?}");
}

async fn queues_of_peers_that_do_not_read_share_the_memory_budget<K: Kind>() {
    const PEERS: usize = 8;
    const BUDGET: usize = 1 << 20;
    const EVENT: usize = 64 << 10;
    /// What a connection may have beside: a queue of 128 KiB, a buffer with one event more than it has room for, and the
    /// pipe of the test.
    const CONNECTION: usize = 384 << 10;
    let shared = shared();
    let server = shared.server::<K, Lines>().memory_budget(BUDGET);
    let server = start_over(Over::Memory, server.max_push_queue(64 << 20)).await;
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(joined::<Lines>(&server).await);
    }
    let event = "x".repeat(EVENT - 1);
    let fill = async || {
        let mut queued = 0;
        loop {
            match shared.room.send(&event).expect("it fits") {
                0 => return queued,
                sent => queued += sent,
            }
            yield_now().await;
        }
    };
    let queued = fill().await;
    let most = BUDGET + PEERS * CONNECTION;
    assert!((BUDGET..most).contains(&(queued * EVENT)), "{queued}");
    let mut small = server.peer().await;
    expect(&mut small, b"small\n", b"small\n").await;

    // The others have the memory of those that leave.
    peers.truncate(PEERS / 2);
    within(async {
        while shared.room.len() > PEERS / 2 {
            yield_now().await;
        }
    })
    .await;
    let more = fill().await;
    assert!(more * EVENT > BUDGET / 4, "{more}");

    // And a request has the memory of those that read or leave.
    let mut reads = peers.remove(0);
    hear(&mut reads, format!("{event}\n").repeat(3).as_bytes()).await;
    drop((peers, reads));
    let large = format!("leave {}\n", "x".repeat(BUDGET * 9 / 10));
    expect(&mut small, large.as_bytes(), b"false\n").await;
    drop(small);
    server.handle().stop();
    let events = within(server.finished()).await.events;
    assert_eq!(events.sent + events.dropped, (queued + more) as u64);
}

async fn events_beyond_the_limit_close_the_connection_if_the_server_says_so<K: Kind>() {
    let shared = shared();
    let (mut slow, serving) = stuck::<K>(&shared, PushOverflow::Close).await;
    let mut sent = 0;
    while shared
        .room
        .send("an event of some length")
        .expect("it fits")
        == 1
    {
        sent += 1;
        assert!(sent < 1_000, "the queue has a limit");
        yield_now().await;
    }
    assert!(shared.room.is_empty());
    // Although the peer reads nothing, and without a sweep of the server.
    let began = Instant::now();
    let events = patiently(serving).await.expect("no panic").events;
    assert_eq!(began.elapsed(), Duration::ZERO);
    patiently(slow.rest()).await;
    assert_eq!(events.sent + events.dropped, sent);
}

async fn oldest_events_are_dropped_if_the_server_says_so<K: Kind>() {
    let shared = shared();
    let (mut slow, serving) = stuck::<K>(&shared, PushOverflow::DropOldest).await;
    for number in 0..100 {
        let event = format!("{number:0100}");
        assert_eq!(shared.room.send(&event).expect("it fits"), 1);
        yield_now().await;
    }
    let mut numbers = Vec::new();
    while numbers.last() != Some(&99) {
        let line = within(slow.receive(101)).await;
        let line = String::from_utf8(line).expect("digits");
        numbers.push(line.trim_end().parse::<u32>().expect("a number"));
    }
    assert!(numbers.is_sorted());
    assert!(numbers.len() < 30, "{numbers:?}");
    assert!(
        numbers.ends_with(&[93, 94, 95, 96, 97, 98, 99]),
        "{numbers:?}"
    );
    drop(slow);
    let events = within(serving).await.expect("no panic").events;
    let sent = numbers.len() as u64;
    assert_eq!((events.sent, events.dropped), (sent, 100 - sent));
}

#[tokio::test]
async fn event_beyond_the_limit_of_messages_or_of_the_queue_is_an_error() {
    let shared = shared();
    let server = shared.server::<SyncFn, LengthPrefixed>().max_reply_len(100);
    let server = start_over(Over::Memory, server.max_push_queue(64)).await;
    let mut peer = joined::<LengthPrefixed>(&server).await;
    let error = shared.room.send(&"x".repeat(101)).expect_err("too long");
    assert!(!error.is_full() && !error.is_closed());
    let text =
        "an event cannot be sent: a message of 101 bytes exceeds `max_reply_len` of 100 bytes";
    assert_eq!(error.to_string(), text);
    // 33 bytes and 32 are more than 64.
    assert_eq!(shared.room.send(&"x".repeat(33)).expect("it fits"), 0);
    assert_eq!(shared.room.send(&"x".repeat(32)).expect("it fits"), 1);
    hear(&mut peer, &LengthPrefixed::events(&[&"x".repeat(32)])).await;
    peer.send(LengthPrefixed::message(&format!("tell {}", "x".repeat(40))))
        .await;
    let text = "an event does not fit into a queue of 64 bytes (`max_push_queue`)";
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(1, text.to_owned())
    );
}

#[tokio::test]
async fn event_that_the_framing_cannot_carry_is_dropped_and_logged() {
    let (log, _guard) = Log::start();
    let shared = shared();
    let server = start_over(Over::Memory, shared.server::<SyncFn, Lines>()).await;
    let mut peer = joined::<Lines>(&server).await;
    for event in ["before", "two\nlines", "after"] {
        shared.room.send(event).expect("it fits");
    }
    hear(&mut peer, b"before\nafter\n").await;
    server.handle().stop();
    within(peer.rest()).await;
    let report = within(server.finished()).await;
    assert_eq!((report.events.sent, report.events.dropped), (2, 1));
    assert!(
        report.to_string().contains("events: 2 sent, 1 dropped"),
        "{report}"
    );
    assert_eq!(log.with("an event cannot be sent").len(), 1);
    let [ended] = &log.with("message=disconnected")[..] else {
        panic!("one connection");
    };
    assert!(ended.contains(" events=3 "), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn events_do_not_keep_an_idle_peer() {
    let shared = shared();
    let server = shared.server::<SyncFn, Lines>();
    let (mut peer, _) = serve_in_memory(server.idle_timeout(Duration::from_mins(1)), 1_000);
    peer.send(b"join\n").await;
    assert_eq!(patiently(peer.receive(5)).await, b"true\n");
    let began = Instant::now();
    for _ in 0..5 {
        sleep(Duration::from_secs(10)).await;
        shared.room.send("news").expect("it fits");
        assert_eq!(patiently(peer.receive(5)).await, b"news\n");
    }
    assert_eq!(patiently(peer.rest()).await, b"");
    ended_in_time(began, Duration::from_mins(1));
}

async fn function_sets_the_idle_timeout_of_its_connection<K: Kind>() {
    idle::<K, LengthPrefixed>(|text| control(code::IDLE, text)).await;
    idle::<K, Lines>(|_| Vec::new()).await;
}

/// `rejection` is what the framing says to an idle peer.
async fn idle<K: Kind, F: Wire>(rejection: fn(&str) -> Vec<u8>) {
    for seconds in [20_u64, 600] {
        let server = shared().server::<K, F>();
        let (mut peer, _) = serve_in_memory(server.idle_timeout(Duration::from_mins(1)), 1_000);
        let request = F::message(&format!("idle {seconds}"));
        expect(&mut peer, &request, &F::message("set")).await;
        let began = Instant::now();
        let text = format!("no request arrived for {seconds}s (`idle_timeout`)");
        assert_eq!(patiently(peer.rest()).await, rejection(&text));
        ended_in_time(began, Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn drain_sends_what_is_queued() {
    let shared = shared();
    let server = start(shared.server::<WaitingFn, LengthPrefixed>()).await;
    let mut peer = server.peer().await;
    expect(
        &mut peer,
        &LengthPrefixed::message("join"),
        &LengthPrefixed::message("true"),
    )
    .await;
    peer.send(LengthPrefixed::message("tell-and-wait last"))
        .await;
    within(shared.gate.reached()).await;
    server.handle().stop();
    shared.gate.open();
    let expected = [
        LengthPrefixed::message("told"),
        LengthPrefixed::events(&["last"]),
    ]
    .concat();
    hear(&mut peer, &expected).await;
    assert_eq!(within(peer.hear()).await.kind(), 0x40);
    assert_eq!(within(server.finished()).await.events.sent, 1);
}

#[tokio::test]
async fn group_forgets_members_that_leave_or_close() {
    let shared = shared();
    let server = start(shared.server::<SyncFn, Lines>()).await;
    let mut stays = joined::<Lines>(&server).await;
    let mut leaves = joined::<Lines>(&server).await;
    let mut closes = joined::<Lines>(&server).await;
    expect(&mut stays, b"join\n", b"false\n").await;
    assert_eq!(shared.room.len(), 3);
    expect(&mut leaves, b"leave\nleave\n", b"true\nfalse\n").await;
    closes.finish().await;
    within(closes.rest()).await;
    assert_eq!(shared.room.send("news").expect("it fits"), 1);
    assert_eq!(shared.room.len(), 1);
    hear(&mut stays, b"news\n").await;
    server.handle().stop();
    within(stays.rest()).await;
    within(leaves.rest()).await;
    within(server.finished()).await;
    assert!(shared.room.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_many_senders_reach_many_peers_in_order() {
    const SENDERS: usize = 8;
    const EVENTS: usize = 200;
    let shared = shared();
    let server = shared.server::<WaitingFn, LengthPrefixed>();
    let server = start(server.max_push_queue(1 << 20)).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(joined::<LengthPrefixed>(&server).await);
    }
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let room = shared.room.clone();
        senders.push(tokio::spawn(async move {
            for number in 0..EVENTS {
                let sent = room.send(&format!("{sender} {number}")).expect("it fits");
                assert_eq!(sent, 10);
                yield_now().await;
            }
        }));
    }
    for peer in &mut peers {
        let mut next = [0; SENDERS];
        let mut announced = 0;
        while next != [EVENTS; SENDERS] {
            if announced == 0 {
                let notice = within(peer.receive(9)).await;
                assert_eq!(notice[..5], [0x80, 0, 0, 5, 0x82]);
                announced = u32::from_be_bytes(notice[5..].try_into().expect("four"));
            }
            announced -= 1;
            let Heard::Message(text) = within(peer.hear()).await else {
                panic!("{announced} events are missing");
            };
            let text = String::from_utf8(text).expect("text");
            let (sender, number) = text.split_once(' ').expect("two");
            let next = &mut next[sender.parse::<usize>().expect("a number")];
            assert_eq!(number, next.to_string());
            *next += 1;
        }
        assert_eq!(announced, 0);
    }
    for sender in senders {
        within(sender).await.expect("no panic");
    }
}
