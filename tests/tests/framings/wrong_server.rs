//! A client that has reached the wrong server is told so, and takes nothing it says for a reply.

use tcs::{
    __private::ConnectionFraming,
    ErrorKind,
    format::Plain,
    framing::{
        CodeLines, CrlfLines, CrlfText, Delimited, Duplex, Fixed, FrameError, Framing, Input,
        LengthPrefixed, Lines, Multiplexed, Netstrings, ParsedFrame, Prefixed, Raw, ReadState,
        Side, UntilEof, delimiter,
    },
};
use tcs_tests::{
    client::connected,
    cutting::{Found, every_split_gives, messages, read, write},
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
    for (bytes, speaks) in SERVERS {
        for error in heard_by_all(bytes).await {
            assert_eq!(error, format!("the server speaks {speaks}"));
        }
    }
    // Its errors come first.
    let http = error_of::<LengthPrefixed>(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(http.ends_with("; that looks like HTTP"), "{http}");
    let ssh = error_of::<LengthPrefixed>(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    assert!(ssh.ends_with("; that looks like SSH"), "{ssh}");
    let redis = error_of::<Netstrings>(b"-ERR unknown command\r\n").await;
    assert!(redis.ends_with("; that looks like Redis"), "{redis}");
}

const HTTP: &str = "HTTP: check the address, or use a framing with `Detection::OFF` to speak HTTP";
const SSH: &str = "SSH: check the address, or use a framing with `Detection::OFF` to speak SSH";
const TLS: &str = "TLS at this port: connect to `tls://host:port`";

/// The first bytes of servers of other protocols, and what a client is told.
const SERVERS: [(&[u8], &str); 6] = [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", HTTP),
    (b"HTTP/1.0 200\r\n\r\n", HTTP),
    (b"SSH-2.0-OpenSSH_9.6\r\n", SSH),
    (b"SSH-1.99-x\n", SSH),
    (b"\x15\x03\x01\0\x02\x02\x46", TLS),
    (b"\x15\x03\x03\0\x02\x01\0", TLS),
];

#[test]
fn beginning_of_another_protocol_is_no_reply_in_pieces() {
    fn check<F: Framing>() {
        for (bytes, speaks) in SERVERS {
            let error = FrameError::malformed(format_args!("the server speaks {speaks}"));
            let expected = (Vec::new(), Some(error));
            every_split_gives::<F>(Side::Client, bytes, 1 << 20, &expected);
        }
    }
    check::<Lines>();
    check::<CrlfLines>();
    check::<CrlfText>();
    check::<CodeLines>();
    check::<Duplex<CrlfText, CodeLines>>();
    check::<Semicolons>();
    check::<Delimited<{ delimiter(b" ") }>>();
    check::<Delimited<{ delimiter(b"-") }>>();
    check::<Fixed<4>>();
    check::<Fixed<8>>();
    check::<Prefixed<1>>();
    check::<Prefixed<2>>();
    check::<Prefixed<4>>();
    check::<Netstrings>();
    check::<Raw>();
    check::<UntilEof>();
    let alert = FrameError::malformed(format_args!("the server speaks {TLS}"));
    let expected = (Vec::new(), Some(alert));
    every_split_gives::<LengthPrefixed>(Side::Client, SERVERS[4].0, 1 << 20, &expected);
}

/// A client waits for no more bytes than it needs, as the server may have nothing else to say.
#[test]
fn other_protocol_is_named_before_the_end_of_a_message() {
    for (bytes, needed) in [
        (&b"HTTP/1.1 200 OK"[..], b"HTTP/1.1 200 ".len()),
        (b"SSH-2.0-OpenSSH_9.6", b"SSH-2.0-".len()),
        (b"\x15\x03\x01\0\x02\x02\x46", 7),
    ] {
        let mut framing = ConnectionFraming::<UntilEof>::default();
        let mut parse = |length| {
            framing.parse(Input::new(
                &bytes[..length],
                100,
                Side::Client,
                ReadState::Idle,
            ))
        };
        assert_eq!(parse(needed - 1), Ok(None));
        assert!(parse(needed).is_err());
    }
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
    ]
}

#[tokio::test]
async fn what_a_server_says_to_a_client_of_another_framing_is_no_reply() {
    for (bytes, said) in [
        (EXPECTS_LENGTH, "expects length-prefixed frames"),
        (EXPECTS_LINES, "expects lines of text"),
    ] {
        let mut errors = heard_by_all(bytes).await;
        errors.push(error_of::<Threes>(bytes).await);
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
    assert_eq!(lengths::<2>(b"SSH-2.0-"), [2; 4]);
    assert_eq!(lengths::<3>(b"HTTP/1.1 200 "), [3; 4]);
    assert_eq!(lengths::<3>(b"\x15\x03\x01\0\x02\x02\x46"), [3; 2]);
    assert_eq!(lengths::<4>(b"HTTP/1.1"), [0; 0]);
}

/// An error is of use here, and a rejection of one reply is not: the lengths are text.
#[test]
fn reply_beyond_the_limit_names_the_protocol_of_its_server() {
    for (response, error) in [
        (
            &b"HTTP/1.0 404 Not Found\r\n"[..],
            format!("the server speaks {HTTP}"),
        ),
        (
            b"-ERR unknown command\r\n",
            "a message of 11589 bytes exceeds `max_frame_len` of 5000 bytes; that looks like Redis"
                .to_owned(),
        ),
    ] {
        let found = read::<Prefixed<2>>(Side::Client, &[response], 5_000);
        assert!(found.0.is_empty());
        assert_eq!(found.1.as_ref().map(FrameError::to_string), Some(error));
        every_split_gives::<Prefixed<2>>(Side::Client, response, 5_000, &found);
    }
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
        let mut errors = heard_by_all(bytes).await;
        errors.push(error_of::<Threes>(bytes).await);
        for error in errors {
            let told = format!("the server answers that it does not speak {protocol}");
            assert_eq!(error, told);
        }
    }
}

/// A client of SSH can be written with a framing that opts out.
#[tokio::test]
async fn framing_that_opts_out_may_have_any_reply() {
    let (mut connection, server) = connected::<OptedOut>([sends("SSH-2.0-OpenSSH_9.6\n")]).await;
    let version = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(version.expect("a line"), "SSH-2.0-OpenSSH_9.6");
    server.finished().await;
    for (bytes, _) in SERVERS {
        let reply = [bytes.trim_ascii_end(), b"\n"].concat();
        let read = read::<OptedOut>(Side::Client, &[&reply], 100);
        assert_eq!(read, (messages(&[bytes.trim_ascii_end().to_vec()]), None));
    }
}

#[test]
fn first_reply_that_only_resembles_another_protocol_is_one() {
    fn check<F: Framing>(reply: &[u8]) {
        let stream = write::<F>(&[reply.to_vec(), b"next".to_vec()]);
        let expected = (messages(&[reply.to_vec(), b"next".to_vec()]), None);
        every_split_gives::<F>(Side::Client, &stream, 1 << 20, &expected);
    }
    for reply in [
        &b"220 mail.example ESMTP"[..],
        b"* OK IMAP4rev1 ready",
        b"+OK POP3 server ready",
        b"-ERR unknown command",
        b"-NOAUTH Authentication required.",
        b"HTTP",
        b"HTTP is not spoken here",
        b"HTTP/1.1",
        b"HTTP/1.1 is old",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 600 x",
        b"HTTP/1.1 200\tOK",
        b"HTTP/2 200 OK",
        b"http/1.1 200 ok",
        b"SSH",
        b"SSH-2.0",
        b"SSH is spoken here",
        b"SSH-3.0-x",
        b"\x15\x03",
        b"\x15\x03\x01",
        b"\x15\x03\x01\0\x02\x03\x46",
        b"\x15\x03\x01\0\x03\x02\x46",
        b"",
        b"G",
    ] {
        check::<Lines>(reply);
        check::<CrlfLines>(reply);
        check::<Semicolons>(reply);
        check::<Prefixed<1>>(reply);
        check::<Netstrings>(reply);
        check::<LengthPrefixed>(reply);
        check::<Multiplexed>(reply);
    }
}
