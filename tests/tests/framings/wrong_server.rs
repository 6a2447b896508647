//! A client that has reached the wrong server is told so, and takes nothing it says for a reply.

use tcs::{
    __private::ConnectionFraming,
    ErrorKind,
    format::Plain,
    framing::{
        CrlfLines, Delimited, Fixed, FrameError, Framing, Input, LengthPrefixed, Lines, Netstrings,
        ParsedFrame, Prefixed, Raw, ReadState, Side, UntilEof, delimiter,
    },
};
use tcs_tests::{
    client::connected,
    cutting::{Found, every_split_gives},
    script::{closes, sends},
    within,
};

use crate::{
    other_protocols::BAD_REQUEST,
    own_framings::{OptedOut, Semicolons, Threes},
};

/// Receives from a server that says `bytes` and closes; returns the error.
async fn error_of<F: Framing>(bytes: &'static [u8]) -> String {
    let (mut connection, server) = connected::<F>([sends(bytes), closes()]).await;
    let received = within(connection.receive::<&str, Plain>()).await;
    let error = received.expect_err("that is no reply");
    assert_eq!(error.kind(), ErrorKind::Reply);
    server.finished().await;
    let source = std::error::Error::source(&error).expect("the reason");
    source.to_string()
}

#[tokio::test]
async fn client_is_told_what_its_server_speaks() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for error in [
        error_of::<LengthPrefixed>(http).await,
        error_of::<Prefixed<4>>(http).await,
        error_of::<Prefixed<2>>(http).await,
        error_of::<Netstrings>(http).await,
    ] {
        assert!(error.ends_with("; that looks like HTTP"), "{error}");
    }
    let ssh = error_of::<LengthPrefixed>(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    assert!(ssh.ends_with("; that looks like SSH"), "{ssh}");
    let redis = error_of::<Netstrings>(b"-ERR unknown command\r\n").await;
    assert!(redis.ends_with("; that looks like Redis"), "{redis}");
    let tls = error_of::<LengthPrefixed>(b"\x15\x03\x01\0\x02\x02\x46").await;
    assert!(tls.ends_with("; that looks like TLS"), "{tls}");
}

/// What servers of this library say to a peer that speaks another framing.
const EXPECTS_LENGTH: &[u8] =
    b"This port expects length-prefixed frames; to use it with nc, serve it \
    with `framing = Lines`.\n";
const EXPECTS_LINES: &[u8] =
    b"\x80\0\0\x37\x43this port expects lines of text: use `framing = Lines`";

/// Hears a server that says `bytes` and closes, with framings that would take them for a reply.
async fn heard_by_all(bytes: &'static [u8]) -> Vec<String> {
    vec![
        error_of::<Lines>(bytes).await,
        error_of::<CrlfLines>(bytes).await,
        error_of::<Semicolons>(bytes).await,
        error_of::<Delimited<{ delimiter(b" ") }>>(bytes).await,
        error_of::<Fixed<4>>(bytes).await,
        error_of::<Prefixed<1>>(bytes).await,
        error_of::<Prefixed<2>>(bytes).await,
        error_of::<Netstrings>(bytes).await,
        error_of::<Raw>(bytes).await,
        error_of::<UntilEof>(bytes).await,
        error_of::<Threes>(bytes).await,
    ]
}

#[tokio::test]
async fn what_a_server_says_to_a_client_of_another_framing_is_no_reply() {
    for (bytes, said) in [
        (EXPECTS_LENGTH, "expects length-prefixed frames"),
        (EXPECTS_LINES, "expects lines of text"),
    ] {
        let mut errors = heard_by_all(bytes).await;
        // They may carry what looks like other protocols, but not this.
        errors.push(error_of::<OptedOut>(bytes).await);
        for error in errors {
            assert_eq!(error, format!("the server answers that it {said}"));
        }
    }
}

/// Fails unless a client takes no part of `said` for a reply, however it arrives.
fn is_no_reply_in_pieces<F: Framing>(said: &[u8], error: &str) {
    let error = FrameError::malformed(format_args!("the server answers that it {error}"));
    every_split_gives::<F>(Side::Client, said, 1 << 20, &(Vec::new(), Some(error)));
}

#[test]
fn what_a_server_says_to_another_client_is_no_reply_in_pieces() {
    for (said, error) in [
        (EXPECTS_LENGTH, "expects length-prefixed frames"),
        (EXPECTS_LINES, "expects lines of text"),
        (BAD_REQUEST, "does not speak HTTP"),
        (b"This port does not speak SSH.\r\n", "does not speak SSH"),
        (
            b"-ERR this port does not speak the protocol of Redis\r\n",
            "does not speak Redis",
        ),
    ] {
        is_no_reply_in_pieces::<Lines>(said, error);
        is_no_reply_in_pieces::<CrlfLines>(said, error);
        is_no_reply_in_pieces::<Semicolons>(said, error);
        is_no_reply_in_pieces::<Delimited<{ delimiter(b" ") }>>(said, error);
        is_no_reply_in_pieces::<Fixed<4>>(said, error);
        is_no_reply_in_pieces::<Prefixed<1>>(said, error);
        is_no_reply_in_pieces::<Prefixed<2>>(said, error);
        is_no_reply_in_pieces::<Netstrings>(said, error);
        is_no_reply_in_pieces::<Raw>(said, error);
        is_no_reply_in_pieces::<UntilEof>(said, error);
        if said == EXPECTS_LENGTH || said == EXPECTS_LINES {
            is_no_reply_in_pieces::<OptedOut>(said, error);
        }
    }
}

#[test]
fn reply_that_begins_like_a_notice_waits_for_the_bytes_that_follow() {
    fn parse<const N: usize>(arrivals: &[(&[u8], ReadState)]) -> Option<ParsedFrame> {
        let mut framing = ConnectionFraming::<Fixed<N>>::default();
        let mut parsed = None;
        for (bytes, read_state) in arrivals {
            assert_eq!(parsed, None);
            let input = Input::new(bytes, 100, Side::Client, *read_state);
            parsed = framing.parse(input).expect("a reply");
        }
        parsed
    }
    let reply = Some(ParsedFrame::message(0..4, 4));
    let waits = (&b"This"[..], ReadState::Idle);
    assert_eq!(parse::<4>(&[waits]), None);
    assert_eq!(parse::<4>(&[waits, (b"This is", ReadState::Idle)]), reply);
    assert_eq!(parse::<4>(&[waits, (b"This", ReadState::Eof)]), reply);
    assert_eq!(parse::<4>(&[(b"That", ReadState::Idle)]), reply);
    let short = Some(ParsedFrame::message(0..3, 3));
    assert_eq!(parse::<3>(&[(b"Thi", ReadState::Idle)]), short);
}

/// A short reply never waits, also if others arrive together with it.
#[test]
fn short_reply_does_not_wait_for_what_decides_about_the_bytes_after_it() {
    fn lengths<const N: usize>(bytes: &[u8]) -> Vec<usize> {
        let mut framing = ConnectionFraming::<Fixed<N>>::default();
        let inputs = bytes.chunks(N).enumerate().map(|(at, _)| &bytes[at * N..]);
        let replies = inputs.map(|unread| {
            let input = Input::new(unread, 100, Side::Client, ReadState::Idle);
            framing.parse(input).expect("replies")
        });
        replies.map_while(|reply| Some(reply?.consumed())).collect()
    }
    assert_eq!(lengths::<1>(b"This"), [1; 4]);
    assert_eq!(lengths::<2>(b"HTTP"), [2; 2]);
    assert_eq!(lengths::<3>(b"-ERR t"), [3; 2]);
    assert_eq!(lengths::<4>(b"HTTP/1.1"), [0; 0]);
}

/// An error is of use here, and a rejection of one reply is not: the lengths are text.
#[test]
fn reply_beyond_the_limit_names_the_protocol_of_its_server() {
    let error =
        "a message of 18516 bytes exceeds `max_frame_len` of 5000 bytes; that looks like HTTP";
    let found = (Vec::new(), Some(FrameError::malformed(error)));
    let response = b"HTTP/1.0 404 Not Found\r\n";
    every_split_gives::<Prefixed<2>>(Side::Client, response, 5_000, &found);
    // A length that is no text.
    let found = (vec![Found::Oversized(5)], None);
    every_split_gives::<Prefixed<2>>(Side::Client, b"\0\x05abcde", 4, &found);
}

#[tokio::test]
async fn what_a_server_says_to_another_protocol_is_no_reply() {
    for (bytes, protocol) in [
        (BAD_REQUEST, "HTTP"),
        (b"This port does not speak SSH.\r\n", "SSH"),
        (
            b"-ERR this port does not speak the protocol of Redis\r\n",
            "Redis",
        ),
    ] {
        for error in heard_by_all(bytes).await {
            let told = format!("the server answers that it does not speak {protocol}");
            assert_eq!(error, told);
        }
    }
}

/// Where anything is a reply, nothing is guessed.
#[tokio::test]
async fn reply_may_be_anything() {
    let (mut connection, server) = connected::<Lines>([sends("SSH-2.0-OpenSSH_9.6\r\n")]).await;
    let version = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(version.expect("a line"), "SSH-2.0-OpenSSH_9.6");
    server.finished().await;
}
