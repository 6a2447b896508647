//! Requests of many messages.

use std::time::Duration;

use tcs::{
    ConcurrentServer,
    format::Json,
    framing::{CrlfLines, Lines},
    protocol::Requests,
    server_protocol,
};
use tcs_tests::{
    Gate, Heard, Over, code, control, ended_in_time, frame, gate, over_each, patiently,
    serve_in_memory, start_over, within,
};
use tokio::{io::AsyncWriteExt as _, time::Instant};

over_each!(
    chunks_of_a_request_are_received_until_their_end,
    ten_megabytes_pass,
);

/// A notice: the next messages are chunks.
fn chunks(count: u32) -> Vec<u8> {
    notice(0x83, count)
}

fn end() -> Vec<u8> {
    control(0x84, "")
}

fn notice(kind: u8, count: u32) -> Vec<u8> {
    [&[0x80, 0, 0, 5, kind][..], &count.to_be_bytes()].concat()
}

/// A request with these chunks, and their end.
fn with_chunks(request: &str, messages: &[&str]) -> Vec<u8> {
    let count = u32::try_from(messages.len()).expect("tests are small");
    let messages = messages.iter().flat_map(frame);
    [frame(request), chunks(count), messages.collect(), end()].concat()
}

/// Joins chunks, as many as the request says, or all.
#[server_protocol(requests = &str)]
async fn join(
    request: &str,
    #[state] gate: &Gate,
    mut more: Requests<'_, Join>,
) -> Result<String, String> {
    let mut joined = request.to_owned();
    let most = match request.split_once(' ') {
        Some(("take", count)) => count.parse().map_err(|_| "no number")?,
        Some(("gate", _)) => {
            gate.pass().await;
            usize::MAX
        }
        _ => usize::MAX,
    };
    for _ in 0..most {
        let Some(chunk) = more.next().await? else {
            joined.push('.');
            break;
        };
        joined.push('|');
        joined.push_str(chunk);
    }
    Ok(joined)
}

fn protocol() -> Join {
    Join::new(gate())
}

async fn chunks_of_a_request_are_received_until_their_end(over: Over) {
    let server = start_over(over, ConcurrentServer::new(protocol())).await;
    let mut peer = server.peer().await;
    let sent = [
        with_chunks("a", &["b", "", "c"]),
        with_chunks("d", &[]),
        // In several parts, and the next request ends them as well.
        [
            frame("e"),
            chunks(1),
            frame("f"),
            chunks(2),
            frame("g"),
            frame("h"),
        ]
        .concat(),
        frame("i"),
    ];
    within(peer.send(sent.concat())).await;
    for reply in ["a|b||c.", "d.", "e|f|g|h."] {
        assert_eq!(within(peer.hear()).await, Heard::message(reply));
    }
    // The end of the input, too.
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::message("i."));
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.received), (4, 4));
}

#[tokio::test]
async fn chunks_are_received_wherever_their_bytes_are_cut() {
    let sent = [
        with_chunks("a", &["bc", ""]),
        with_chunks("take 1", &["x", "y"]),
        frame("last"),
    ]
    .concat();
    for cut in 1..sent.len() {
        let (first, second) = sent.split_at(cut);
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol()), 1 << 10);
        within(peer.send(first)).await;
        // The server takes what there is.
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        within(peer.send(second)).await;
        within(peer.finish()).await;
        for reply in ["a|bc|.", "take 1|x", "last."] {
            assert_eq!(within(peer.hear()).await, Heard::message(reply), "{cut}");
        }
        assert_eq!(within(peer.hear()).await, Heard::End);
        let report = within(serving).await.expect("no panic");
        assert_eq!((report.requests.served, report.requests.received), (3, 3));
        assert_eq!(report.bytes.received, sent.len() as u64, "{cut}");
    }
}

#[tokio::test]
async fn chunks_are_received_byte_by_byte() {
    let sent = [
        with_chunks("a", &["bc", "d"]),
        with_chunks("take 0", &["x", "y"]),
        with_chunks("e", &["f"]),
    ];
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol()), 1 << 10);
    for byte in sent.concat() {
        within(peer.send([byte])).await;
        tokio::task::yield_now().await;
    }
    for reply in ["a|bc|d.", "take 0", "e|f."] {
        assert_eq!(within(peer.hear()).await, Heard::message(reply));
    }
    within(peer.finish()).await;
    assert_eq!(within(serving).await.expect("no panic").requests.served, 3);
}

#[tokio::test]
async fn chunks_that_come_after_the_reply_are_skipped() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol()), 1 << 10);
    let begin = [frame("take 1"), chunks(2), frame("x")].concat();
    within(peer.send(begin)).await;
    assert_eq!(within(peer.hear()).await, Heard::message("take 1|x"));
    let rest = [
        frame("y"),
        chunks(1),
        frame("z"),
        end(),
        with_chunks("a", &["b"]),
    ];
    within(peer.send(rest.concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("a|b."));
    within(peer.finish()).await;
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}

#[tokio::test]
async fn input_that_ends_within_a_chunk_is_an_error() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol()), 1 << 10);
    within(peer.send([frame("a"), chunks(2), frame("b"), vec![0, 0, 0, 9, 1]].concat())).await;
    within(peer.finish()).await;
    let Heard::Control(kind, text) = within(peer.hear()).await else {
        panic!("it is no reply");
    };
    assert_eq!(kind, code::ERROR);
    assert!(text.starts_with("a chunk of the request: "), "{text}");
    assert_eq!(within(peer.hear()).await, Heard::End);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!(requests.received, 1);
}

#[tokio::test]
async fn line_that_the_end_of_the_input_cuts_is_no_request_after_the_chunks() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Escaped), 1 << 10);
    within(peer.send(b"2\n\"a\"\n\"b")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"\"a,error\"\n");
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.received, requests.served), (1, 1));
}

#[tokio::test]
async fn chunk_that_is_too_large_is_an_error() {
    let server = ConcurrentServer::new(protocol()).max_frame_len(10);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    within(peer.send(with_chunks("a", &["12345678901"]))).await;
    let Heard::Control(kind, text) = within(peer.hear()).await else {
        panic!("it is no reply");
    };
    assert_eq!(kind, code::ERROR);
    assert!(text.contains("max_frame_len"), "{text}");
    // What follows cannot be told.
    assert_eq!(within(peer.hear()).await.kind(), code::PROTOCOL_ERROR);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.received, requests.rejected), (2, 1));
}

#[tokio::test]
async fn chunk_may_be_as_long_as_a_request() {
    let long = "x".repeat(1 << 20);
    let sent = [with_chunks("a", &[&long, "b"]), with_chunks("c", &["d"])].concat();
    let expected = [frame(format!("a|{long}|b.")), frame("c|d.")].concat();
    // Piece by piece, and all at once.
    for pipe in [1 << 10, 4 << 20] {
        let server = ConcurrentServer::new(protocol()).max_frame_len(3 << 20);
        let (mut peer, serving) = serve_in_memory(server, pipe);
        let said = within(peer.send_and_receive(&sent, expected.len())).await;
        assert!(said == expected);
        within(peer.finish()).await;
        assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn peer_waits_while_the_function_does_not_ask() {
    let gate = gate();
    let (near, far) = tokio::io::duplex(1 << 10);
    let server = ConcurrentServer::new(Join::new(gate.clone()));
    let serving = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
    let (mut reading, mut writing) = tokio::io::split(near);
    let begin = [frame("gate 1"), chunks(1000)].concat();
    patiently(writing.write_all(&begin))
        .await
        .expect("it reads");
    patiently(gate.reached()).await;
    let chunk = frame("x".repeat(1000));
    let mut sent = 0;
    let second = Duration::from_secs(1);
    while tokio::time::timeout(second, writing.write_all(&chunk))
        .await
        .is_ok()
    {
        sent += chunk.len();
    }
    // What is read ahead, and the pipe.
    assert!((50_000..70_000).contains(&sent), "{sent}");
    gate.open();
    // The rest of the chunk that was written in part is not known, so the connection ends.
    patiently(writing.shutdown()).await.expect("it is open");
    patiently(tokio::io::copy(&mut reading, &mut tokio::io::sink()))
        .await
        .expect("no reset");
    drop(patiently(serving).await.expect("no panic"));
}

#[tokio::test(start_paused = true)]
async fn request_timeout_counts_from_the_last_chunk() {
    let minute = Duration::from_mins(1);
    let server = ConcurrentServer::new(protocol()).request_timeout(minute);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send([frame("a"), chunks(9)].concat())).await;
    let began = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(59)).await;
        patiently(peer.send(frame("b"))).await;
    }
    assert_eq!(patiently(peer.hear()).await.kind(), code::TIMED_OUT);
    ended_in_time(began, 5 * Duration::from_secs(59) + minute);
    drop(peer);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.failed,
        1
    );
}

/// Counts the bytes of its chunks.
#[server_protocol(requests = &[u8])]
async fn measure(_request: &str, mut more: Requests<'_, Measure>) -> Result<u64, String> {
    let mut sum = 0;
    while let Some(chunk) = more.next().await? {
        sum += chunk.len() as u64;
    }
    Ok(sum)
}

async fn ten_megabytes_pass(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Measure)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame("go"))).await;
    let part = [chunks(10), frame(vec![b'x'; 10_000]).repeat(10)].concat();
    for _ in 0..100 {
        within(peer.send(&part)).await;
    }
    within(peer.send([end(), with_chunks("again", &["123"])].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("10000000"));
    assert_eq!(within(peer.hear()).await, Heard::message("3"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// A part of SMTP: the lines of a mail end with a dot.
#[server_protocol(framing = CrlfLines, requests = &str)]
async fn mail(line: &str, mut more: Requests<'_, Mail>) -> Result<String, String> {
    if line != "DATA" {
        return Ok(format!("250 {line}"));
    }
    let mut lines = 0;
    loop {
        match more.next().await? {
            Some(".") => return Ok(format!("250 {lines} lines")),
            Some(_) => lines += 1,
            None => return Ok("451 it ended".to_owned()),
        }
    }
}

#[tokio::test]
async fn messages_of_a_framing_without_notices_are_further_ones_while_the_function_asks() {
    let sent = b"NOOP\r\nDATA\r\na\r\nb\r\n.\r\nDATA\r\n.\r\nQUIT\r\nDATA\r\nc\r\n";
    let said = b"250 NOOP\r\n250 2 lines\r\n250 0 lines\r\n250 QUIT\r\n451 it ended\r\n";
    for cut in 1..sent.len() {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Mail), 1 << 10);
        within(peer.send(&sent[..cut])).await;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        within(peer.send(&sent[cut..])).await;
        within(peer.finish()).await;
        let heard = within(peer.rest()).await;
        assert_eq!(
            String::from_utf8_lossy(&heard),
            String::from_utf8_lossy(said),
            "{cut}"
        );
        assert_eq!(within(serving).await.expect("no panic").requests.served, 5);
    }
}

/// A part of memcached: `set LENGTH TAKE`, and a block of which that many pieces are taken; `panic` takes none.
#[server_protocol(framing = CrlfLines, reject_with = said, requests = &str)]
async fn cache(line: &str, mut more: Requests<'_, Cache>) -> Result<String, String> {
    let mut words = line.split(' ');
    let command = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
    let (Some(length), Some(most)) = (number(), number()) else {
        return Ok(format!("{command}?"));
    };
    let mut body = more.exactly(length + 2);
    assert!(command != "panic", "on purpose");
    let mut block = Vec::new();
    for _ in 0..most {
        let Some(piece) = body.next().await? else {
            break;
        };
        assert!(piece.len() <= 64 << 10, "memory is bounded");
        block.extend_from_slice(piece);
    }
    let rest = body.rest();
    drop(body);
    if command == "line" {
        let next = more.next().await?;
        return Ok(format!("{next:?}"));
    }
    if rest > 0 {
        return Ok("TOO LARGE".to_owned());
    }
    Ok(format!(
        "STORED {} {}",
        block.trim_ascii_end().len(),
        block[0]
    ))
}

fn said(rejection: &tcs::Rejection) -> String {
    match rejection.kind() {
        tcs::RejectionKind::Failed => "failed".to_owned(),
        _ => rejection.text().to_owned(),
    }
}

#[tokio::test]
async fn block_behind_a_line_is_received_wherever_it_is_cut() {
    let sent = b"set 5 9\r\n\r\nabc\r\nget\r\nset 3 0\r\nxyz\r\nget\r\nline 2 0\r\nab\r\nc\r\npanic 2 0\r\n\r\n\r\nget\r\n";
    let said = "STORED 5 13\r\nget?\r\nTOO LARGE\r\nget?\r\nSome(\"c\")\r\nfailed\r\nget?\r\n";
    for cut in 1..sent.len() {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Cache), 1 << 10);
        within(peer.send(&sent[..cut])).await;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        within(peer.send(&sent[cut..])).await;
        within(peer.finish()).await;
        let heard = within(peer.rest()).await;
        assert_eq!(String::from_utf8_lossy(&heard), said, "{cut}");
        let requests = within(serving).await.expect("no panic").requests;
        assert_eq!((requests.served, requests.failed), (6, 1));
    }
}

#[tokio::test]
async fn large_block_is_received_in_pieces_and_skipped() {
    for most in [0, 1, 2, usize::MAX] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Cache), 1 << 10);
        let block = vec![b'y'; 300_000];
        let line = format!("set 300000 {most}\r\n");
        let sent = [line.as_bytes(), &block, b"\r\nget\r\n"].concat();
        within(peer.send(sent)).await;
        within(peer.finish()).await;
        let said = within(peer.rest()).await;
        let expected: &[u8] = match most {
            usize::MAX => b"STORED 300000 121\r\nget?\r\n",
            _ => b"TOO LARGE\r\nget?\r\n",
        };
        assert_eq!(said, expected);
        assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
    }
}

#[tokio::test]
async fn input_that_ends_within_a_block_is_an_error() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Cache), 1 << 10);
    within(peer.send(b"set 5 9\r\nab")).await;
    within(peer.finish()).await;
    let said = String::from_utf8(within(peer.rest()).await).expect("text");
    assert!(said.starts_with("a chunk of the request: "), "{said}");
    assert_eq!(
        within(serving).await.expect("no panic").requests.received,
        1
    );
}

/// Chunks that are decoded with text of their own.
#[server_protocol(framing = Lines, format = Json, requests = &str)]
async fn escaped(count: usize, mut more: Requests<'_, Escaped>) -> String {
    let mut all = Vec::new();
    for _ in 0..count {
        match more.next().await {
            Ok(Some(text)) => all.push(text.to_owned()),
            Ok(None) => all.push("end".to_owned()),
            Err(_) => all.push("error".to_owned()),
        }
    }
    all.join(",")
}

#[tokio::test]
async fn chunk_that_cannot_be_decoded_is_followed_by_the_next_one() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Escaped), 1 << 10);
    within(peer.send("4\n\"a\\tb\"\n7\n\"c\"\n\"d\"\n1\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"\"a\\tb,error,c,d\"\n\"end\"\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}
