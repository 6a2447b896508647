//! What the first bytes of a client look like.
//!
//! Each look is at a limited number of bytes, however many have arrived.

use super::foreign::OtherProtocol;

/// What the first bytes of a client look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// They are of no protocol that is recognised.
    None,
    /// They can become one.
    Maybe,
    /// They are an HTTP request line of which the target has not ended so far.
    Long,
    Clear(OtherProtocol),
}

/// The methods of RFC 9110 and RFC 5789. A web page can choose others, but then a browser asks with
/// OPTIONS first.
pub(super) const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
];
/// A target of so many bytes is one, although its end has not arrived. A browser sends more than
/// that in its first packet.
const LONG_TARGET: usize = 512;

/// First bytes that say by themselves what they are.
pub(super) const SIGNATURES: [(&[u8], OtherProtocol); 8] = [
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

impl Sight {
    /// Looks at some of the first bytes; how many, has a limit.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut sight = Self::None;
        for seen in &[
            http(bytes, LONG_TARGET),
            tls(bytes),
            resp(bytes),
            signature(bytes),
        ] {
            match seen {
                Self::None => {}
                Self::Maybe => sight = *seen,
                Self::Long | Self::Clear(_) => return *seen,
            }
        }
        sight
    }
}

/// Tells whether a peer that never got as far as a message has begun to speak another protocol, so
/// that it would not understand words of this one.
pub(crate) fn seems_foreign(bytes: &[u8]) -> bool {
    /// So many letters begin no other text by chance.
    const TELLING: usize = 4;
    match Sight::of(bytes) {
        Sight::None => false,
        Sight::Maybe => bytes.len() >= TELLING || bytes.first().is_some_and(u8::is_ascii_control),
        Sight::Long | Sight::Clear(_) => true,
    }
}

/// Matches what has arrived against what is expected there.
fn expect(bytes: &[u8], expected: &[u8], foreign: OtherProtocol) -> Sight {
    if bytes.starts_with(expected) {
        Sight::Clear(foreign)
    } else if expected.starts_with(bytes) {
        Sight::Maybe
    } else {
        Sight::None
    }
}

fn signature(bytes: &[u8]) -> Sight {
    for (signature, foreign) in &SIGNATURES {
        let sight = expect(bytes, signature, *foreign);
        if sight != Sight::None {
            return sight;
        }
    }
    Sight::None
}

/// Returns how many of the first `most` bytes stand before the first that is no `wanted` one.
fn run(bytes: &[u8], most: usize, wanted: fn(u8) -> bool) -> usize {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| !wanted(*byte));
    end.unwrap_or(bytes.len())
}

/// `METHOD target HTTP/1.` (RFC 9112, section 3).
pub(super) fn http(bytes: &[u8], long: usize) -> Sight {
    let method = METHODS
        .iter()
        .find(|method| expect(bytes, method, OtherProtocol::Http) != Sight::None);
    let Some(method) = method else {
        return Sight::None;
    };
    let rest = bytes.get(method.len()..).unwrap_or_default();
    let target = run(rest, long, |byte| byte > b' ' && byte != 0x7f);
    match rest.get(target..).unwrap_or_default() {
        // Only a path is worth a guess: text can have long words.
        _ if target == long && rest.starts_with(b"/") => Sight::Long,
        [] => Sight::Maybe,
        [b' ', version @ ..] if target > 0 => expect(version, b"HTTP/1.", OtherProtocol::Http),
        _ => Sight::None,
    }
}

/// A record with a whole client hello (RFC 8446, sections 4 and 5.1).
fn tls(bytes: &[u8]) -> Sight {
    const SHORTEST: usize = 11;
    let start = bytes.get(..SHORTEST).unwrap_or(bytes);
    let fits = start.iter().enumerate().all(|(at, byte)| match at {
        0 => *byte == 0x16,
        // Two versions, of which the second bytes count from SSL 3.0 to TLS 1.3.
        1 | 9 => *byte == 3,
        2 | 10 => *byte <= 4,
        5 => *byte == 1,
        6 => *byte == 0,
        // The lengths.
        _ => true,
    });
    let agree = match start {
        [_, _, _, record_high, record_low, _, _, high, low, ..] => {
            let record = u16::from_be_bytes([*record_high, *record_low]);
            let hello = u16::from_be_bytes([*high, *low]);
            record <= 16_384 && record.checked_sub(4) == Some(hello)
        }
        _ => true,
    };
    match start.len() {
        _ if !fits || !agree => Sight::None,
        SHORTEST => Sight::Clear(OtherProtocol::Tls),
        _ => Sight::Maybe,
    }
}

/// `*N\r\n$M\r\n`, an array of strings.
pub(super) fn resp(bytes: &[u8]) -> Sight {
    let mut rest = bytes;
    for sign in b"*$" {
        let Some((first, behind)) = rest.split_first() else {
            return Sight::Maybe;
        };
        let digits = run(behind, 8, |byte| byte.is_ascii_digit());
        if first != sign || behind.starts_with(b"0") {
            return Sight::None;
        }
        let behind = behind.get(digits..).unwrap_or_default();
        match expect(behind, b"\r\n", OtherProtocol::Redis) {
            Sight::Clear(_) if digits > 0 => rest = behind.get(2..).unwrap_or_default(),
            Sight::Maybe if digits > 0 || behind.is_empty() => return Sight::Maybe,
            _ => return Sight::None,
        }
    }
    Sight::Clear(OtherProtocol::Redis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";

    #[test]
    fn first_bytes_are_clear_at_the_end_of_their_signature_and_not_before() {
        for (signature, foreign) in [
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
                assert_eq!(Sight::of(&signature[..end]), Sight::Maybe, "{end}");
            }
            assert_eq!(Sight::of(signature), Sight::Clear(foreign));
            let more = [signature, b"1\xff"].concat();
            assert_eq!(OtherProtocol::detect(&more), Some(foreign));
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
            assert_eq!(Sight::of(bytes), Sight::None, "{bytes:?}");
        }
    }

    #[test]
    fn long_path_is_a_request_line_before_its_end() {
        let line = format!("POST /{}", "a".repeat(LONG_TARGET - 1));
        assert_eq!(Sight::of(&line.as_bytes()[..line.len() - 1]), Sight::Maybe);
        assert_eq!(Sight::of(line.as_bytes()), Sight::Long);
        // It may be anything but a path.
        let word = line.replace('/', "x");
        assert_eq!(Sight::of(word.as_bytes()), Sight::Maybe);
        assert_eq!(Sight::of(format!("{word}x").as_bytes()), Sight::None);
        assert!(OtherProtocol::is_http_request_line(
            format!("{line} HTTP/1.1").as_bytes()
        ));
        assert!(!OtherProtocol::is_http_request_line(line.as_bytes()));
    }
}
