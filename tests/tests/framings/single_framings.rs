//! What is particular to one framing or another.

use std::{sync::mpsc, thread, time::Duration};

use tcs::{
    ConcurrentServer, Connection, ErrorKind, Rejection, RejectionKind,
    client::ConnectOptions,
    framing::{
        BlockLen, Blocks, CodeLines, CrlfLines, CrlfText, Delimited, Exchanges, Fixed, FrameError,
        Framing, INCLUDES_HEADER, Input, LITTLE_ENDIAN, LengthField, LengthPrefixed, Lines,
        Netstrings, ParsedFrame, Prefixed, Raw, ReadState, Side, UntilEof, Varint, Verbatim,
        delimiter, length_field,
    },
};
use tcs_tests::{
    control,
    cutting::{Found, every_split_gives, messages, read, write_one},
    gate, start, tester, within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::own_framings::{DotLines, Semicolons};

const LIMIT: usize = 64;

/// Returns the error at the first byte too many of a message that never ends.
fn endless<F: Framing>(start: &[u8], byte: u8) -> (usize, FrameError) {
    let (mut framing, mut unread) = (F::default(), start.to_vec());
    loop {
        let input = Input::new(&unread, LIMIT, Side::Server, ReadState::Idle);
        match framing.parse(input) {
            Ok(None) if unread.len() < 10 * LIMIT => unread.push(byte),
            Ok(None) => panic!("{} bytes are not rejected", unread.len()),
            Ok(Some(parsed)) => panic!("a frame without an end: {parsed:?}"),
            Err(error) => return (unread.len() - start.len(), error),
        }
    }
}

#[test]
fn endless_message_is_rejected_at_the_first_byte_too_many() {
    let too_large = "a message of 65 bytes exceeds `max_frame_len` of 64 bytes";
    for (count, error) in [
        endless::<Lines>(b"", b'x'),
        endless::<CrlfLines>(b"", b'x'),
        endless::<CrlfText>(b"", b'x'),
        endless::<Semicolons>(b"", b'x'),
        endless::<UntilEof>(b"", b'x'),
    ] {
        assert_eq!((count, &*error.to_string()), (LIMIT + 1, too_large));
    }
    for start in [&b"250-"[..], b"250-x\r\n"] {
        let (count, error) = endless::<CodeLines>(start, start[start.len() - 1]);
        assert_eq!(
            (start.len() + count, &*error.to_string()),
            (LIMIT + 1, too_large)
        );
    }
    // The last four may be a part of the delimiter.
    let (count, error) = endless::<DotLines>(b"", b'x');
    assert_eq!((count, &*error.to_string()), (LIMIT + 1 + 4, too_large));
}

#[test]
fn endless_number_is_rejected_at_the_first_digit_too_many() {
    // 256 is four times the limit.
    for (start, count) in [(&b"25"[..], 1), (b"26", 1), (b"257", 0), (b"9", 2)] {
        let (found, error) = endless::<Netstrings>(start, b'9');
        assert_eq!(found, count, "{error}");
        assert!(error.to_string().contains("exceeds `max_frame_len`"));
    }
    let input = Input::new(&[b'9'; 100], usize::MAX, Side::Server, ReadState::Idle);
    assert!(
        Netstrings::default()
            .parse(input)
            .is_ok_and(|cut| cut.is_none())
    );
    let colon = [&[b'9'; 100][..], b":"].concat();
    let input = Input::new(&colon, usize::MAX, Side::Server, ReadState::Idle);
    assert!(Netstrings::default().parse(input).is_err());
}

#[test]
fn skipped_netstring_has_its_comma() {
    for side in [Side::Server, Side::Client] {
        let too_large = Found::Oversized(9);
        let found = vec![too_large.clone(), Found::Message(b"Ann".to_vec())];
        every_split_gives::<Netstrings>(side, b"9:123456789,3:Ann,", 3, &(found, None));
        let error = FrameError::malformed("`X` instead of `,` after the message");
        let found = (vec![too_large], Some(error));
        every_split_gives::<Netstrings>(side, b"9:123456789X3:Ann,", 3, &found);
    }
}

/// It was rejected when its length was read, and is not rejected again.
#[test]
fn skipped_message_may_end_early() {
    for side in [Side::Server, Side::Client] {
        let found = (vec![Found::Oversized(9)], None);
        for rest in ["", "12345", "123456789"] {
            let netstring = [b"9:", rest.as_bytes()];
            assert_eq!(read::<Netstrings>(side, &netstring, 3), found, "{rest}");
            let prefixed = [b"\0\0\0\x09", rest.as_bytes()];
            assert_eq!(read::<LengthPrefixed>(side, &prefixed, 3), found, "{rest}");
        }
    }
}

#[test]
fn bytes_are_searched_once_however_they_arrive() {
    fn byte_by_byte<F: Framing>(byte: u8, end: &[u8]) {
        const LENGTH: usize = 1 << 20;
        let (mut framing, bytes) = (F::default(), [&vec![byte; LENGTH][..], end].concat());
        for length in 1..bytes.len() {
            let input = Input::new(&bytes[..length], LENGTH, Side::Server, ReadState::Idle);
            assert_eq!(framing.parse(input), Ok(None));
        }
        let input = Input::new(&bytes, LENGTH, Side::Server, ReadState::Idle);
        assert_eq!(
            framing.parse(input),
            Ok(Some(ParsedFrame::message(0..LENGTH, bytes.len())))
        );
    }
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        byte_by_byte::<Lines>(b'x', b"\n");
        byte_by_byte::<CrlfLines>(b'x', b"\r\n");
        byte_by_byte::<Semicolons>(b'x', b";");
        // Each byte could begin the delimiter.
        byte_by_byte::<DotLines>(b'\r', b"\r\n.\r\n");
        done.send(()).expect("the test waits");
    });
    // Searched anew with each byte, it takes half an hour.
    let waited = finished.recv_timeout(Duration::from_mins(2));
    waited.expect("it takes a second");
}

#[test]
fn delimiter_is_packed_with_its_count() {
    assert_eq!(delimiter(b";"), 0x01_3b << 112);
    assert_eq!(
        delimiter(b"123456789abcdef").to_be_bytes(),
        *b"\x0f123456789abcdef"
    );
    assert_eq!(Semicolons::PARAMETER_ERROR, None);
    assert_eq!(Varint::<64>::PARAMETER_ERROR, None);
    assert_eq!(
        Delimited::<{ delimiter(b"123456789abcdef") }>::PARAMETER_ERROR,
        None
    );
    assert_eq!(Delimited::<{ delimiter(b"\0") }>::PARAMETER_ERROR, None);
    for mistake in [
        Delimited::<0>::PARAMETER_ERROR,
        Delimited::<0x3b>::PARAMETER_ERROR,
        Delimited::<{ delimiter(b";") | 1 }>::PARAMETER_ERROR,
        Delimited::<{ 16 << 120 }>::PARAMETER_ERROR,
        Fixed::<0>::PARAMETER_ERROR,
        Prefixed::<0>::PARAMETER_ERROR,
        Prefixed::<5>::PARAMETER_ERROR,
        Prefixed::<4, 4>::PARAMETER_ERROR,
        Varint::<65>::PARAMETER_ERROR,
        Varint::<{ usize::MAX }>::PARAMETER_ERROR,
    ] {
        assert!(mistake.is_some());
    }
}

#[test]
fn longest_delimiter_ends_messages() {
    type Longest = Delimited<{ delimiter(b"--end-of-file--") }>;
    assert!(write_one::<Longest>(b"--end-of-file-").is_err());
    let bytes = write_one::<Longest>(b"--end-of-").expect("it is no delimiter");
    let (found, error) = read::<Longest>(Side::Server, &[&bytes], LIMIT);
    assert_eq!((found.len(), error), (1, None));
}

#[test]
fn length_says_at_most_what_it_can() {
    fn longest<F: Framing>() -> usize {
        (250..66_000)
            .find(|length| write_one::<F>(&vec![0; length + 1]).is_err())
            .expect("there is a limit")
    }
    assert_eq!(longest::<Prefixed<1>>(), 255);
    assert_eq!(longest::<Prefixed<1, INCLUDES_HEADER>>(), 254);
    let error = write_one::<Prefixed<1>>(&[0; 256]).expect_err("it is too long");
    assert_eq!(
        error.to_string(),
        "a message of 256 bytes exceeds 255, the maximum length that fits in 8 bits"
    );
    assert!(write_one::<Prefixed<2>>(&vec![0; 65_535]).is_ok());
    assert!(write_one::<Prefixed<2>>(&vec![0; 65_536]).is_err());
    assert!(write_one::<Prefixed<2, INCLUDES_HEADER>>(&vec![0; 65_533]).is_ok());
    assert!(write_one::<Prefixed<2, INCLUDES_HEADER>>(&vec![0; 65_534]).is_err());
}

#[test]
fn length_field_says_at_most_what_it_can() {
    type Kept = LengthField<{ length_field(1).offset(1).pack() }>;
    type Skipped = LengthField<{ length_field(1).adjustment(-3).skip(1).pack() }>;
    let error = write_one::<Kept>(&[0; 258]).expect_err("it is too long");
    assert_eq!(
        error.to_string(),
        "a message of 258 bytes exceeds 257, the maximum length that fits in 8 bits"
    );
    assert_eq!(
        write_one::<Kept>(&[7; 257]).expect("it fits")[..3],
        [7, 255, 7]
    );
    assert_eq!(write_one::<Skipped>(b"").expect("short"), [3]);
    assert!(write_one::<Skipped>(&[0; 252]).is_ok());
    let error = write_one::<Skipped>(&[0; 253]).expect_err("it is too long");
    assert!(error.to_string().contains("exceeds 252, "), "{error}");
}

/// As in some databases.
#[test]
fn length_may_have_three_bytes() {
    type Three = Prefixed<3, LITTLE_ENDIAN>;
    assert_eq!(write_one::<Three>(b"Ann").expect("short"), b"\x03\0\0Ann");
    let found = (vec![Found::Message(b"Ann".to_vec())], None);
    every_split_gives::<Three>(Side::Server, b"\x03\0\0Ann", LIMIT, &found);
    assert!(write_one::<Three>(&vec![0; (1 << 24) - 1]).is_ok());
    assert!(write_one::<Three>(&vec![0; 1 << 24]).is_err());
}

#[test]
fn until_eof_waits_for_the_end() {
    let cut =
        |side, read_state| UntilEof::default().parse(Input::new(b"ab", LIMIT, side, read_state));
    for side in [Side::Server, Side::Client] {
        for read_state in [ReadState::MaybeMore, ReadState::Idle] {
            assert_eq!(cut(side, read_state), Ok(None));
        }
        assert_eq!(
            cut(side, ReadState::Eof),
            Ok(Some(ParsedFrame::message(0..2, 2)))
        );
    }
    assert_eq!(UntilEof::EXCHANGES, Exchanges::OneUntilHalfClose);
}

#[test]
fn block_after_a_line_that_is_not_utf8_is_not_a_line() {
    enum Put {}

    impl BlockLen for Put {
        fn block_len(line: &str) -> Option<u64> {
            line.strip_prefix("put ")?.split_once(' ')?.1.parse().ok()
        }
    }

    let bytes = b"put \xff 7\r\nstop\r\nx\r\n";
    let (found, _) = read::<Blocks<Put>>(Side::Server, &[bytes], LIMIT);
    assert_eq!(found, messages(&[bytes[..bytes.len() - 2].to_vec()]));
}

#[test]
fn message_is_skipped_up_to_four_times_the_limit() {
    for (length, skipped) in [(4 * LIMIT, true), (4 * LIMIT + 1, false)] {
        let header = u32::try_from(length).expect("small").to_be_bytes();
        let input = Input::new(&header, LIMIT, Side::Server, ReadState::Idle);
        let cut = LengthPrefixed::default().parse(input);
        if skipped {
            assert_eq!(cut, Ok(Some(ParsedFrame::oversized(length, 4 + length))));
        } else {
            assert_eq!(
                cut.expect_err("it is too large").to_string(),
                "a message of 257 bytes exceeds `max_frame_len` of 64 bytes"
            );
        }
    }
}

#[test]
fn control_frames_are_told_from_messages() {
    let bytes = control(0x41, "tea");
    for at in 0..bytes.len() {
        let input = Input::new(&bytes[..at], LIMIT, Side::Client, ReadState::Idle);
        assert_eq!(LengthPrefixed::default().parse(input), Ok(None), "{at}");
    }
    let input = Input::new(&bytes, LIMIT, Side::Client, ReadState::Idle);
    assert_eq!(
        LengthPrefixed::default().parse(input),
        Ok(Some(ParsedFrame::control(0x41, 5..8, 8)))
    );
}

#[test]
fn control_frame_has_at_most_4096_bytes() {
    let mut out = Vec::new();
    // It is cut between characters, not within one.
    let rejection = Rejection::new(RejectionKind::Busy, "ä".repeat(4_096));
    assert!(LengthPrefixed::default().reject(&mut out, &rejection));
    assert_eq!(out.len(), 4 + 1 + 4_094);
    assert_eq!(out[..5], control(0x04, &"ä".repeat(2_047))[..5]);

    for length in [0, 4_097] {
        let header = (length | 1_u32 << 31).to_be_bytes();
        let input = Input::new(&header, LIMIT, Side::Client, ReadState::Idle);
        assert!(LengthPrefixed::default().parse(input).is_err(), "{length}");
    }
}

#[test]
fn raw_request_is_what_has_arrived() {
    let cut =
        |bytes, side, read_state| Raw::default().parse(Input::new(bytes, LIMIT, side, read_state));
    let all = Ok(Some(ParsedFrame::message(0..2, 2)));
    assert_eq!(cut(b"ab", Side::Server, ReadState::MaybeMore), Ok(None));
    assert_eq!(cut(b"ab", Side::Server, ReadState::Idle), all);
    assert_eq!(cut(b"ab", Side::Server, ReadState::Eof), all);
    assert_eq!(cut(b"", Side::Server, ReadState::Eof), Ok(None));
    assert_eq!(Raw::EXCHANGES, Exchanges::One);
}

#[test]
fn raw_reply_is_everything_until_the_end() {
    let cut = |bytes, read_state| {
        Raw::default().parse(Input::new(bytes, LIMIT, Side::Client, read_state))
    };
    assert_eq!(cut(b"ab", ReadState::Idle), Ok(None));
    assert_eq!(
        cut(b"ab", ReadState::Eof),
        Ok(Some(ParsedFrame::message(0..2, 2)))
    );
    assert_eq!(
        cut(b"", ReadState::Eof),
        Ok(Some(ParsedFrame::message(0..0, 0)))
    );
}

#[test]
fn line_feed_within_a_message_cannot_be_sent_as_a_line() {
    let mut out = b"a\nb".to_vec();
    let error = Lines::default().finish(&mut out, 0).expect_err("two lines");
    assert_eq!(
        error.to_string(),
        "the message contains a line feed, which would end it early"
    );
}

#[tokio::test]
async fn size_of_messages_beyond_the_limit_is_an_error_of_the_setting() {
    let server = ConcurrentServer::new(tester::<Fixed<8>>(&gate())).port(0);
    let error = server.max_frame_len(7).bind().await.expect_err("too few");
    assert_eq!(error.kind(), ErrorKind::Setting);
    let text = "is 7 bytes, and a message of this framing has 8";
    assert!(error.to_string().ends_with(text), "{error}");
    let options = ConnectOptions::new().max_frame_len(7);
    let connected: tcs::Result<Connection<Fixed<8>>> = options.connect("localhost:1").await;
    assert!(connected.is_err_and(|error| error.kind() == ErrorKind::Setting));

    let server = ConcurrentServer::new(tester::<Fixed<8>>(&gate())).max_frame_len(8);
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send("abcdefgh12345678")).await;
    assert_eq!(within(peer.receive(16)).await, b"abcdefgh12345678");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// A reply that cannot be said is a failure, and what was said before it arrives.
#[tokio::test]
async fn reply_that_cannot_be_framed_ends_the_connection() {
    let server = start(ConcurrentServer::new(tester::<Semicolons>(&gate()))).await;
    let mut peer = server.peer().await;
    within(peer.send("before;error a;b;")).await;
    assert_eq!(within(peer.receive(9)).await, b"before;a;");
    drop(peer);
    server.stopped().await;

    let server = start(ConcurrentServer::new(tester::<Fixed<7>>(&gate()))).await;
    let mut peer = server.peer().await;
    within(peer.send("1234567size 06")).await;
    assert_eq!(within(peer.rest()).await, b"1234567");
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}

/// What a framing writes does not depend on the buffer before it, and a client writes as a client.
#[tokio::test]
async fn client_of_crlf_text_gets_each_line_and_sends_one() {
    #[tcs::server_protocol(framing = CrlfText)]
    fn both(name: &str) -> String {
        format!("one {name}\ntwo")
    }

    let server = start(ConcurrentServer::new(Both)).await;
    let connected = Connection::connect(server.addr()).await;
    let mut connection = connected.expect("it listens");
    let error = within(connection.call::<Both>("a\nb")).await;
    assert_eq!(error.expect_err("two lines").kind(), ErrorKind::Request);
    let reply = within(connection.call::<Both>("Ann")).await;
    assert_eq!(reply.expect("a line"), "one Ann");
    drop(connection);
    server.stopped().await;
}

#[tokio::test]
async fn bytes_are_answered_as_they_arrive_any_number_of_times() {
    #[tcs::server_protocol(framing = Verbatim)]
    fn shout(bytes: &[u8]) -> Vec<u8> {
        bytes.to_ascii_uppercase()
    }

    let server = start(ConcurrentServer::new(Shout)).await;
    let peer = within(tokio::net::TcpStream::connect(server.addr()));
    let mut peer = peer.await.expect("it listens");
    for (sent, reply) in [("a", "A"), ("bc", "BC"), ("d", "D")] {
        within(peer.write_all(sent.as_bytes()))
            .await
            .expect("it reads");
        let mut received = vec![0; sent.len()];
        within(peer.read_exact(&mut received))
            .await
            .expect("a reply");
        assert_eq!(received, reply.as_bytes());
    }
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}
