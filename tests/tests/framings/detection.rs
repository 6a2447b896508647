//! The first message of a connection waits for more bytes only while it can begin another protocol.

use tcs::{
    __private::ConnectionFraming,
    framing::{
        CrlfLines, CrlfText, Fixed, FrameError, FrameKind, Framing, Input, LengthPrefixed, Lines,
        Netstrings, ParsedFrame, Prefixed, Raw, ReadState, Side, UntilEof,
    },
};
use tcs_tests::cutting::read;

use crate::own_framings::{Growing, Semicolons, Single, Skipping, Threes};

/// What is found in bytes after which more may follow.
fn first<F: Framing>(
    bytes: &[u8],
    read_state: ReadState,
) -> Result<Option<ParsedFrame>, FrameError> {
    let input = Input::new(bytes, 1 << 20, Side::Server, read_state);
    ConnectionFraming::<F>::default().parse(input)
}

/// Reads the first message at once if `then` is empty, and otherwise when `then` follows, or nothing
/// more.
fn is_message<F: Framing>(bytes: &[u8], then: &[u8]) {
    let at_once = first::<F>(bytes, ReadState::Idle);
    let Ok(Some(message)) = first::<F>(bytes, ReadState::Eof) else {
        panic!("{bytes:?} is no message");
    };
    if then.is_empty() {
        assert_eq!(at_once, Ok(Some(message)), "{bytes:?}");
        return;
    }
    assert_eq!(at_once, Ok(None), "{bytes:?}");
    let mut framing = ConnectionFraming::<F>::default();
    let both = [bytes, then].concat();
    for length in bytes.len()..both.len() {
        let input = Input::new(&both[..length], 1 << 20, Side::Server, ReadState::Idle);
        assert_eq!(framing.parse(input), Ok(None), "{bytes:?}");
    }
    let input = Input::new(&both, 1 << 20, Side::Server, ReadState::Idle);
    assert_eq!(framing.parse(input), Ok(Some(message)), "{bytes:?}");
}

#[test]
fn complete_message_that_begins_nothing_else_waits_for_nothing() {
    is_message::<Lines>(b"GET /\n", b"");
    is_message::<Lines>(b"\n", b"");
    is_message::<Lines>(b"PROXY TCP4\n", b"");
    is_message::<Lines>(format!("GET /{}\n", "a".repeat(600)).as_bytes(), b"");
    is_message::<Semicolons>(b"SSH-2.0;", b"");
    is_message::<Prefixed<1>>(b"\x16\x03\x01\x02\0\x01 is not a hello.. ", b"");
    // So little begins everything.
    is_message::<Fixed<1>>(b"G", b"");
    is_message::<Fixed<1>>(b"\r", b"");
    is_message::<Fixed<2>>(b"GE", b"");
    is_message::<Fixed<3>>(b"SSH", b"");
    is_message::<Threes>(b"GET", b"");
    is_message::<Raw>(b"GET", b"");
    is_message::<Raw>(b"GET /", b"");
    // Nothing follows the request of a framing with one exchange.
    is_message::<Single<Lines>>(b"\r\n", b"");
    is_message::<Single<Lines>>(b"*1\r\n", b"");
    // Only the first message is looked at.
    let (found, error) = read::<Lines>(Side::Server, &[b"a\nSSH-2.0-a\n"], 1 << 20);
    assert_eq!((found.len(), error), (2, None));
    let (found, error) = read::<Prefixed<1>>(Side::Server, &[b"\x01aSSH-2.0-a"], 1 << 20);
    assert_eq!((found.len(), error.is_some()), (1, true));
    assert_ne!(
        error.expect("83 bytes do not follow").to_string(),
        "that looks like SSH"
    );
}

/// At the largest limit, no length within it begins with a printable character.
#[test]
fn length_within_the_limit_is_not_taken_for_text() {
    let largest = 512 << 20;
    for length in [largest, largest - 1, 0x1f7e_7e7e, 0x0d0a_0d0a, 0x0a0a_0a0a] {
        let header = u32::try_from(length).expect("31 bits").to_be_bytes();
        let parsed = first_within::<LengthPrefixed>(&header, largest);
        assert_eq!(parsed, Ok(None), "{length:x}");
    }
    // Within four times the limit, this is a message to skip. But text is more likely.
    let parsed = first_within::<LengthPrefixed>(b"    ", largest);
    let error = parsed.expect_err("it is text").to_string();
    assert!(error.starts_with("that looks like text"), "{error}");
    let parsed = first_within::<LengthPrefixed>(b"   \0", largest);
    assert_eq!(
        parsed.expect("it is a length").map(|frame| frame.kind()),
        Some(FrameKind::Oversized)
    );
}

/// It waits until it cannot become one, because its own bytes leave that open and those that follow may
/// have been sent with it.
#[test]
fn first_message_that_can_begin_another_protocol_waits_until_it_does_not() {
    is_message::<Lines>(b"*1\r\n", b"a");
    is_message::<Lines>(b"\r\n", b"a");
    is_message::<CrlfLines>(b"\r\n", b"\r\n.");
    is_message::<Fixed<4>>(b"POST", b"S");
    is_message::<Fixed<2>>(b"\x16\x03", b"\xff");
    is_message::<Semicolons>(b"GET /path;", b"?a b");
    is_message::<Growing>(b"GET /", b" HTTP/2");
    // At the end of the input, the framing is not asked again.
    let mut framing = ConnectionFraming::<Growing>::default();
    for read_state in [ReadState::Idle, ReadState::Eof] {
        let input = Input::new(b"GET /", 1 << 20, Side::Server, read_state);
        let message = (read_state == ReadState::Eof).then(|| ParsedFrame::message(0..5, 5));
        assert_eq!(framing.parse(input), Ok(message));
    }
}

/// What is no frame is an error only when it is no beginning of another protocol.
#[test]
fn error_waits_until_it_is_clear_what_the_peer_speaks() {
    let mut framing = ConnectionFraming::<Netstrings>::default();
    let mut parse = |bytes: &[u8], read_state| {
        framing.parse(Input::new(bytes, 1 << 20, Side::Server, read_state))
    };
    assert_eq!(parse(b"GET /", ReadState::Idle), Ok(None));
    let error = parse(b"GET /", ReadState::Eof).expect_err("no netstring");
    assert_eq!(error.to_string(), "`G` instead of the digits of a length");
}

/// Parses `bytes`, after which more may follow, with a limit.
fn first_within<F: Framing>(bytes: &[u8], limit: usize) -> Result<Option<ParsedFrame>, FrameError> {
    let input = Input::new(bytes, limit, Side::Server, ReadState::Idle);
    ConnectionFraming::<F>::default().parse(input)
}

/// With one exchange, the client waits for its reply, and sends nothing that could decide.
#[test]
fn error_of_the_only_exchange_waits_for_nothing() {
    let too_large = FrameError::too_large(5, 4);
    assert_eq!(first_within::<Raw>(b"GET /", 4), Err(too_large.clone()));
    assert_eq!(
        first_within::<Single<Lines>>(b"GET /", 4),
        Err(too_large.clone())
    );
    let digits = first_within::<Single<Netstrings>>(b"GET /", 4);
    assert!(digits.is_err(), "{digits:?}");
    // Its own bytes still decide.
    let http = FrameError::other_protocol(tcs::framing::OtherProtocol::Http);
    assert_eq!(first_within::<Raw>(b"GET / HTTP/1.1", 4), Err(http));
    // Here, the end of the input decides, and the client will send that.
    assert_eq!(first_within::<UntilEof>(b"GET /", 4), Ok(None));
    let input = Input::new(b"GET /", 4, Side::Server, ReadState::Eof);
    let parsed = ConnectionFraming::<UntilEof>::default().parse(input);
    assert_eq!(parsed, Err(too_large));
}

/// A frame that has arrived whole waits as a message does, also if it is beyond the limit. With one
/// exchange, it waits for nothing.
#[test]
fn whole_frame_beyond_the_limit_waits_as_a_message_does() {
    // `G` is its length.
    let frame = format!("GET /{}", "a".repeat(67));
    let kind = |parsed: Result<Option<ParsedFrame>, FrameError>| {
        parsed.expect("no error").map(|frame| frame.kind())
    };
    for (limit, expected) in [(71, FrameKind::Message), (50, FrameKind::Oversized)] {
        let single = first_within::<Single<Prefixed<1>>>(frame.as_bytes(), limit);
        assert_eq!(kind(single), Some(expected));
        let held = first_within::<Prefixed<1>>(frame.as_bytes(), limit);
        assert_eq!(kind(held), None);
        let decided = first_within::<Prefixed<1>>(format!("{frame} \0").as_bytes(), limit);
        assert_eq!(kind(decided), Some(expected));
    }
    // The rest of it will arrive.
    let part = first_within::<Single<Prefixed<1>>>(&frame.as_bytes()[..71], 50);
    assert_eq!(kind(part), None);
}

/// Bytes that a framing skips are the first bytes of a connection like any other: they do not end
/// detection, however few they are.
#[test]
fn skipped_bytes_do_not_end_detection() {
    let stream = b"GET / HTTP/1.1\r\n";
    for first in 1..stream.len() {
        let pieces = [&stream[..first], &stream[first..]];
        let (found, error) = read::<Skipping>(Side::Server, &pieces, 1 << 20);
        assert_eq!(found, [], "cut at {first}");
        let error = error.expect("another protocol").to_string();
        assert_eq!(error, "that looks like HTTP", "cut at {first}");
    }
    let (found, error) = read::<Skipping>(Side::Server, &[b"GE", b"N\n", b"GET\n"], 1 << 20);
    assert_eq!((found, error), (Vec::new(), None));
}

#[test]
fn first_message_after_skipped_bytes_is_the_first_message() {
    for cut in 1..9 {
        let stream = b"\xff\xf1\xff\xfb\x03GET / HTTP/1.1\r\n";
        let pieces = [&stream[..cut], &stream[cut..]];
        let (found, error) = read::<CrlfText>(Side::Server, &pieces, 1 << 20);
        assert_eq!(found, [], "cut at {cut}");
        let error = error.expect("another protocol").to_string();
        assert_eq!(error, "that looks like HTTP", "cut at {cut}");
    }
}
