//! Many tasks share a connection, and each gets its own replies.

use std::sync::Arc;

use tcs::{
    Channel, Connection, ErrorKind, Execution, RejectionKind,
    client::ConnectOptions,
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, Shout, call, settle},
    client::{Prefixed, ask, chain, hears},
    control, frame, memory,
    script::{expects, play, sends, serve_with},
    within,
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_tasks_get_their_own_replies() {
    const CALLS: usize = 1_000;
    let (addr, server) = serve_with(|mut peer| async move {
        // Requests and replies are cut anywhere.
        let mut left = 3 * CALLS * frame(b"0000").len();
        while left > 0 {
            let bytes = within(peer.receive_some()).await;
            assert!(!bytes.is_empty(), "{left} bytes are to come");
            left -= bytes.len();
            for part in bytes.chunks(1 + left % 1_000) {
                within(peer.send(part)).await;
            }
        }
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let channel: Channel = within(Channel::connect(addr)).await.expect("it listens");
    let mut tasks = JoinSet::new();
    for number in 0..CALLS {
        let channel = channel.clone();
        tasks.spawn(async move {
            for round in 0..3 {
                let request = format!("{:04}", (number + round) % CALLS);
                let reply = within(channel.call::<Owned>(&request)).await;
                assert_eq!(reply.expect("a reply"), request);
            }
        });
    }
    while let Some(ended) = within(tasks.join_next()).await {
        ended.expect("its own replies");
    }
    drop(channel);
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn requests_of_many_tasks_leave_in_one_write() {
    let (channel, mut peer, writes) = memory::counted_channel(&ConnectOptions::new(), 1 << 20);
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let channel = channel.clone();
        tasks.spawn(async move {
            for _ in 0..3 {
                let reply = within(channel.call::<Owned>("x")).await;
                assert_eq!(reply.expect("a reply"), "y");
            }
        });
    }
    for _ in 0..3 {
        within(peer.receive(64 * 5)).await;
        assert_eq!(writes.take(), [64 * 5]);
        within(peer.send(frame(b"y").repeat(64))).await;
    }
    while let Some(ended) = within(tasks.join_next()).await {
        ended.expect("its replies");
    }
}

#[tokio::test]
async fn callers_ask_again_before_all_replies_are_read() {
    const CALLERS: usize = 300;
    let (channel, mut peer, writes) = memory::counted_channel(&ConnectOptions::new(), 1 << 20);
    for _ in 0..CALLERS {
        let channel = channel.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                channel.call::<Owned>("x").await.expect("a reply");
            }
        });
    }
    within(peer.receive(5 * CALLERS)).await;
    assert_eq!(writes.take(), [5 * CALLERS]);
    // More than one read takes.
    within(peer.send(frame([b'y'; 96]).repeat(CALLERS))).await;
    within(peer.receive(5 * CALLERS)).await;
    let [first, second] = *writes.take() else {
        panic!("two reads are two writes");
    };
    assert_eq!(first + second, 5 * CALLERS);
}

#[tokio::test]
async fn a_quarter_of_the_callers_asks_again_before_the_others_have_their_replies() {
    const CALLERS: usize = 64;
    let (channel, mut peer, writes) = memory::counted_channel(&ConnectOptions::new(), 1 << 20);
    let request = frame([b'x'; 64]);
    for _ in 0..CALLERS {
        let channel = channel.clone();
        tokio::spawn(async move {
            for _ in 0..2 {
                let request = "x".repeat(64);
                channel.call::<Owned>(&request).await.expect("a reply");
            }
        });
    }
    within(peer.receive(CALLERS * request.len())).await;
    assert_eq!(writes.take(), [CALLERS * request.len()]);
    within(peer.send(frame(b"y").repeat(CALLERS))).await;
    within(peer.receive(CALLERS * request.len())).await;
    assert_eq!(writes.take(), [CALLERS / 4 * request.len(); 4]);
}

#[tokio::test]
async fn rejection_in_the_middle_is_that_of_one_call() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let calls = ["one", "two", "three"].map(|request| call(&channel, request));
    for request in ["one", "two", "three"] {
        hears(&mut peer, request).await;
    }
    within(peer.send([frame(b"1"), control(0x04, "not now"), frame(b"3")].concat())).await;
    let [first, second, third] = calls;
    assert_eq!(first.reply().await, "1");
    let error = second.error().await;
    assert_eq!(error.execution(), Execution::NotExecuted);
    let kind = error.rejection().map(tcs::Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::Busy));
    assert_eq!(third.reply().await, "3");
}

#[tokio::test]
async fn reply_of_a_dropped_call_reaches_nobody() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let (first, second) = (call(&channel, "one"), call(&channel, "two"));
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    first.drop().await;
    let third = call(&channel, "three");
    hears(&mut peer, "three").await;
    within(peer.send([frame(b"1"), frame(b"2"), frame(b"3")].concat())).await;
    assert_eq!(second.reply().await, "2");
    assert_eq!(third.reply().await, "3");
}

#[tokio::test]
async fn reply_is_processed_in_place_or_by_a_protocol() {
    let (channel, peer) = memory::channel(1 << 10);
    let server = play(
        peer,
        [
            expects(frame("one")),
            sends(frame("one")),
            expects(frame("two")),
            sends(frame("two")),
            expects(frame("three")),
            sends(frame("three")),
        ],
    );
    let length = channel.call_with::<Prefixed, _>("one", str::len);
    assert_eq!(within(length).await.expect("a reply"), 3);
    let reply = within(channel.exchange(ask::<LengthPrefixed>("two"))).await;
    assert_eq!(reply.expect("a reply"), "two");
    let reply = within(channel.call_with::<Prefixed, _>("three", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "three");
    server.finished().await;
}

#[tokio::test]
async fn panic_while_a_message_is_read_or_written_harms_only_its_call() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let before = call(&channel, "one");
    let panics = tokio::spawn({
        let channel = channel.clone();
        async move { channel.exchange(Shout::panics_in_request()).await }
    });
    let other = tokio::spawn({
        let channel = channel.clone();
        async move { channel.exchange(Shout::panics_in_reply()).await }
    });
    let after = call(&channel, "three");
    hears(&mut peer, "one").await;
    hears(&mut peer, "SHOUT").await;
    hears(&mut peer, "three").await;
    within(peer.send([frame(b"1"), frame(b"2"), frame(b"3")].concat())).await;
    assert!(within(panics).await.expect_err("it panics").is_panic());
    assert!(within(other).await.expect_err("it panics").is_panic());
    assert_eq!(before.reply().await, "1");
    assert_eq!(after.reply().await, "3");
}

#[tokio::test]
async fn reply_that_is_too_large_or_no_text_fails_alone() {
    let options = ConnectOptions::new().max_frame_len(100);
    let (connection, mut peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
    let channel = connection.into_channel().expect("a runtime");
    let calls = ["one", "two", "three"].map(|request| call(&channel, request));
    for request in ["one", "two", "three"] {
        hears(&mut peer, request).await;
    }
    within(peer.send([frame([b'x'; 300]), frame(b"\xff"), frame(b"3")].concat())).await;
    let [first, second, third] = calls;
    for call in [first, second] {
        let error = call.error().await;
        let told = (error.kind(), error.execution());
        assert_eq!(told, (ErrorKind::Reply, Execution::Unknown));
    }
    assert_eq!(third.reply().await, "3");
    let error = within(channel.call::<Owned>(&"x".repeat(101))).await;
    let error = error.expect_err("too large to be sent");
    let told = (error.kind(), error.execution());
    assert_eq!(told, (ErrorKind::Request, Execution::NotSent));
}

/// Lines that are replies only to requests that the same value has written.
#[derive(Default)]
struct Paired {
    written: usize,
}

impl Framing for Paired {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else {
            return ParsedFrame::incomplete(input);
        };
        let Some(written) = self.written.checked_sub(1) else {
            return Err(FrameError::malformed("no request was written"));
        };
        self.written = written;
        Ok(Some(ParsedFrame::message(0..end, end + 1)))
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        self.written += 1;
        out.push(b'\n');
        Ok(())
    }
}

#[tokio::test]
async fn framing_reads_what_it_has_written_requests_for() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let server = play(RawPeer::over(far), [expects("one\n"), sends("1\n")]);
    let channel = Connection::<Paired>::over(near).into_channel();
    let channel = channel.expect("a runtime");
    let reply = within(channel.exchange(ask::<Paired>("one"))).await;
    assert_eq!(reply.expect("a reply"), "1");
    server.finished().await;
}

#[tokio::test]
async fn connection_closes_when_all_handles_are_gone_and_all_is_answered() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let (first, second) = (call(&channel, "one"), call(&channel, "two"));
    settle().await;
    first.drop().await;
    second.drop().await;
    drop(channel);
    hears(&mut peer, "one").await;
    within(peer.send(frame(b"1"))).await;
    hears(&mut peer, "two").await;
    settle().await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(within(peer.hear()).await, Heard::End);

    let (channel, mut peer) = memory::channel(1 << 10);
    let clone = channel.clone();
    drop(channel);
    let last = call(&clone, "last");
    drop(clone);
    hears(&mut peer, "last").await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(last.reply().await, "1");
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test]
async fn full_buffers_at_both_ends_block_nobody() {
    const CALLS: usize = 500;
    let (channel, mut peer) = memory::channel(64);
    // A server that reads nothing more until its reply is sent.
    let server = tokio::spawn(async move {
        for _ in 0..CALLS {
            within(peer.ask_back()).await;
        }
    });
    let texts = Arc::new("x".repeat(1_000));
    let mut tasks = JoinSet::new();
    for number in 0..CALLS {
        let (channel, texts) = (channel.clone(), Arc::clone(&texts));
        tasks.spawn(async move {
            let request = format!("{number} {texts}");
            let reply = within(channel.call::<Owned>(&request)).await;
            assert_eq!(reply.expect("a reply"), request);
        });
    }
    while let Some(ended) = within(tasks.join_next()).await {
        ended.expect("its own reply");
    }
    within(server).await.expect("the server has read it all");
}

#[tokio::test]
async fn message_that_was_not_asked_for_ends_the_channel() {
    let (channel, mut peer) = memory::channel(1 << 10);
    within(peer.send(frame(b"stray"))).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
    let error = call(&channel, "one").error().await;
    let told = (error.kind(), error.execution());
    assert_eq!(told, (ErrorKind::Broken, Execution::NotSent));
    assert_eq!(
        chain(&error),
        ["the connection to unnamed peer is closed: the server sent an unexpected message"]
    );
}

#[tokio::test]
async fn state_says_whether_a_shared_connection_is_open() {
    let (channel, mut peer) = memory::channel(64);
    let mut watch = channel.watch();
    let state = channel.state();
    assert_eq!((state.connected, state.connects, state.losses), (1, 1, 0));
    let one = call(&channel, "one");
    hears(&mut peer, "one").await;
    watch.mark_unchanged();
    drop(peer);
    drop(one.error().await);
    within(watch.changed()).await.expect("the channel is there");
    let state = channel.state();
    assert_eq!((state.connected, state.connects), (0, 1));
}
