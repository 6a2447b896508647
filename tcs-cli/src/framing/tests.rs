use tcs::framing::{Input, ReadState, Side};

use super::{AnyFraming, FrameKind, FramingSpec};

fn open(name: &str, side: Side) -> AnyFraming {
    let spec: FramingSpec = name.parse().unwrap_or_else(|error| panic!("{error}"));
    spec.open(side)
}

/// Returns the frame of a request, after a server has found the request in it.
fn framed(name: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut client = open(name, Side::Client);
    client
        .write(message, 1, &mut out)
        .expect("the framing carries it");
    let input = Input::new(&out, 1_000, Side::Server, ReadState::Eof);
    let found = open(name, Side::Server)
        .parse(input)
        .expect("it is a frame");
    let found = found.expect("it is whole");
    assert_eq!(
        (found.kind, found.consumed),
        (FrameKind::Message, out.len()),
        "{name}"
    );
    // The framing fills in the lengths that are parts of messages.
    assert_eq!(found.payload.len(), message.len(), "{name}");
    out
}

#[test]
fn requests_are_framed_as_the_name_says() {
    for (name, expected) in [
        ("length-prefixed", &b"\0\0\0\x03Ann"[..]),
        ("multiplexed", b"\0\0\0\x03\0\0\0\x01Ann"),
        ("lines", b"Ann\n"),
        ("crlf-lines", b"Ann\r\n"),
        ("crlf-text", b"Ann\r\n"),
        ("crlf-text(no-telnet)", b"Ann\r\n"),
        ("content-length", b"Content-Length: 3\r\n\r\nAnn"),
        ("netstrings", b"3:Ann,"),
        ("varint", b"\x03Ann"),
        ("digits", b"3 Ann"),
        ("digits(:)", b"3:Ann"),
        ("fixed(3)", b"Ann"),
        ("until-eof", b"Ann"),
        ("raw", b"Ann"),
        ("verbatim", b"Ann"),
        ("delimited(;)", b"Ann;"),
        (r"delimited(\r\n,)", b"Ann\r\n,"),
        ("prefixed(width=2)", b"\0\x03Ann"),
        (
            "prefixed(width=2, little-endian, includes-header)",
            b"\x05\0Ann",
        ),
        ("blocks(word=2)", b"Ann\r\n"),
        ("duplex(lines,netstrings)", b"Ann\n"),
        ("duplex(delimited(;),length-field(width=1,skip=1))", b"Ann;"),
    ] {
        assert_eq!(framed(name, b"Ann"), expected, "{name}");
    }
    assert_eq!(framed("hex4", b"0007Ann"), b"0007Ann");
    let modbus = framed(
        "length-field(offset=4,width=2)",
        b"\0\x01\0\0\xff\xff\x01\x03",
    );
    assert_eq!(modbus, b"\0\x01\0\0\0\x02\x01\x03");
    let postgres = framed(
        "length-field(offset=1,width=4,adjust=-4)",
        b"Q\0\0\0\0SELECT\0",
    );
    assert_eq!(postgres, b"Q\0\0\0\x0bSELECT\0");
    assert_eq!(
        framed("blocks(word=2)", b"set 3\r\nAnn"),
        b"set 3\r\nAnn\r\n"
    );
}

#[test]
fn own_framings_wait_for_whole_frames_and_keep_the_limit() {
    for (name, frame) in [
        (
            "length-field(width=2,offset=1,adjust=-3)",
            &b"x\0\x05ab"[..],
        ),
        ("delimited(--)", b"a-b--"),
        ("fixed(4)", b"abcd"),
        ("resp", b"*2\r\n$2\r\na\n\r\n%1\r\n+k\r\n:1\r\n"),
    ] {
        for end in 0..frame.len() {
            let arrived = frame.get(..end).expect("it is within");
            let input = Input::new(arrived, 1_000, Side::Client, ReadState::Idle);
            let parsed = open(name, Side::Client).parse(input);
            assert!(
                parsed.expect("it may go on").is_none(),
                "{name}: {arrived:?}"
            );
        }
        let input = Input::new(frame, 1_000, Side::Client, ReadState::Idle);
        let found = open(name, Side::Client)
            .parse(input)
            .expect("it is a frame");
        assert_eq!(found.expect("it is whole").consumed, frame.len(), "{name}");
    }
    for (name, bytes) in [
        (
            "length-field(width=8)",
            &b"\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        ),
        ("length-field(width=1,adjust=-1)", b"\0"),
        ("delimited(--)", b"0123456789a"),
        ("resp", b"$99999999999999999999\r\n"),
        ("resp", b"\r\n"),
        ("resp", b"+0123456789a"),
    ] {
        let input = Input::new(bytes, 8, Side::Client, ReadState::Idle);
        assert!(
            open(name, Side::Client).parse(input).is_err(),
            "{name}: {bytes:?}"
        );
    }
    let mut nested = b"*1\r\n".repeat(50_000);
    nested.extend_from_slice(b"$-1\r\n");
    let input = Input::new(&nested, 1 << 20, Side::Client, ReadState::Idle);
    let found = open("resp", Side::Client).parse(input);
    let found = found.expect("a frame").expect("it is whole");
    assert_eq!(found.consumed, nested.len());
}

#[test]
fn a_long_value_of_redis_is_read_once() {
    let mut frame = b"*200000\r\n".to_vec();
    frame.extend(b":1\r\n".repeat(200_000));
    let mut framing = open("resp", Side::Client);
    // Read from its start each time, these would be ten thousand million values.
    for end in (0..frame.len()).step_by(8) {
        let arrived = frame.get(..end).expect("it is within");
        let input = Input::new(arrived, 1 << 20, Side::Client, ReadState::Idle);
        assert!(framing.parse(input).expect("it may go on").is_none());
    }
    let input = Input::new(&frame, 1 << 20, Side::Client, ReadState::Idle);
    let found = framing.parse(input).expect("a frame").expect("it is whole");
    assert_eq!(found.consumed, frame.len());
}

#[test]
fn what_a_notice_announces_is_no_reply() {
    let bytes = b"\x80\0\0\x05\x82\0\0\0\x01\0\0\0\x01e\0\0\0\x01r";
    let mut framing = open("length-prefixed", Side::Client);
    let mut rest = &bytes[..];
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let input = Input::new(rest, 8, Side::Client, ReadState::Idle);
        let found = framing.parse(input).expect("a frame").expect("it is whole");
        kinds.push(found.kind);
        rest = rest.get(found.consumed..).unwrap_or_default();
    }
    let event = FrameKind::Announced(tcs::framing::Announcement::Events);
    assert_eq!(kinds, [FrameKind::Control(0x82), event, FrameKind::Message]);
}

#[test]
fn wrong_names_say_what_there_is() {
    for (name, said) in [
        (
            "line",
            "no framing is called `line`\nFraming of the messages",
        ),
        ("lines(1)", "no framing is called `lines(1)`"),
        ("fixed(0)", "at least one byte"),
        ("fixed(x)", "`x` is not a number"),
        ("length-field(width=9)", "1 to 8 bytes"),
        ("length-field(width=2,at=4)", "and no `at`"),
        ("prefixed(width=2,offset=4)", "and no `offset`"),
        ("length-field(width=2", "no `)` at its end"),
        ("delimited()", "at least one byte"),
        (r"delimited(\q)", "is not an escape"),
        ("blocks(word=9)", "1 to 5"),
        ("duplex(lines)", "two framings"),
        ("duplex(lines,duplex(lines,lines))", "cannot be a part"),
    ] {
        let error = name.parse::<FramingSpec>().expect_err(name);
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[test]
fn an_attribute_of_redis_belongs_to_the_value_after_it() {
    let frame = b"|1\r\n+ttl\r\n:3600\r\n*2\r\n|0\r\n:1\r\n:2\r\n";
    let input = [&frame[..], b"+next\r\n"].concat();
    let input = Input::new(&input, 1_000, Side::Client, ReadState::Idle);
    let found = open("resp", Side::Client).parse(input);
    let found = found.expect("a frame").expect("it is whole");
    assert_eq!(found.consumed, frame.len());
}

#[test]
fn a_value_of_redis_that_arrives_at_once_has_the_limit() {
    let parse = |limit| {
        let input = Input::new(b"+abcd\r\n:1\r\n", limit, Side::Client, ReadState::Idle);
        open("resp", Side::Client).parse(input)
    };
    assert!(parse(6).is_err());
    assert_eq!(parse(7).expect("a frame").expect("it is whole").consumed, 7);
}
