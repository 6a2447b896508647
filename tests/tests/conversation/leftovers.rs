//! Requests of many messages that end early, and functions that leave some of theirs.

use std::{future::poll_fn, pin::pin, task::Poll};

use tcs::{
    ConcurrentServer, Response,
    framing::Lines,
    protocol::{Requests, Upgrade, Upgraded},
    server_protocol,
};
use tcs_tests::{Gate, Heard, code, control, frame, gate, patiently, serve_in_memory, within};
use tokio::io::AsyncWriteExt as _;

use crate::concurrent::Gates;

fn chunks(count: u32) -> Vec<u8> {
    [&[0x80, 0, 0, 5, 0x83][..], &count.to_be_bytes()].concat()
}

/// Counts chunks, and their bytes.
#[server_protocol(requests = &[u8])]
async fn upload(_name: &str, mut more: Requests<'_, Upload>) -> Result<String, String> {
    let (mut count, mut sum) = (0, 0);
    while let Some(chunk) = more.next().await? {
        count += 1;
        sum += chunk.len();
    }
    Ok(format!("{count} {sum}"))
}

#[tokio::test]
async fn input_that_ends_without_the_end_of_the_chunks_is_an_error() {
    let ping = control(0x80, "");
    let cut = [
        chunks(2),
        chunks(1),
        [chunks(2), frame("b")].concat(),
        [chunks(1), frame("b")].concat(),
        [chunks(1), frame("b"), ping.clone()].concat(),
    ];
    for sent in cut {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Upload), 1 << 10);
        within(peer.send([frame("a"), sent.clone()].concat())).await;
        within(peer.finish()).await;
        let Heard::Control(kind, text) = within(peer.hear()).await else {
            panic!("it is taken for complete: {sent:?}");
        };
        assert_eq!(kind, code::ERROR);
        assert!(text.contains("84"), "{text}");
        assert_eq!(within(peer.hear()).await, Heard::End);
        let requests = within(serving).await.expect("no panic").requests;
        assert_eq!((requests.received, requests.served), (1, 1));
    }
    // Without chunks, nothing says that there are some.
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Upload), 1 << 10);
    within(peer.send([frame("a"), ping].concat())).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::message("0 0"));
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

#[tokio::test]
async fn control_frame_that_clients_do_not_send_is_no_end_of_the_chunks() {
    let bad = control(0x01, "");
    for sent in [
        bad.clone(),
        [chunks(0), bad.clone()].concat(),
        [chunks(1), frame("b"), bad].concat(),
    ] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Upload), 1 << 10);
        within(peer.send([frame("a"), sent].concat())).await;
        let Heard::Control(kind, text) = within(peer.hear()).await else {
            panic!("it is taken for complete");
        };
        assert_eq!(kind, code::ERROR);
        assert!(text.contains("kind 0x01"), "{text}");
        assert_eq!(within(peer.hear()).await.kind(), code::PROTOCOL_ERROR);
        assert_eq!(within(peer.hear()).await, Heard::End);
        let requests = within(serving).await.expect("no panic").requests;
        assert_eq!((requests.served, requests.rejected), (1, 1));
    }
}

/// Asks for a line, does not wait for it, and then takes the block of the length in the request and a line.
#[server_protocol(framing = Lines, requests = &str)]
async fn impatient(
    length: usize,
    #[state] gate: &Gate,
    mut more: Requests<'_, Impatient>,
) -> Result<String, String> {
    {
        let mut next = pin!(more.next());
        let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_ready())).await;
        assert!(!polled, "nothing was sent");
    }
    gate.pass().await;
    let mut block = Vec::new();
    let mut body = more.exactly(length);
    while let Some(piece) = body.next().await? {
        block.extend_from_slice(piece);
    }
    drop(body);
    let line = more.next().await?.map(str::to_owned);
    Ok(format!("{:?} {line:?}", String::from_utf8_lossy(&block)))
}

/// The size of the pipe.
const PIPE: usize = 64;

/// Asks for a block, sends `before` and `full` once the function has dropped its `next`, and `after` when it goes on.
/// Returns what it says.
async fn tell_impatient(length: &str, before: &str, full: &str, after: &str) -> String {
    let gate = gate();
    let server = ConcurrentServer::new(Impatient::new(gate.clone()));
    let (mut peer, serving) = serve_in_memory(server, PIPE);
    within(peer.send(length)).await;
    within(gate.reached()).await;
    // Once the pipe has room for all of `full`, the server has looked for a line in what is before it.
    assert_eq!(full.len(), PIPE);
    within(peer.send(before)).await;
    within(peer.send(full)).await;
    gate.open();
    within(peer.send(after)).await;
    within(peer.finish()).await;
    let said = within(peer.rest()).await;
    assert!(within(serving).await.expect("no panic").requests.served > 0);
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn line_of_a_dropped_next_is_no_part_of_a_block() {
    let line = "l".repeat(PIPE - 4);
    let full = ["1234", &line].concat();
    let said = tell_impatient("4\n", "abc\n", &full, "\n").await;
    assert_eq!(said, format!("\"1234\" Some(\"{line}\")\n"));
}

#[tokio::test]
async fn line_after_a_block_is_found_where_a_dropped_next_has_searched() {
    let full = "b".repeat(PIPE);
    let after = ["\n", &"y".repeat(PIPE / 2), "\n"].concat();
    let said = tell_impatient("65\n", "a", &full, &after).await;
    let begin = format!("\"a{full}\" Some(\"\")\n");
    assert!(said.starts_with(&begin), "{said}");
}

/// `LENGTH TAKE`: announces a block, takes so much of it, and takes the connection over.
#[server_protocol(framing = Lines, requests = &str)]
async fn switch<'a>(
    line: &'a str,
    mut more: Requests<'a, Switch>,
) -> Result<Response<&'static str, Upgrade<'a>>, String> {
    let (length, take) = line.split_once(' ').ok_or("two numbers")?;
    let number = |text: &str| text.parse::<usize>().map_err(|error| error.to_string());
    let (length, take) = (number(length)?, number(take)?);
    let mut body = more.exactly(length);
    while length - body.rest() < take {
        body.next().await?;
    }
    drop(body);
    Ok(Response::upgrade("ok", async move |mut io: Upgraded| {
        let mut read = tokio::io::BufReader::with_capacity(3, &mut io);
        let mut all = Vec::new();
        tokio::io::copy_buf(&mut read, &mut all)
            .await
            .expect("it ends");
        io.write_all(&all).await.expect("it reads");
    }))
}

#[tokio::test]
async fn rest_of_a_block_is_not_read_by_what_takes_the_connection_over() {
    for (request, first) in [("6 0\n", 6), ("6 2\n", 6), ("0 0\n", 0), ("9 0\n", 9)] {
        let sent = [request, "abcdefghi"].concat();
        for cut in 1..=sent.len() {
            let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Switch), 64);
            within(peer.send(&sent[..cut])).await;
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            within(peer.send(&sent[cut..])).await;
            within(peer.finish()).await;
            let said = within(peer.rest()).await;
            let expected = ["ok\n", &"abcdefghi"[first..]].concat();
            assert_eq!(String::from_utf8_lossy(&said), expected, "{request}{cut}");
            let report = within(serving).await.expect("no panic");
            assert_eq!(report.bytes.received, sent.len() as u64);
        }
    }
}

#[tokio::test]
async fn input_that_ends_within_the_rest_of_a_block_is_empty_after_the_upgrade() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Switch), 64);
    within(peer.send("18446744073709551615 0\nabc")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"ok\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

#[tokio::test]
async fn large_chunks_stay_within_the_memory_budget() {
    let mib = 1 << 20;
    let server = ConcurrentServer::new(Upload)
        .max_frame_len(4 * mib)
        .memory_budget(4 * mib);
    let server = tcs_tests::start_over(tcs_tests::Over::Memory, server).await;
    let (begin, chunk) = ([frame("a"), chunks(1)].concat(), frame(vec![b'x'; 3 * mib]));
    let (most, rest) = chunk.split_at(chunk.len() - 1);
    let mut first = server.peer().await;
    within(first.send([&begin, most].concat())).await;
    let mut second = server.peer().await;
    // The server may have closed.
    within(second.try_send([&begin, most].concat())).await.ok();
    let Heard::Control(kind, text) = within(second.hear()).await else {
        panic!("it is no reply");
    };
    assert_eq!(kind, code::FAILED);
    assert!(text.contains("memory_budget"), "{text}");
    assert_eq!(within(second.hear()).await.kind(), code::GOING_AWAY);
    // The first one has what it needs, also for more.
    within(first.send([rest, &chunks(1), &chunk, &control(0x84, "")].concat())).await;
    let reply = format!("2 {}", 6 * mib);
    assert_eq!(within(first.hear()).await, Heard::message(&reply));
    drop((first, second));
    // It is given back.
    let mut third = server.peer().await;
    within(third.send([&begin, &chunk, &control(0x84, "")[..]].concat())).await;
    let reply = format!("1 {}", 3 * mib);
    assert_eq!(within(third.hear()).await, Heard::message(&reply));
    drop(third);
    server.handle().stop();
    let requests = within(server.finished()).await.requests;
    assert_eq!((requests.served, requests.failed), (2, 1));
}

#[tokio::test]
async fn chunks_that_the_function_does_not_wait_for_yet_stay_chunks() {
    // More than it gets at once.
    let many = [&frame("a")[..], &chunks(600), &frame("b").repeat(600)].concat();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Upload), 1 << 14);
    within(peer.send([many, control(0x84, "")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("600 600"));
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Waits for its gate after each chunk.
#[server_protocol(requests = &[u8])]
async fn slowly(
    name: &str,
    #[state] gates: &Gates,
    mut more: Requests<'_, Slowly>,
) -> Result<String, String> {
    let mut count = 0;
    while more.next().await?.is_some() {
        count += 1;
        gates.of(name).pass().await;
    }
    Ok(format!("{name} {count}"))
}

#[tokio::test]
async fn chunks_that_come_while_the_function_does_something_else_stay_chunks() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Slowly::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send([frame("a"), chunks(4), frame("b")].concat())).await;
    within(gates.reached(&["a"])).await;
    for _ in 0..3 {
        within(peer.send(frame("b"))).await;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
    within(peer.send(control(0x84, ""))).await;
    for _ in 0..4 {
        gates.open("a");
    }
    assert_eq!(within(peer.hear()).await, Heard::message("a 4"));
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Gives up a block after each of its chunks, and joins them.
#[server_protocol(requests = &str)]
async fn between(name: &str, mut more: Requests<'_, Between>) -> Result<String, String> {
    let mut joined = name.to_owned();
    while let Some(chunk) = more.next().await? {
        joined.push_str(chunk);
        let mut body = more.exactly(3);
        if name == "asks " {
            assert!(body.next().await.is_err(), "there is none");
        }
    }
    Ok(joined)
}

#[tokio::test]
async fn block_between_announced_chunks_drops_none_of_their_bytes() {
    for name in ["drops ", "asks "] {
        let parts = [
            frame(name),
            chunks(2),
            frame("b"),
            frame("c"),
            chunks(1),
            frame("d"),
            control(0x84, ""),
        ];
        let reply = Heard::Message([name, "bcd"].concat().into_bytes());
        // Also what has arrived together.
        for parts in [&parts[..], &[parts.concat()]] {
            let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Between), 1 << 10);
            for part in parts {
                within(peer.send(part)).await;
                tokio::task::yield_now().await;
            }
            within(peer.send(frame("next "))).await;
            within(peer.finish()).await;
            assert_eq!(within(peer.hear()).await, reply);
            assert_eq!(within(peer.hear()).await, Heard::message("next "));
            assert_eq!(within(peer.hear()).await, Heard::End);
            assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
        }
    }
}

/// Takes a block before the chunks, and joins all.
#[server_protocol(requests = &str)]
async fn before(length: usize, mut more: Requests<'_, Before>) -> Result<String, String> {
    let mut body = more.exactly(length);
    let mut joined = String::new();
    while let Some(piece) = body.next().await? {
        joined.push_str(&String::from_utf8_lossy(piece));
    }
    drop(body);
    while let Some(chunk) = more.next().await? {
        joined.push_str(chunk);
    }
    Ok(joined)
}

#[tokio::test]
async fn block_before_announced_chunks_is_what_follows_the_request() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Before), 1 << 10);
    let upload = [chunks(1), frame("chunk"), control(0x84, "")].concat();
    within(peer.send([&frame("5")[..], b"bytes", &upload].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("byteschunk"));
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Takes a block, and waits for its gate after each piece.
#[server_protocol(requests = &str)]
async fn pieces(
    length: usize,
    #[state] gates: &Gates,
    mut more: Requests<'_, Pieces>,
) -> Result<String, String> {
    let mut body = more.exactly(length);
    let mut pieces = Vec::new();
    while let Some(piece) = body.next().await? {
        pieces.push(piece.escape_ascii().to_string());
        gates.of("piece").pass().await;
    }
    Ok(pieces.join(" "))
}

#[tokio::test]
async fn block_with_the_bytes_of_a_cancel_is_a_block() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Pieces::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send([&frame("6")[..], b"a"].concat())).await;
    gates.reached(&["piece"]).await;
    within(peer.send(control(0x87, ""))).await;
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    gates.open("piece");
    gates.open("piece");
    let reply = Heard::message(r"a \x80\x00\x00\x01\x87");
    assert_eq!(within(peer.hear()).await, reply);
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Waits for its gate, and then takes a block.
#[server_protocol(requests = &str)]
async fn later(
    length: usize,
    #[state] gates: &Gates,
    mut more: Requests<'_, Later>,
) -> Result<String, String> {
    gates.of("block").pass().await;
    let mut body = more.exactly(length);
    let mut block = Vec::new();
    while let Some(piece) = body.next().await? {
        block.extend_from_slice(piece);
    }
    Ok(block.escape_ascii().to_string())
}

#[tokio::test]
async fn block_with_the_bytes_of_a_cancel_is_a_block_before_the_function_asks_for_it() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Later::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send(frame("5"))).await;
    gates.reached(&["block"]).await;
    within(peer.send(control(0x87, ""))).await;
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    gates.open("block");
    let reply = Heard::message(r"\x80\x00\x00\x01\x87");
    assert_eq!(within(peer.hear()).await, reply);
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// Receives a chunk, until its gate is open.
#[server_protocol(requests = &[u8])]
async fn hold(
    name: &str,
    #[state] gates: &Gates,
    mut more: Requests<'_, Hold>,
) -> Result<String, String> {
    let gate = gates.of(name);
    let length = tokio::select! {
        biased;
        chunk = more.next() => chunk?.map_or(0, <[u8]>::len),
        () = gate.pass() => 0,
    };
    assert_ne!(name, "panic", "on purpose");
    if length == 0 {
        // It does not ask any more.
        gates.of("given up").pass().await;
    }
    Ok(format!("{name} {length}"))
}

#[tokio::test(start_paused = true)]
async fn function_that_gives_up_a_long_chunk_has_no_more_read_ahead() {
    let gates = Gates::default();
    let (mut near, far) = tokio::io::duplex(1 << 10);
    let server = ConcurrentServer::new(Hold::new(gates.clone()));
    let _serving = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
    let chunk = frame("x".repeat(300_000));
    let (arrives, rest) = chunk.split_at(200_000);
    let sent = [&frame("a")[..], &chunks(1), arrives].concat();
    patiently(near.write_all(&sent)).await.expect("it reads");
    gates.open("a");
    gates.reached(&["given up"]).await;
    let sending = near.write_all(rest.get(..10_000).expect("it is longer"));
    let sent = tokio::time::timeout(std::time::Duration::from_secs(1), sending).await;
    assert!(sent.is_err(), "it has read on");
}

#[tokio::test]
async fn requests_behind_one_that_panics_are_processed_also_at_the_end_of_the_input() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Hold::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 14);
    peer.send(frame("a")).await;
    gates.reached(&["a"]).await;
    // These, and the end, are read ahead.
    peer.send([frame("panic"), frame("b")].concat()).await;
    peer.finish().await;
    for name in ["b", "given up", "given up"] {
        gates.open(name);
    }
    assert_eq!(within(peer.hear()).await, Heard::message("a 0"));
    assert_eq!(within(peer.hear()).await.kind(), code::FAILED);
    assert_eq!(within(peer.hear()).await, Heard::message("b 0"));
    assert_eq!(within(peer.hear()).await, Heard::End);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}
