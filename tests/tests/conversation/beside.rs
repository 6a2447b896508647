//! What arrives while functions run: frames that do not complete, notices, and requests that are not called.

use std::{io, time::Duration};

use tcs::{
    ConcurrentServer, Peer, Response,
    framing::{Lines, Multiplexed},
    protocol::{Requests, ServerProtocol},
    server::Report,
    server_protocol,
    transport::{Handshake, Stream},
};
use tcs_tests::{
    Heard, Over, RawPeer, code, control, ended_in_time, frame,
    ids::{control_of, kind::DEADLINE, message_of, receive_frame},
    patiently, serve_in_memory, start_over, within,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::concurrent::{Gates, outcomes};

const LIMIT: Duration = Duration::from_secs(5);
const ALMOST: Duration = Duration::from_secs(4);
const MIB: usize = 1 << 20;

/// Waits at the gate that the first letter names, unless the request is in capitals.
#[server_protocol(concurrent = 4)]
async fn ordered(request: &str, #[state] gates: &Gates) -> String {
    pass(request, gates).await
}

/// The same with ids.
#[server_protocol(framing = Multiplexed)]
async fn identified(request: &str, #[state] gates: &Gates) -> String {
    pass(request, gates).await
}

async fn pass(request: &str, gates: &Gates) -> String {
    let name = request.get(..1).unwrap_or_default();
    if request.starts_with(|first: char| first.is_lowercase()) {
        gates.of(name).pass().await;
    }
    name.to_owned()
}

/// The kind of the next frame, if it is a control frame, and its text.
async fn hear(peer: &mut RawPeer) -> (u32, Option<u8>, String) {
    let (id, kind, text) = patiently(receive_frame(peer)).await;
    (id, kind, String::from_utf8_lossy(&text).into_owned())
}

/// Returns a notice: that many of the next messages are chunks.
fn chunks(count: u32) -> Vec<u8> {
    [&[0x80, 0, 0, 5, 0x83][..], &count.to_be_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn frame_that_arrived_in_time_is_served_also_while_the_server_drains() {
    // The read buffer takes the second one in several steps.
    for length in [1, 40 << 10] {
        let gates = Gates::default();
        let server = ConcurrentServer::new(Ordered::new(gates.clone())).frame_timeout(LIMIT);
        let server = start_over(Over::Memory, server).await;
        let mut peer = server.peer().await;
        let late = frame("B".repeat(length));
        let (first, rest) = late.split_at(2);
        patiently(peer.send([&*frame("a"), first].concat())).await;
        gates.reached(&["a"]).await;
        server.handle().stop();
        patiently(peer.send(rest)).await;
        sleep(LIMIT + Duration::from_secs(1)).await;
        gates.open("a");
        for reply in ["a", "B"] {
            assert_eq!(patiently(peer.hear()).await, Heard::message(reply));
        }
        drop(peer);
        let report = patiently(server.finished()).await;
        assert_eq!(outcomes(&report), [2, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn frame_that_does_not_complete_ends_the_connection_after_the_replies() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Ordered::new(gates.clone())).frame_timeout(LIMIT);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send(frame("a"))).await;
    gates.reached(&["a"]).await;
    // A complete frame ends the time of its first byte.
    patiently(peer.send(b"\0")).await;
    sleep(ALMOST).await;
    patiently(peer.send(b"\0\0\x01B\0")).await;
    sleep(LIMIT + Duration::from_secs(1)).await;
    // This is not read any more.
    patiently(peer.send(b"\0\0\x01C")).await;
    gates.open("a");
    for reply in ["a", "B"] {
        assert_eq!(patiently(peer.hear()).await, Heard::message(reply));
    }
    let text = "the frame was not complete after 5s (`frame_timeout`)";
    let ended = Heard::Control(code::IDLE, text.to_owned());
    assert_eq!(patiently(peer.hear()).await, ended);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn frame_with_an_id_that_does_not_complete_ends_the_connection_after_the_replies() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Identified::new(gates.clone())).frame_timeout(LIMIT);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send([message_of(1, "a"), message_of(2, "b")].concat())).await;
    gates.reached(&["a", "b"]).await;
    patiently(peer.send(message_of(3, "C").split_last().expect("it has bytes").1)).await;
    sleep(LIMIT + Duration::from_secs(1)).await;
    let began = Instant::now();
    for (id, name) in [(2, "b"), (1, "a")] {
        gates.open(name);
        assert_eq!(hear(&mut peer).await, (id, None, name.to_owned()));
    }
    let text = "the frame was not complete after 5s (`frame_timeout`)";
    assert_eq!(
        hear(&mut peer).await,
        (0, Some(code::IDLE), text.to_owned())
    );
    ended_in_time(began, Duration::ZERO);
    assert!(patiently(peer.rest()).await.is_empty());
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn memory_of_a_frame_that_does_not_complete_is_free_while_functions_run() {
    const LENGTH: usize = 3 * MIB / 2;
    let gates = Gates::default();
    let server = ConcurrentServer::new(Identified::new(gates.clone())).memory_budget(2 * MIB);
    let server = start_over(Over::Memory, server).await;
    let mut slow = server.peer().await;
    patiently(slow.send(message_of(1, "a"))).await;
    gates.reached(&["a"]).await;
    let cut = message_of(2, "B".repeat(LENGTH));
    patiently(slow.send(&cut[..LENGTH])).await;
    let mut other = server.peer().await;
    // In less than the `frame_timeout` of the frame, because another waits for its memory.
    let sent = timeout(LIMIT, other.send(message_of(1, "C".repeat(LENGTH))));
    sent.await.expect("there is memory for it");
    assert_eq!(hear(&mut other).await, (1, None, "C".to_owned()));
    gates.open("a");
    assert_eq!(hear(&mut slow).await, (1, None, "a".to_owned()));
    let text = "the memory for large frames is in use (`memory_budget`)";
    let ended = (0, Some(code::GOING_AWAY), text.to_owned());
    assert_eq!(hear(&mut slow).await, ended);
}

/// Joins chunks.
#[server_protocol(requests = &str)]
async fn upload(_name: &str, mut more: Requests<'_, Upload>) -> Result<String, String> {
    let mut joined = String::new();
    while let Some(chunk) = more.next().await? {
        joined.push_str(chunk);
    }
    Ok(joined)
}

/// The only request times out `LIMIT` after `began`, for this reason, and the connection ends.
async fn times_out(mut peer: RawPeer, serving: JoinHandle<Report>, began: Instant, text: &str) {
    let ended = Heard::Control(code::TIMED_OUT, text.to_owned());
    assert_eq!(patiently(peer.hear()).await, ended);
    ended_in_time(began, LIMIT);
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn chunk_that_does_not_complete_ends_its_function() {
    let server = ConcurrentServer::new(Upload).frame_timeout(LIMIT);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    // The time of the request is not that of the chunk.
    patiently(peer.send(b"\0")).await;
    sleep(ALMOST).await;
    patiently(peer.send([&b"\0\0\x01a"[..], &chunks(3), b"\0\0\0\x02b"].concat())).await;
    sleep(ALMOST).await;
    let began = Instant::now();
    patiently(peer.send(b"c\0\0")).await;
    let text = "the chunk was not complete after 5s (`frame_timeout`)";
    times_out(peer, serving, began, text).await;
}

#[tokio::test(start_paused = true)]
async fn peer_is_told_the_time_that_a_chunk_had_with_its_bytes() {
    let server = ConcurrentServer::new(Upload).frame_timeout(LIMIT);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 20);
    let part = [&b"\0\x10\0\0"[..], &vec![b'b'; 3 << 16]].concat();
    patiently(peer.send([frame("a"), chunks(1), part].concat())).await;
    // And the four bytes of its length.
    let text = "the chunk was not complete after 8s (`frame_timeout`)";
    let ended = Heard::Control(code::TIMED_OUT, text.to_owned());
    assert_eq!(patiently(peer.hear()).await, ended);
}

#[tokio::test(start_paused = true)]
async fn chunk_that_has_not_begun_has_no_frame_timeout() {
    let server = ConcurrentServer::new(Upload).frame_timeout(LIMIT);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send([frame("a"), chunks(2), frame("b")].concat())).await;
    sleep(3 * LIMIT).await;
    patiently(peer.send([frame("c"), control(0x84, "")].concat())).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("bc"));
}

#[tokio::test(start_paused = true)]
async fn upload_ends_if_its_peer_is_silent() {
    // Without chunks, after one, after a part of one that came in time, and with notices, which are no messages.
    for sent in [
        vec![frame("a")],
        vec![[frame("a"), chunks(9), frame("b")].concat()],
        vec![
            [frame("a"), chunks(9), b"\0\0".to_vec()].concat(),
            b"\0\x01b".to_vec(),
        ],
        vec![[frame("a"), chunks(9)].concat(), control(0x80, "")],
    ] {
        let server = ConcurrentServer::new(Upload).idle_timeout(LIMIT);
        let (mut peer, serving) = serve_in_memory(server, 1 << 10);
        let is_notice = sent.last() == Some(&control(0x80, ""));
        let mut began = Instant::now();
        for (i, bytes) in sent.iter().enumerate() {
            if i > 0 {
                sleep(ALMOST).await;
                began = if is_notice { began } else { Instant::now() };
            }
            patiently(peer.send(bytes)).await;
        }
        let text = "no chunk of the request arrived within 5s (`idle_timeout`)";
        times_out(peer, serving, began, text).await;
    }
}

/// Stops waiting for a chunk, and works on.
#[server_protocol(requests = &str)]
async fn impatient(_name: &str, mut more: Requests<'_, Impatient>) -> Result<&'static str, String> {
    tokio::select! {
        chunk = more.next() => drop(chunk?),
        () = sleep(LIMIT / 2) => {}
    }
    sleep(3 * LIMIT).await;
    Ok("done")
}

#[tokio::test(start_paused = true)]
async fn function_that_has_stopped_waiting_for_a_chunk_has_no_idle_time() {
    let server = ConcurrentServer::new(Impatient).idle_timeout(LIMIT);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send(frame("a"))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("done"));
}

#[tokio::test(start_paused = true)]
async fn upload_goes_on_as_long_as_its_chunks_come() {
    let server = ConcurrentServer::new(Upload).idle_timeout(LIMIT);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send([frame("a"), chunks(9)].concat())).await;
    for _ in 0..3 {
        sleep(ALMOST).await;
        // A byte begins the chunk, which then has the time of a frame.
        patiently(peer.send(b"\0")).await;
        sleep(2 * LIMIT).await;
        patiently(peer.send(b"\0\0\x01b")).await;
    }
    patiently(peer.send(control(0x84, ""))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("bbb"));
}

#[tokio::test(start_paused = true)]
async fn notice_beside_a_function_starts_no_idle_time() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Ordered::new(gates.clone())).idle_timeout(LIMIT);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send([frame("a"), control(0x80, "")].concat())).await;
    sleep(2 * LIMIT).await;
    gates.open("a");
    assert_eq!(patiently(peer.hear()).await, Heard::message("a"));
    sleep(LIMIT / 2).await;
    patiently(peer.send(frame("B"))).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("B"));
}

#[tokio::test(start_paused = true)]
async fn request_whose_deadline_ends_before_it_has_a_place_is_busy() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Identified::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    // As many as run at the same time.
    for id in 1..=128 {
        patiently(peer.send(message_of(id, if id == 1 { "a" } else { "b" }))).await;
    }
    gates.reached(&["a", "b"]).await;
    let late = control_of(200, DEADLINE, 1_000_u32.to_be_bytes());
    patiently(peer.send([late, message_of(200, "C")].concat())).await;
    sleep(LIMIT).await;
    gates.open("a");
    assert_eq!(hear(&mut peer).await, (1, None, "a".to_owned()));
    let (id, kind, text) = hear(&mut peer).await;
    assert_eq!((id, kind), (200, Some(code::BUSY)));
    assert!(text.contains("deadline"), "{text}");
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 0, 1, 127]);
}

/// Would start TLS.
#[server_protocol(framing = Multiplexed)]
async fn secure(_request: &str) -> Response<&'static str> {
    Response::StartTls("go")
}

/// The same, one after the other.
#[server_protocol(framing = Multiplexed)]
fn secure_now(_request: &str) -> Response<&'static str> {
    Response::StartTls("go")
}

#[tokio::test]
async fn tls_does_not_start_before_requests_with_ids_that_have_arrived() {
    does_not_start(|| Secure).await;
    does_not_start(|| SecureNow).await;
}

/// A handshake that does nothing.
struct NoTls;

impl Handshake for NoTls {
    async fn perform(&self, stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        Ok(stream)
    }
}

async fn does_not_start<P: ServerProtocol>(protocol: fn() -> P) {
    let next = message_of(2, "next");
    for behind in [&next[..], &next[..3]] {
        let server = ConcurrentServer::new(protocol()).start_tls(NoTls);
        let (mut peer, serving) = serve_in_memory(server, 1 << 10);
        within(peer.send([&message_of(1, "tls"), behind].concat())).await;
        let text = "TLS cannot start beside other requests";
        assert_eq!(
            hear(&mut peer).await,
            (1, Some(code::FAILED), text.to_owned())
        );
        // It says that the next one was not executed.
        let (id, kind, _) = hear(&mut peer).await;
        assert_eq!((id, kind), (0, Some(code::GOING_AWAY)));
        assert!(within(peer.rest()).await.is_empty());
        drop(peer);
        let report = within(serving).await.expect("no panic");
        assert_eq!(outcomes(&report), [0, 1, 0, 0]);
    }
}

/// Receives a chunk, and then a block.
#[server_protocol(requests = &str)]
async fn mixed(_name: &str, mut more: Requests<'_, Mixed>) -> Result<String, String> {
    more.next().await?;
    let mut body = more.exactly(5);
    while body.next().await?.is_some() {}
    Ok("a block".to_owned())
}

#[tokio::test]
async fn block_behind_chunks_that_are_announced_is_an_error() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Mixed), 1 << 10);
    let upload = [frame("a"), chunks(3), frame("b"), frame("c"), frame("d")].concat();
    within(peer.send([upload.clone(), control(0x84, ""), frame("f")].concat())).await;
    has_no_block(&mut peer).await;
    // The second one has no chunks, and the third has more to come.
    within(peer.send(upload)).await;
    for _ in 0..2 {
        has_no_block(&mut peer).await;
    }
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 3);
}

async fn has_no_block(peer: &mut RawPeer) {
    let Heard::Control(kind, text) = within(peer.hear()).await else {
        panic!("bytes between frames are taken for a block");
    };
    assert_eq!(kind, code::ERROR);
    assert!(text.contains("block"), "{text}");
}

/// The same with lines, where a block may follow.
#[server_protocol(framing = Lines, requests = &str)]
async fn block(_name: &str, mut more: Requests<'_, Block>) -> Result<String, String> {
    let line = more.next().await?.map(str::to_owned);
    let mut body = more.exactly(1);
    let piece = body.next().await?;
    Ok(format!("{line:?} {piece:?}"))
}

#[tokio::test]
async fn block_after_the_end_of_the_input_is_an_error() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Block), 1 << 10);
    within(peer.send("a\n")).await;
    within(peer.finish()).await;
    let said = within(peer.rest()).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("before the block"), "{said}");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}
