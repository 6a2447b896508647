//! `tcs call` against servers of the library.

use tcs::{
    ConcurrentServer, Response,
    format::{Json, MessagePack},
    framing::{Lines, Multiplexed, UntilEof},
    protocol::{Push, Replies},
    server_protocol,
};
use tcs_tests::{
    ids::{control_of, kind, message_of},
    start, within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Scratch, fails, listening, printed, ran, ran_with, scripted, tcs};

#[server_protocol]
pub(crate) fn greet(name: &str) -> Result<Response<String>, &str> {
    match name {
        "nobody" => Err("no such person"),
        "bye" => Ok(Response::ReplyAndClose("Bye!".to_owned())),
        "gone" => Ok(Response::Close),
        name => Ok(Response::Reply(format!("Hello, {name}!"))),
    }
}

#[tokio::test]
async fn replies_are_printed_in_the_order_of_the_requests() {
    let server = start(ConcurrentServer::new(Greet)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["call", &address, "Ann"]).await),
        ["Hello, Ann!"]
    );
    assert_eq!(
        printed(ran_with(&["call", &address, "-"], b"Ann\nBob\n").await),
        ["Hello, Ann", "Bob!"]
    );
    let lines = b"Ann\n\nBob\nZo\xc3\xab";
    let greeted = ["Hello, Ann!", "Hello, Bob!", "Hello, Zo\u{eb}!"];
    assert_eq!(printed(ran_with(&["call", &address], lines).await), greeted);
    let file = Scratch::new("Ann\nBob\n");
    let arguments = [
        "call",
        &address,
        "--file",
        file.path(),
        "--repeat",
        "50",
        "--pipeline",
        "9",
    ];
    let printed = printed(ran(&arguments).await);
    let expected: Vec<_> = [["Hello, Ann!"; 50], ["Hello, Bob!"; 50]].concat();
    assert_eq!(printed, expected);
    server.stopped().await;
}

#[tokio::test]
async fn rejections_are_told_with_their_kind_and_an_exit_code() {
    let server = start(ConcurrentServer::new(Greet)).await;
    let address = server.addr().to_string();
    let nobody = ran(&["call", &address, "nobody"]).await;
    assert_eq!(
        (nobody.code, nobody.stderr.as_str()),
        (1, "tcs: rejected (error): no such person\n")
    );
    for (kind, said) in [
        (
            "bad-request why",
            "tcs: rejected (bad request): why\n  check --format and the request\n",
        ),
        ("busy", "tcs: rejected (busy)\n  call again later\n"),
        ("timed-out 5 s", "tcs: rejected (timed out): 5 s\n"),
        (
            "too-many-connections",
            "tcs: rejected (too many connections)\n  call again later\n",
        ),
        (
            "protocol-error \u{1b}",
            "tcs: rejected (protocol error): \\u{1b}\n  check --framing and the port\n",
        ),
    ] {
        let peer = scripted(&format!("expect x\nreject {kind}"), &[]).await;
        let ran = ran(&["call", &peer.address, "x"]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (1, said));
        peer.followed().await;
    }
    let all = ran_with(&["call", &address], b"nobody\nAnn\nnobody\nBob\n").await;
    assert_eq!(all.stdout, ["Hello, Ann!", "Hello, Bob!"]);
    fails(
        &all,
        1,
        "tcs: request 1 was rejected (error): no such person\ntcs: request 3 was rejected (error): no such person\n",
    );
    // What follows the last reply is of no interest.
    let bytes = r"\x00\x00\x00\x02ok\x80\x00\x00\x01\x40";
    let peer = scripted(&format!("expect x\nsend-bytes {bytes}"), &[]).await;
    assert_eq!(printed(ran(&["call", &peer.address, "x"]).await), ["ok"]);
    peer.followed().await;
    // The server says why it closes, also before a request that is still to come.
    fails(
        &ran_with(&["call", &address], b"bye\nAnn\n").await,
        1,
        "rejected (going away)",
    );
    fails(
        &ran(&["call", &address, "gone"]).await,
        6,
        "without a reply",
    );
    server.stopped().await;
}

/// Streams the words, and tells each length as an event.
#[server_protocol(replies = &str, push = usize)]
async fn split(
    text: &str,
    mut out: Replies<'_, Split>,
    push: Push<Split>,
) -> Result<usize, String> {
    for word in text.split(' ') {
        out.send(word).await?;
    }
    push.try_send(text.len())
        .map_err(|error| error.to_string())?;
    Ok(text.split(' ').count())
}

#[tokio::test]
async fn items_and_events_are_told_from_replies() {
    let server = start(ConcurrentServer::new(Split)).await;
    let address = server.addr().to_string();
    let printed = printed(ran_with(&["call", &address], b"to be\n1\n").await);
    // The last event comes after the last reply.
    let lines: Vec<_> = printed.iter().filter(|line| *line != "event: 1").collect();
    assert_eq!(
        lines,
        ["item: to", "item: be", "2", "event: 5", "item: 1", "1"]
    );
    server.stopped().await;
}

#[server_protocol(framing = Multiplexed, concurrent = 8, unordered, replies = Vec<u8>)]
async fn many(count: usize, mut out: Replies<'_, Many>) -> Result<String, String> {
    for _ in 0..count {
        out.send(vec![b'x'; 1_000]).await?;
    }
    Ok("x".repeat(count * 1_000))
}

#[tokio::test]
async fn multiplexed_streams_get_credit_and_large_replies_their_parts() {
    let server = start(ConcurrentServer::new(Many)).await;
    let address = server.addr().to_string();
    let printed = printed(
        ran(&[
            "call",
            &address,
            "-f",
            "multiplexed",
            "--repeat",
            "2",
            "--pipeline",
            "2",
            "1000",
        ])
        .await,
    );
    let (items, replies): (Vec<_>, Vec<_>) =
        printed.iter().partition(|line| line.starts_with("item: "));
    assert_eq!(items.len(), 2_000);
    assert_eq!(
        replies.iter().map(|reply| reply.len()).collect::<Vec<_>>(),
        [1_000_000; 2]
    );
    server.stopped().await;
}

#[server_protocol(framing = Lines, greeting = "220 ready")]
fn shout(line: &str) -> String {
    line.to_uppercase()
}

#[tokio::test]
async fn greeting_and_what_follows_are_printed() {
    let server = start(ConcurrentServer::new(Shout)).await;
    let address = server.addr().to_string();
    let arguments = ["call", &address, "-f", "lines", "--greeting", "a"];
    assert_eq!(printed(ran(&arguments).await), ["220 ready", "A"]);
    let arguments = ["call", &address, "-f", "lines", "--until", "A", "a"];
    assert_eq!(printed(ran(&arguments).await), ["220 ready", "A"]);
    let arguments = [
        "call",
        &address,
        "-f",
        "lines",
        "--replies",
        "2",
        "--hex",
        "61 62",
    ];
    assert_eq!(
        printed(ran(&arguments).await),
        ["32 32 30 20 72 65 61 64 79", "41 42"]
    );
    let ran = ran(&[
        "call",
        &address,
        "-f",
        "lines",
        "--greeting",
        "--fail-on",
        "A",
        "a",
    ])
    .await;
    fails(&ran, 1, "tcs: the reply is an error\n");
    server.stopped().await;

    let script = "expect 1\nsend {\"error\": 2}";
    let peer = scripted(script, &["--format", "json"]).await;
    let error = ["--format", "json", "--fail-on", "{\"error\"", "1"];
    let ran = crate::ran(&[&["call", &peer.address], &error[..]].concat()).await;
    fails(&ran, 1, "tcs: the reply is an error\n");
    peer.followed().await;
}

#[tokio::test]
async fn limit_may_be_longer_than_the_clock() {
    let peer = scripted("send hello\nexpect a\nsend A", &[]).await;
    let endless = ["--timeout", "10000000000000000000", "--greeting", "a"];
    let ran = ran(&[&["call", &peer.address], &endless[..]].concat()).await;
    assert_eq!(printed(ran), ["hello", "A"]);
    peer.followed().await;
}

#[tokio::test]
async fn limit_goes_with_each_request() {
    let (listener, address) = listening().await;
    let options = ["-f", "multiplexed", "--timeout", "5s", "--repeat", "2"];
    let process = tcs(&[&["call", &address][..], &options, &["Ann"]].concat());
    let (mut server, _) = within(listener.accept()).await.expect("it connects");
    for id in 1..=2 {
        let limit = control_of(id, kind::DEADLINE, 5_000_u32.to_be_bytes());
        let request = [limit, message_of(id, "Ann")].concat();
        let mut bytes = vec![0; request.len()];
        within(server.read_exact(&mut bytes))
            .await
            .expect("it sends");
        assert_eq!(bytes, request);
        within(server.write_all(&message_of(id, "Hello")))
            .await
            .expect("it reads");
    }
    assert_eq!(printed(process.finished().await.into()), ["Hello", "Hello"]);
}

#[server_protocol(framing = UntilEof)]
fn length(text: &str) -> usize {
    text.len()
}

#[tokio::test]
async fn request_that_the_half_close_ends_is_sent() {
    let server = start(ConcurrentServer::new(Length)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["call", &address, "-f", "until-eof", "Ann"]).await),
        ["3"]
    );
    let ran = ran_with(&["call", &address, "-f", "until-eof"], b"a\nb\n").await;
    fails(&ran, 2, "a connection has one exchange");
    server.stopped().await;
}

#[server_protocol(format = Json)]
fn halve(number: u32) -> Result<u32, String> {
    let is_even = number.is_multiple_of(2);
    is_even
        .then_some(number / 2)
        .ok_or_else(|| format!("{number} is odd"))
}

#[server_protocol(format = MessagePack)]
fn pack(pair: (u32, String)) -> (String, u32) {
    (pair.1, pair.0)
}

#[tokio::test]
async fn formats_are_written_and_shown_as_json() {
    let server = start(ConcurrentServer::new(Halve)).await;
    let address = server.addr().to_string();
    assert_eq!(
        printed(ran(&["call", &address, "--format", "json", " 8 "]).await),
        [r#"{"Ok":4}"#]
    );
    let odd = ran(&["call", &address, "--format", "json", "7"]).await;
    assert_eq!(odd.stdout, [r#"{"Err":"7 is odd"}"#]);
    fails(&odd, 1, "the reply is an error");
    fails(
        &ran(&["call", &address, "--format", "json", "Ann"]).await,
        2,
        "the request is not JSON",
    );
    server.stopped().await;

    let server = start(ConcurrentServer::new(Pack)).await;
    let address = server.addr().to_string();
    let arguments = [
        "call",
        &address,
        "--format",
        "messagepack",
        r#"[300, "Ann"]"#,
    ];
    assert_eq!(printed(ran(&arguments).await), [r#"["Ann",300]"#]);
    let arguments = ["call", &address, "--hex", "92 cd012c a3416e6e"];
    assert_eq!(printed(ran(&arguments).await), ["92 a3 41 6e 6e cd 01 2c"]);
    server.stopped().await;
}

#[tokio::test]
async fn errors_say_what_to_do() {
    for (arguments, code, said) in [
        (
            &["call", "127.0.0.1:1", "x"][..],
            3,
            "start the server, or check the address",
        ),
        (
            &["call", "localhost:x", "x"],
            3,
            "write the address as HOST:PORT",
        ),
        (
            // No label of a name is so long.
            &["call", &format!("{}:1", "a".repeat(64)), "x"],
            3,
            "check the name of the host",
        ),
        (
            &["call", "127.0.0.1:1", "-f", "line", "x"],
            2,
            "no framing is called `line`",
        ),
        (
            &["call", "127.0.0.1:1", "--hex", "0"],
            2,
            "two hexadecimal digits",
        ),
        (
            &["call", "127.0.0.1:1", "--timeout", "0", "x"],
            2,
            "500ms, 3s or 2m",
        ),
        (
            &["call", "127.0.0.1:1", "-o", "balance"],
            2,
            "add --format json",
        ),
        (
            &[
                "call",
                "127.0.0.1:1",
                "--format",
                "json",
                "-o",
                "balance",
                "5",
            ],
            2,
            "by name",
        ),
        (
            &["call", "127.0.0.1:1", "--file", "/nowhere"],
            2,
            "cannot read /nowhere",
        ),
        (&["call"], 2, "<HOST:PORT>"),
    ] {
        fails(&ran(arguments).await, code, said);
    }
}

#[tokio::test]
async fn greeting_of_a_framing_with_ids_is_printed() {
    let options = ["-f", "multiplexed"];
    let peer = scripted("send hello\nexpect a\nsend A", &options).await;
    let arguments = ["call", &peer.address, "--greeting", "a"];
    let ran = ran(&[&arguments[..], &options].concat()).await;
    assert_eq!(printed(ran), ["hello", "A"]);
    peer.followed().await;
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let number = "340282366920938463463374607431768211455";
    let request = format!("{{\"pay\":{{\"cents\": {number}}}}}");
    let script = format!(
        "expect-bytes \\x00\\x00\\x00\\x{:02x}{request}\nsend {{\"pay\": [{number}, 1.50]}}",
        request.len()
    );
    let peer = scripted(&script, &["--format", "json"]).await;
    let arguments = format!("{{\"cents\": {number}}}");
    let options = ["--format", "json", "-o", "pay", &arguments];
    let ran = ran(&[&["call", &peer.address], &options[..]].concat()).await;
    assert_eq!(printed(ran), [format!("[{number},1.50]")]);
    peer.followed().await;
}
