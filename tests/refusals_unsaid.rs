//! Where a protocol's words for a refusal are not said, and what becomes of the connection.

use std::time::Duration;

use tcs::{
    Answer, ConcurrentServer, Lines, OnceServer, Rejection, ServerProtocol, server::Requests,
    server_protocol,
};
use tcs_tests::{Over, Place, over_both, start, within};

over_both!(
    peer_of_another_protocol_never_sees_them,
    beginning_of_another_protocol_never_sees_them,
    words_that_panic_close_the_connection,
    words_that_cannot_be_sent_close_the_connection,
    words_about_an_error_that_cannot_be_sent_are_its_failure,
    last_reply_is_the_last_word,
    greeting_is_no_refusal,
);

/// Adds to what is said, so that any call would be seen.
fn in_words(refusal: &Rejection) -> String {
    format!("-{}", refusal.kind())
}

#[server_protocol(framing = Lines, refuse = in_words)]
fn greet(name: &str) -> Answer<String> {
    if name == "quit" {
        return Answer::Last("bye".to_owned());
    }
    Answer::Reply(format!("Hello, {name}!"))
}

/// Sends bytes and returns all that is said until the end, and what was counted.
async fn all<P: ServerProtocol>(
    over: Over,
    make: impl Fn() -> ConcurrentServer<P> + Send + Sync + 'static,
    bytes: &[u8],
) -> (String, Requests) {
    let mut place = Place::new(over, make).await;
    let mut peer = place.peer().await;
    within(peer.send(bytes)).await;
    let said = String::from_utf8(within(peer.rest()).await).expect("text");
    drop(peer);
    (said, place.requests().await)
}

async fn peer_of_another_protocol_never_sees_them(over: Over) {
    let server = || ConcurrentServer::new(Greet).max_frame_len(100);
    let long = format!("GET /{}", "x".repeat(600));
    let hello = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".as_slice(),
        &[7; 200],
    ]
    .concat();
    for foreign in [b"GET / HTTP/1.1\r\n\r\n", long.as_bytes(), &hello] {
        let (said, requests) = all(over, server, foreign).await;
        assert!(!said.contains("-protocol error"), "{said}");
        assert_eq!((requests.received, requests.refused), (1, 1));
    }
}

async fn beginning_of_another_protocol_never_sees_them(over: Over) {
    let limit = Duration::from_millis(50);
    let server = move || ConcurrentServer::new(Greet).frame_timeout(limit);
    for foreign in [b"GET /index HT".as_slice(), b"\x16\x03\x01", b"SSH-2.0"] {
        let (said, requests) = all(over, server, foreign).await;
        assert_eq!(said, "");
        assert_eq!((requests.received, requests.refused), (1, 1));
    }
    // Somebody who has spoken the protocol before is no stranger.
    let (said, _) = all(over, server, b"Ann\nGET /index HT").await;
    assert_eq!(said, "Hello, Ann!\n-idle\n");
}

#[server_protocol(framing = Lines, refuse = panics)]
fn double(number: u32) -> Result<u32, &'static str> {
    number.checked_mul(2).ok_or("too much")
}

fn panics(refusal: &Rejection) -> &str {
    panic!("on purpose: {refusal}")
}

async fn words_that_panic_close_the_connection(over: Over) {
    let server = || ConcurrentServer::new(Double);
    let (said, requests) = all(over, server, b"1\nx\n2\n").await;
    assert_eq!(said, "2\n");
    assert_eq!((requests.received, requests.refused), (2, 1));
    // Also where the words are the last ones.
    let server = || ConcurrentServer::new(Double).idle_timeout(Duration::from_millis(50));
    let (said, requests) = all(over, server, b"1\n").await;
    assert_eq!((said.as_str(), requests.served), ("2\n", 1));
}

#[server_protocol(framing = Lines, refuse = in_two_lines)]
fn halve(number: u32) -> Result<u32, &'static str> {
    match number % 2 {
        0 => Ok(number / 2),
        _ => Err("odd"),
    }
}

fn in_two_lines(refusal: &Rejection) -> String {
    format!("-{}\n{}", refusal.kind(), refusal.text())
}

async fn words_that_cannot_be_sent_close_the_connection(over: Over) {
    let server = || ConcurrentServer::new(Halve);
    let (said, requests) = all(over, server, b"2\nx\n2\n").await;
    assert_eq!(said, "1\n");
    assert_eq!((requests.received, requests.refused), (2, 1));
}

async fn words_about_an_error_that_cannot_be_sent_are_its_failure(over: Over) {
    let (said, requests) = all(over, || ConcurrentServer::new(Halve), b"2\n3\n2\n").await;
    assert_eq!(said, "1\n");
    assert_eq!((requests.served, requests.failed), (1, 1));
}

async fn last_reply_is_the_last_word(over: Over) {
    let (said, requests) = all(over, || ConcurrentServer::new(Greet), b"Ann\nquit\nBob\n").await;
    assert_eq!(said, "Hello, Ann!\nbye\n");
    assert_eq!((requests.received, requests.served), (2, 2));
}

#[server_protocol(framing = Lines, greeting = "two\nlines", refuse = in_words)]
fn broken(line: &str) -> &str {
    line
}

async fn greeting_is_no_refusal(over: Over) {
    let (said, requests) = all(over, || ConcurrentServer::new(Broken), b"").await;
    assert_eq!((said.as_str(), requests.received), ("-going away\n", 0));
}

#[tokio::test]
async fn once_server_says_its_reply_and_nothing_else() {
    let server = start(OnceServer::new(Greet)).await;
    let mut peer = server.peer().await;
    within(peer.send("Ann\nBob\n")).await;
    assert_eq!(within(peer.rest()).await, b"Hello, Ann!\n");
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}
