//! The first bytes of other protocols, and how the first bytes of a connection match them.
//!
//! Each function depends only on a limited number of bytes, however many have arrived. A result other
//! than [`Match::Partial`] is final: it stays the same, whatever bytes follow.

use super::OtherProtocol;

/// How the first bytes of a peer match the signatures of other protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The bytes are of no detected protocol.
    No,
    /// The bytes can still become this protocol, and perhaps others.
    Partial(OtherProtocol),
    /// The bytes are an HTTP method and a long path without an end so far.
    LongPath,
    /// The bytes are of this protocol.
    Full(OtherProtocol),
}

/// The methods of RFC 9110 and RFC 5789. A web page can choose others, but the browser then sends
/// OPTIONS first.
const METHODS: &str = "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH ";

/// This many bytes are a path, although its end has not arrived. A browser sends more than that in its first packet.
const LONG_PATH: usize = 512;

/// First bytes that identify a protocol by themselves.
const SIGNATURES: [(&[u8], OtherProtocol); 8] = [
    // RFC 9113, section 3.4.
    (b"PRI * HTTP/2.0\r\n", OtherProtocol::Http),
    // RFC 4253, section 4.2.
    (b"SSH-2.0-", OtherProtocol::Ssh),
    (b"SSH-1.", OtherProtocol::Ssh),
    // The PROXY protocol, sections 2.1 and 2.2.
    (b"PROXY TCP4 ", OtherProtocol::Proxy),
    (b"PROXY TCP6 ", OtherProtocol::Proxy),
    (b"PROXY UNKNOWN\r", OtherProtocol::Proxy),
    (b"PROXY UNKNOWN ", OtherProtocol::Proxy),
    (b"\r\n\r\n\0\r\nQUIT\n", OtherProtocol::Proxy),
];

impl Match {
    /// Compares the first bytes of a client with all signatures.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let fixed = SIGNATURES.iter();
        let fixed = fixed.map(|(signature, protocol)| compare(bytes, signature, *protocol));
        let variable = [http(bytes, LONG_PATH), tls(bytes), resp(bytes)];
        Self::best(variable.into_iter().chain(fixed))
    }

    /// Compares the first bytes of a server with the signatures that other text does not begin with by chance.
    ///
    /// Redis is not among them, because a reply of POP3 begins with `-ERR` too.
    pub(super) fn of_server(bytes: &[u8]) -> Self {
        Self::best([
            // A status line up to the end of the code (RFC 9112, section 4).
            compare_bounds(
                bytes,
                b"HTTP/1.0 100\n",
                b"HTTP/1.1 599 ",
                OtherProtocol::Http,
            ),
            compare(bytes, b"SSH-2.0-", OtherProtocol::Ssh),
            compare(bytes, b"SSH-1.", OtherProtocol::Ssh),
            // An alert, which is the answer to a client that does not speak TLS (RFC 8446, sections 5.1 and 6): the
            // type, the version, the length, the level and the reason.
            compare_bounds(
                bytes,
                &[21, 3, 0, 0, 2, 1, 0],
                &[21, 3, 4, 0, 2, 2, 255],
                OtherProtocol::Tls,
            ),
        ])
    }

    /// Returns the match that says the most.
    fn best(matches: impl IntoIterator<Item = Self>) -> Self {
        let matches = matches.into_iter();
        matches.fold(Self::No, |found, other| match (found, other) {
            (Self::No, _) | (Self::Partial(_), Self::LongPath | Self::Full(_)) => other,
            _ => found,
        })
    }
}

impl OtherProtocol {
    /// Detects a protocol by the first bytes that a client has sent.
    ///
    /// Detection is strict, so that nothing else is taken for a protocol. It requires an HTTP request line
    /// up to its version, a client hello with lengths that agree, `SSH-2.0-` or `SSH-1.`, a RESP array up
    /// to the length of its first string, or a PROXY header.
    ///
    /// There is one exception: an HTTP method and the first 512 bytes of a path are enough, because the end
    /// of a longer path may arrive much later. So text that begins with `GET /` and 511 bytes without a space
    /// is detected too. If each frame is a line, as with [`Lines`](super::Lines), a server compares the whole
    /// line instead.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        match Match::of(bytes) {
            Match::Full(protocol) => Some(protocol),
            Match::LongPath => Some(Self::Http),
            Match::No | Match::Partial(_) => None,
        }
    }

    /// Guesses the protocol of a client whose first bytes are not a frame. The client would not
    /// understand an answer in the framing of this server.
    pub(crate) fn guess(bytes: &[u8]) -> Option<Self> {
        match Match::of(bytes) {
            Match::Partial(protocol) if is_distinctive(bytes) => Some(protocol),
            _ => Self::detect(bytes),
        }
    }
}

/// Returns `true` if this prefix of a signature is unlikely to be anything else.
///
/// A shorter prefix must not keep a message waiting: `G` is a whole message for some framings.
pub(super) fn is_distinctive(bytes: &[u8]) -> bool {
    match bytes {
        [first, _, ..] if first.is_ascii_control() => true,
        _ => bytes.len() >= 4,
    }
}

/// Returns `true` if `line` is an HTTP request line, whatever its length.
pub(super) fn is_http_request_line(line: &[u8]) -> bool {
    http(line, usize::MAX) == Match::Full(OtherProtocol::Http)
}

/// Compares the bytes that have arrived with the expected ones.
fn compare(bytes: &[u8], expected: &[u8], protocol: OtherProtocol) -> Match {
    if bytes.starts_with(expected) {
        Match::Full(protocol)
    } else if expected.starts_with(bytes) {
        Match::Partial(protocol)
    } else {
        Match::No
    }
}

/// Compares each byte that has arrived with its minimum and its maximum.
fn compare_bounds(bytes: &[u8], least: &[u8], most: &[u8], protocol: OtherProtocol) -> Match {
    let mut bounded = bytes.iter().zip(least.iter().zip(most));
    if !bounded.all(|(byte, (least, most))| (least..=most).contains(&byte)) {
        Match::No
    } else if bytes.len() < least.len() {
        Match::Partial(protocol)
    } else {
        Match::Full(protocol)
    }
}

/// Returns the number of wanted bytes at the start, at most `max`.
fn prefix_len(bytes: &[u8], max: usize, is_wanted: fn(u8) -> bool) -> usize {
    let bytes = bytes.get(..max).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| !is_wanted(*byte));
    end.unwrap_or(bytes.len())
}

/// `METHOD target HTTP/1.` (RFC 9112, section 3). A path of `long_path` bytes needs no end.
fn http(bytes: &[u8], long_path: usize) -> Match {
    let method = METHODS
        .split_inclusive(' ')
        .find(|method| compare(bytes, method.as_bytes(), OtherProtocol::Http) != Match::No);
    let Some(method) = method else {
        return Match::No;
    };
    let rest = bytes.get(method.len()..).unwrap_or_default();
    let target = prefix_len(rest, long_path, |byte| byte > b' ' && byte != 0x7f);
    match rest.get(target..).unwrap_or_default() {
        // Only a path is worth a guess: text can have long words.
        _ if target == long_path && rest.starts_with(b"/") => Match::LongPath,
        [] => Match::Partial(OtherProtocol::Http),
        [b' ', version @ ..] if target > 0 => compare(version, b"HTTP/1.", OtherProtocol::Http),
        _ => Match::No,
    }
}

/// A TLS record with a whole client hello (RFC 8446, sections 4 and 5.1).
fn tls(bytes: &[u8]) -> Match {
    // The type, the version and the length of the record; the type, the length and the version of
    // the hello. The second bytes of versions count from SSL 3.0 to TLS 1.3.
    const LEAST: &[u8] = &[22, 3, 0, 0, 0, 1, 0, 0, 0, 3, 0];
    const MOST: &[u8] = &[22, 3, 4, 255, 255, 1, 0, 255, 255, 3, 4];
    let agree = match bytes {
        [_, _, _, record_high, record_low, _, _, high, low, ..] => {
            let record = u16::from_be_bytes([*record_high, *record_low]);
            let hello = u16::from_be_bytes([*high, *low]);
            record <= 16_384 && record.checked_sub(4) == Some(hello)
        }
        _ => true,
    };
    if agree {
        compare_bounds(bytes, LEAST, MOST, OtherProtocol::Tls)
    } else {
        Match::No
    }
}

/// `*N\r\n$M\r\n`, an array of strings.
fn resp(bytes: &[u8]) -> Match {
    let mut rest = bytes;
    for sign in b"*$" {
        let Some((first, after)) = rest.split_first() else {
            return Match::Partial(OtherProtocol::Redis);
        };
        let digits = prefix_len(after, 8, |byte| byte.is_ascii_digit());
        if first != sign || after.starts_with(b"0") {
            return Match::No;
        }
        let after = after.get(digits..).unwrap_or_default();
        match compare(after, b"\r\n", OtherProtocol::Redis) {
            Match::Full(_) if digits > 0 => rest = after.get(2..).unwrap_or_default(),
            partial @ Match::Partial(_) if digits > 0 || after.is_empty() => return partial,
            _ => return Match::No,
        }
    }
    Match::Full(OtherProtocol::Redis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First bytes of all kinds, which more bytes can follow.
    const STARTS: [&[u8]; 9] = [
        b"GET ",
        b"OPTIONS ",
        b"PRI * HTTP/2.0\r",
        b"SSH-2",
        b"PROXY UNKNOWN",
        b"\r\n\r\n\0\r\nQUIT",
        b"*1\r\n$",
        b"*12345678",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03",
    ];

    /// Bytes that can decide, after a path or at once.
    const ENDS: [&[u8]; 6] = [b" HTTP/1.1", b" ", b"\r\n$4\r\n", b"4\r\n", b"\0", b"x"];

    const HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";

    #[test]
    fn signature_is_complete_at_its_end_and_not_before() {
        for (signature, protocol) in [
            (&b"GET / HTTP/1."[..], OtherProtocol::Http),
            (b"OPTIONS * HTTP/1.", OtherProtocol::Http),
            (b"CONNECT a.example:443 HTTP/1.", OtherProtocol::Http),
            (b"PRI * HTTP/2.0\r\n", OtherProtocol::Http),
            (HELLO, OtherProtocol::Tls),
            (b"SSH-2.0-", OtherProtocol::Ssh),
            (b"SSH-1.", OtherProtocol::Ssh),
            (b"*2\r\n$4\r\n", OtherProtocol::Redis),
            (b"*12345678\r\n$12345678\r\n", OtherProtocol::Redis),
            (b"PROXY TCP4 ", OtherProtocol::Proxy),
            (b"PROXY TCP6 ", OtherProtocol::Proxy),
            (b"PROXY UNKNOWN\r", OtherProtocol::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n", OtherProtocol::Proxy),
        ] {
            for end in 0..signature.len() {
                assert!(
                    matches!(Match::of(&signature[..end]), Match::Partial(_)),
                    "{end}"
                );
            }
            assert_eq!(Match::of(signature), Match::Full(protocol));
            let more = [signature, b"1\xff"].concat();
            assert_eq!(OtherProtocol::detect(&more), Some(protocol));
        }
    }

    #[test]
    fn what_only_resembles_them_is_left_alone() {
        let other = |place: usize, byte: u8| {
            let mut hello = HELLO.to_vec();
            hello[place] = byte;
            hello
        };
        for bytes in [
            &b"GET\n"[..],
            b"GET \n",
            b"GET help\n",
            b"GET  HTTP/1.1",
            b"GET / HTTP/2.0",
            b"GET /a b HTTP/1.1",
            b"get / HTTP/1.1",
            b"GETS / HTTP/1.1",
            b"HTTP/1.1 200 OK",
            b"SSH-3.0-",
            b"*0\r\n",
            b"*\r\n$1\r\n",
            b"*1\n$1\n",
            b"*1\r\n:1\r\n",
            b"*123456789\r\n",
            b"PROXY TCP5 ",
            b"\r\n\r\n\0\r\nQUIT\r",
            &other(0, 0x17),
            &other(1, 2),
            &other(2, 5),
            &other(3, 3),
            &other(4, 1),
            &other(5, 2),
            &other(6, 1),
            &other(9, 4),
            &other(10, 5),
        ] {
            assert_eq!(Match::of(bytes), Match::No, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_follow_change_no_decision(
            start in prop::sample::select(&STARTS[..]),
            target in prop::sample::select(&["", "/", "*", "/a b", "a"][..]),
            long in prop::sample::select(&[0, 1, 510, 511, 512, 513, 600][..]),
            rest in prop::sample::select(&ENDS[..]),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let path = [target.as_bytes(), &vec![b'a'; long]].concat();
            let bytes = [start, &path, rest, &more].concat();
            let mut decided = None;
            for end in 0..=bytes.len() {
                let found = Match::of(&bytes[..end]);
                if let Some(decided) = decided {
                    prop_assert_eq!(found, decided, "at {}", end);
                }
                decided = (!matches!(found, Match::Partial(_))).then_some(found);
            }
        }
    }

    #[test]
    fn long_path_is_a_request_line_before_its_end() {
        let line = format!("POST /{}", "a".repeat(LONG_PATH - 1));
        let partial = Match::Partial(OtherProtocol::Http);
        assert_eq!(Match::of(&line.as_bytes()[..line.len() - 1]), partial);
        assert_eq!(Match::of(line.as_bytes()), Match::LongPath);
        // A target that is not a path.
        let word = line.replace('/', "x");
        assert_eq!(Match::of(word.as_bytes()), partial);
        assert_eq!(Match::of(format!("{word}x").as_bytes()), Match::No);
        assert!(is_http_request_line(format!("{line} HTTP/1.1").as_bytes()));
        assert!(!is_http_request_line(line.as_bytes()));
    }
}
