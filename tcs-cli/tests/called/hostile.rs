//! Servers that send garbage, close, reset and stall.

use tcs_tests::{
    ids::{announced_of, kind, message_of},
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Ran, fails, listening, printed, ran, ran_with, scripted, tcs};

#[tokio::test]
async fn garbage_is_a_protocol_error_that_says_what_to_do() {
    for (script, framing, said) in [
        (
            r"send-bytes 220 ready\r\n",
            "length-prefixed",
            "try --framing crlf-text",
        ),
        (
            r"send-bytes HTTP/1.1 400 Bad Request\r\n",
            "length-prefixed",
            "speaks HTTP",
        ),
        (
            r"send-bytes \x15\x03\x03\x00\x02\x02\x28",
            "length-prefixed",
            "add --tls",
        ),
        ("send-bytes SSH-2.0-x", "length-prefixed", "speaks SSH"),
        (
            r"send-bytes \xff\xff\xff\xff\xff",
            "length-prefixed",
            "--framing verbatim --hex",
        ),
        (
            r"send-bytes \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "varint",
            "not of the framing",
        ),
        (
            r"send-bytes \x00\x00\x00\x09half",
            "length-prefixed",
            "in the middle of a frame",
        ),
        (r"send-bytes -1:x,", "netstrings", "not of the framing"),
    ] {
        let peer = scripted(&format!("{script}\nclose"), &[]).await;
        let ran = ran(&["call", &peer.address, "-f", framing, "x"]).await;
        fails(&ran, 5, said);
        peer.followed().await;
    }
    let peer = scripted("expect-any\nsend-bytes \\x1b[2J\\xff\\n", &["-f", "lines"]).await;
    let ran = ran(&[
        "call",
        &peer.address,
        "-f",
        "lines",
        "--format",
        "json",
        "1",
    ])
    .await;
    fails(&ran, 5, "the reply `\\u{1b}[2J\\xff` is not of the format");
    peer.followed().await;
}

#[tokio::test]
async fn early_end_is_told() {
    let peer = scripted("expect Ann\nclose", &[]).await;
    fails(
        &ran(&["call", &peer.address, "Ann"]).await,
        6,
        "without a reply\n  it may speak another framing",
    );
    peer.followed().await;

    let peer = scripted("expect Ann\nreset", &[]).await;
    fails(
        &ran(&["call", &peer.address, "Ann"]).await,
        6,
        "the connection has ended: Connection reset",
    );
    peer.followed().await;

    let peer = scripted("expect a\nsend A\nexpect b\nclose", &["-f", "lines"]).await;
    let ran = ran_with(&["call", &peer.address, "-f", "lines"], b"a\nb\nc\n").await;
    assert_eq!(ran.stdout, ["A"]);
    fails(
        &ran,
        6,
        "without a reply\n  it may not understand the request",
    );
    peer.followed().await;
}

#[tokio::test]
async fn stall_ends_at_the_limit() {
    let peer = scripted("expect Ann\nsend-bytes \\x00\\x00\nstall", &[]).await;
    let ran = ran(&["call", &peer.address, "--timeout", "100ms", "Ann"]).await;
    fails(&ran, 4, "no reply within 100ms\n  raise --timeout");
    peer.followed().await;

    // It neither reads nor says anything, and the request fills all buffers.
    let peer = scripted("stall 2s", &[]).await;
    let request = "x".repeat(100_000);
    let arguments = [
        "call",
        &peer.address,
        "--timeout",
        "200ms",
        "--repeat",
        "300",
        "--pipeline",
        "300",
        &request,
    ];
    fails(
        &crate::ran(&arguments).await,
        4,
        "no reply to request 1 within 200ms",
    );
    peer.followed().await;
}

#[tokio::test]
async fn what_comes_unasked_does_no_harm() {
    let script = "send hello\nevent news\nexpect a\nevent more\nitem one\nsend A\nevent late";
    let peer = scripted(script, &[]).await;
    let arguments = ["call", &peer.address, "--greeting", "--follow", "a"];
    let lines = printed(ran(&arguments).await);
    assert_eq!(
        lines,
        [
            "hello",
            "event: news",
            "event: more",
            "item: one",
            "A",
            "event: late"
        ]
    );
    peer.followed().await;

    let peer = scripted("expect a\nsend 0123456789", &["-f", "netstrings"]).await;
    let ran = ran(&[
        "call",
        &peer.address,
        "-f",
        "netstrings",
        "--max-len",
        "9",
        "a",
    ])
    .await;
    fails(&ran, 5, "exceed");
    peer.followed().await;
}

/// A part of the reply to the request `id`, with `Multiplexed`.
fn part(id: u8, bytes: &str) -> String {
    let length = bytes.len() / 2;
    format!(
        "send-bytes-hex 80000005 000000{id:02x} 85 00000001 {length:08x} 000000{id:02x} {bytes}\n"
    )
}

#[tokio::test]
async fn parts_are_joined_up_to_the_limit() {
    let call = async |script: &str, requests: &'static [u8]| {
        let peer = scripted(script, &["-f", "multiplexed"]).await;
        let options = ["-f", "multiplexed", "--max-len", "9", "--pipeline", "2"];
        let arguments = [&["call", &peer.address][..], &options].concat();
        let ran = ran_with(&arguments, requests).await;
        drop(peer);
        ran
    };
    let halves = format!("expect a\n{}send cd", part(1, "6162"));
    assert_eq!(printed(call(&halves, b"a\n").await), ["abcd"]);

    // Each part is within the limit, and their sum is not.
    let endless = format!("expect a\n{}send 0123456789", part(1, "616263646566"));
    fails(&call(&endless, b"a\n").await, 5, "raise --max-len");
    let endless = format!("expect a\n{}stall", part(1, "616263646566").repeat(2));
    fails(&call(&endless, b"a\n").await, 5, "raise --max-len");

    // What belongs to no request is not kept.
    let foreign = format!("expect a\n{}send ok", part(7, "616263646566").repeat(3));
    assert_eq!(printed(call(&foreign, b"a\n").await), ["ok"]);
}

#[tokio::test]
async fn requests_without_replies_are_sent_at_once() {
    let (listener, address) = listening().await;
    let process = tcs(&[
        "call",
        &address,
        "--replies",
        "0",
        "--repeat",
        "9000000000",
        "x",
    ]);
    let (mut server, _) = within(listener.accept()).await.expect("it connects");
    // Pings fill what takes them, unless they are read.
    let ping = [b"\x80\0\x10\0\x80".to_vec(), vec![b' '; 4095]].concat();
    within(server.write_all(&ping.repeat(4096)))
        .await
        .expect("it reads");
    let mut bytes = vec![0; 3 << 20];
    within(server.read_exact(&mut bytes))
        .await
        .expect("it sends");
    assert!(bytes.starts_with(b"\0\0\0\x01x"));
    drop(server);
    fails(
        &process.finished().await.into(),
        6,
        "the connection has ended",
    );
}

#[tokio::test]
async fn items_give_no_more_time_to_another_request() {
    let (listener, address) = listening().await;
    let options = [
        "-f",
        "multiplexed",
        "--repeat",
        "2",
        "--pipeline",
        "2",
        "--timeout",
        "1s",
    ];
    let arguments = [&["call", &address][..], &options, &["x"]].concat();
    for (silent, streaming) in [(1, 2), (2, 1)] {
        let process = tcs(&arguments);
        let (mut server, _) = within(listener.accept()).await.expect("it connects");
        let item = announced_of(streaming, kind::ITEMS, "item");
        let sending = async {
            // Until it has gone.
            while server.write_all(&item).await.is_ok() {}
        };
        let (ran, ()) = within(async { tokio::join!(process.finished(), sending) }).await;
        let said = format!("no reply to request {silent} within 1s");
        fails(&ran.into(), 4, &said);
    }
}

/// Runs `tcs describe` with these options, and sends `bytes` again and again until it has gone.
async fn described(options: &[&str], bytes: Vec<u8>) -> Ran {
    let (listener, address) = listening().await;
    let process = tcs(&[&["describe", &address], options].concat());
    let (mut server, _) = within(listener.accept()).await.expect("it connects");
    let sending = async { while server.write_all(&bytes).await.is_ok() {} };
    let (ran, ()) = within(async { tokio::join!(process.finished(), sending) }).await;
    ran.into()
}

#[tokio::test]
async fn endless_description_is_not_kept() {
    let zeros = vec![0; 1 << 16];
    let announced = [&(16_u32 << 20).to_be_bytes()[..], &zeros].concat();
    let is_too_long = "the description is longer than 8388608 bytes\n  it is something else";
    fails(&described(&[], announced).await, 5, is_too_long);
    // A reply in parts, each of which is within the limit, and a line.
    let line = described(&["-f", "lines"], zeros.clone()).await;
    fails(&line, 5, "bytes exceeds the limit of 8388608 bytes\n");
    let parts = announced_of(u32::MAX, kind::PARTS, &zeros);
    fails(
        &described(&["-f", "multiplexed"], parts).await,
        5,
        is_too_long,
    );

    // What is no description, for as long as it waits for one.
    for (framing, bytes) in [
        ("multiplexed", announced_of(7, kind::PARTS, &zeros)),
        ("multiplexed", announced_of(0, kind::EVENTS, &zeros)),
        ("multiplexed", message_of(7, &zeros)),
        ("length-prefixed", b"\x80\0\0\x02\x80 ".repeat(1_000)),
    ] {
        let options = ["-f", framing, "--timeout", "300ms"];
        let late = "no description within 300ms";
        fails(&described(&options, bytes).await, 4, late);
    }
}

#[tokio::test]
async fn nested_description_is_none() {
    let nested = |depth| [vec![0x91; depth], vec![0xc0]].concat();
    let reply = |text: &[u8]| {
        let length = u32::try_from(text.len()).expect("it is short");
        [&length.to_be_bytes(), text].concat()
    };
    let depth = 1 << 20;
    let json = [vec![b'['; depth], vec![b']'; depth]].concat();
    for (format, text) in [("json", json), ("messagepack", nested(depth))] {
        let described = described(&["--format", format], reply(&text)).await;
        fails(&described, 5, "the reply is not a description");
    }
}

#[tokio::test]
async fn rejection_is_told_also_when_the_session_ends_with_an_error() {
    let peer = scripted("expect a\nexpect b\nreject busy FIRST\nclose", &[]).await;
    let arguments = ["call", &peer.address, "--pipeline", "2"];
    let ran = ran_with(&arguments, b"a\nb\n").await;
    fails(
        &ran,
        6,
        "tcs: request 1 was rejected (busy): FIRST\n  call again later\n\
         tcs: the server closed the connection without a reply\n",
    );
    peer.followed().await;
}
