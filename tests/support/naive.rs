//! Encoders and decoders of the framings, written a second time: slowly, from `WIRE.md` alone.

use std::fmt::Write as _;

/// Hands a macro all framings whose messages do not depend on when they arrive, as
/// `name: Framing, NAIVE;`: each a module of tests, its type, and its constant of this module. What
/// follows the name of the macro comes before them.
#[macro_export]
macro_rules! every_framing {
    ($then:ident $($more:tt)*) => {
        $then! {
            $($more)*
            length_prefixed: ::tcs::framing::LengthPrefixed, LENGTH_PREFIXED;
            lines: ::tcs::framing::Lines, LINES;
            crlf_lines: ::tcs::framing::CrlfLines, CRLF_LINES;
            crlf_text: ::tcs::framing::CrlfText, CRLF_TEXT;
            blocks: ::tcs::framing::Blocks<$crate::naive::Plus>, BLOCKS;
            content_length: ::tcs::framing::ContentLength, CONTENT_LENGTH;
            semicolons: ::tcs::framing::Delimited<{ ::tcs::framing::delimiter(b";") }>, SEMICOLONS;
            dot_lines: ::tcs::framing::Delimited<{ ::tcs::framing::delimiter(b"\r\n.\r\n") }>, DOT_LINES;
            dashes: ::tcs::framing::Delimited<{ ::tcs::framing::delimiter(b"--") }>, DASHES;
            fixed: ::tcs::framing::Fixed<4>, FIXED_4;
            netstrings: ::tcs::framing::Netstrings, NETSTRINGS;
            prefixed_u8: ::tcs::framing::Prefixed<1>, PREFIXED_U8;
            prefixed_u8_whole: ::tcs::framing::Prefixed<1, { ::tcs::framing::INCLUDES_HEADER }>,
                PREFIXED_U8_WHOLE;
            prefixed_u16: ::tcs::framing::Prefixed<2>, PREFIXED_U16;
            prefixed_u16_little: ::tcs::framing::Prefixed<2, { ::tcs::framing::LITTLE_ENDIAN }>,
                PREFIXED_U16_LITTLE;
            prefixed_u32: ::tcs::framing::Prefixed<4>, PREFIXED_U32;
            prefixed_u32_little_whole:
                ::tcs::framing::Prefixed<4, { ::tcs::framing::LITTLE_ENDIAN | ::tcs::framing::INCLUDES_HEADER }>,
                PREFIXED_U32_LITTLE_WHOLE;
            varint: ::tcs::framing::Varint, VARINT;
            digits: ::tcs::framing::Digits<b' '>, DIGITS;
            duplex: ::tcs::framing::Duplex<::tcs::framing::Netstrings, ::tcs::framing::Netstrings>, NETSTRINGS;
            until_eof: ::tcs::framing::UntilEof, UNTIL_EOF;
        }
    };
}

/// A framing as anyone might write it who only wants it to be right.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests may add their own")]
pub struct Naive {
    /// Returns the bytes of a message, unless it cannot be sent.
    pub encode: fn(&[u8]) -> Option<Vec<u8>>,
    /// Takes a message off the start of a stream that has ended.
    pub decode: fn(&[u8]) -> Taken<'_>,
    /// Bytes that are likely to stand in a stream.
    pub alphabet: &'static [u8],
    /// Makes a message that can be sent, and can be the first on a connection, of any bytes.
    pub fit: fn(Vec<u8>) -> Vec<u8>,
    /// Whether a connection has but one message.
    pub once: bool,
}

/// What stands at the start of a stream: a message and the rest.
pub type Taken<'a> = Option<(&'a [u8], &'a [u8])>;

pub const LENGTH_PREFIXED: Naive = Naive {
    encode: |message| Some([&to_u32(message.len())[..], message].concat()),
    decode: |stream| {
        let (header, rest) = stream.split_first_chunk()?;
        let length = u32::from_be_bytes(*header);
        rest.split_at_checked(length as usize)
    },
    alphabet: &[0, 0, 0, 0, 1, 2, 3, 9],
    fit: |message| message,
    once: false,
};

/// All messages have the id 1.
pub const MULTIPLEXED: Naive = Naive {
    encode: |message| Some([&to_u32(message.len())[..], &to_u32(1), message].concat()),
    decode: |stream| {
        let (header, rest) = stream.split_first_chunk()?;
        let header = u64::from_be_bytes(*header);
        let has_id = header & 0xffff_ffff != 0;
        rest.split_at_checked((header >> 32) as usize)
            .filter(|_| has_id)
    },
    ..LENGTH_PREFIXED
};

/// The same bytes, as long as no length has its highest bit set.
pub const PREFIXED_U32: Naive = LENGTH_PREFIXED;

pub const PREFIXED_U16: Naive = Naive {
    encode: |message| {
        let length = u16::try_from(message.len()).ok()?;
        Some([&length.to_be_bytes()[..], message].concat())
    },
    decode: |stream| {
        let (header, rest) = stream.split_first_chunk()?;
        rest.split_at_checked(u16::from_be_bytes(*header).into())
    },
    alphabet: &[0, 0, 0, 1, 2, 3, 9],
    ..LENGTH_PREFIXED
};

pub const PREFIXED_U16_LITTLE: Naive = Naive {
    encode: |message| {
        let length = u16::try_from(message.len()).ok()?;
        Some([&length.to_le_bytes()[..], message].concat())
    },
    decode: |stream| {
        let (header, rest) = stream.split_first_chunk()?;
        rest.split_at_checked(u16::from_le_bytes(*header).into())
    },
    ..PREFIXED_U16
};

pub const PREFIXED_U32_LITTLE_WHOLE: Naive = Naive {
    encode: |message| {
        let length = u32::try_from(message.len() + 4).ok()?;
        Some([&length.to_le_bytes()[..], message].concat())
    },
    decode: |stream| {
        let header: [u8; 4] = stream.get(..4)?.try_into().ok()?;
        let (frame, rest) = stream.split_at_checked(u32::from_le_bytes(header) as usize)?;
        Some((frame.get(4..)?, rest))
    },
    alphabet: &[0, 0, 0, 4, 5, 6, 9],
    ..LENGTH_PREFIXED
};

pub const PREFIXED_U8: Naive = Naive {
    encode: |message| {
        let length = u8::try_from(message.len()).ok()?;
        Some([&[length][..], message].concat())
    },
    decode: |stream| {
        let (length, rest) = stream.split_first()?;
        rest.split_at_checked((*length).into())
    },
    alphabet: &[0, 1, 2, 3, 9],
    ..LENGTH_PREFIXED
};

pub const PREFIXED_U8_WHOLE: Naive = Naive {
    encode: |message| {
        let length = u8::try_from(message.len() + 1).ok()?;
        Some([&[length][..], message].concat())
    },
    decode: |stream| {
        let (frame, rest) = stream.split_at_checked((*stream.first()?).into())?;
        Some((frame.get(1..)?, rest))
    },
    ..PREFIXED_U8
};

pub const LINES: Naive = Naive {
    encode: |message| {
        let end: &[u8] = if message.ends_with(b"\r") {
            b"\r\n"
        } else {
            b"\n"
        };
        (!message.contains(&b'\n')).then(|| [message, end].concat())
    },
    decode: |stream| {
        let end = stream.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = (&stream[..end], &stream[end + 1..]);
        Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
    },
    alphabet: b"\n\n\r\ra;",
    fit: |message| {
        // A zero byte at the start of the first line is no text.
        let mut line = without(message, b'\n');
        if let Some(first) = line.first_mut() {
            *first = (*first).max(1);
        }
        line
    },
    once: false,
};

pub const CRLF_LINES: Naive = Naive {
    encode: |message| (!message.contains(&b'\n')).then(|| [message, b"\r\n"].concat()),
    decode: |stream| {
        let end = stream.iter().position(|byte| *byte == b'\n')?;
        let line = stream[..end].strip_suffix(b"\r")?;
        Some((line, &stream[end + 1..]))
    },
    alphabet: b"\r\n\ra",
    ..LINES
};

/// Without zero bytes, which cannot begin a text, and the commands of telnet.
pub const CRLF_TEXT: Naive = Naive {
    encode: |message| {
        let mut lines = message.split(|byte| *byte == b'\n');
        let is_command = |line: &[u8]| line.starts_with(b"\xff") && !line.starts_with(b"\xff\xff");
        if lines.any(is_command) || message.windows(2).any(|it| it == b"\r\0") {
            return None;
        }
        Some(with_crlf(message))
    },
    fit: |message| (LINES.fit)(without(without(message, 0), 0xff)),
    ..LINES
};

/// A message of some bytes is a reply of as many lines as these have.
pub const CODE_LINES: Naive = Naive {
    encode: |message| {
        let written = with_crlf(message);
        let (_, rest) = (CODE_LINES.decode)(&written)?;
        rest.is_empty().then_some(written)
    },
    decode: |stream| {
        let code = stream.get(..3)?;
        let first = match stream.get(3)? {
            b'\r' => stream.get(4)? == &b'\n',
            other => b" -\n".contains(other),
        };
        if !first || !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut start = 0;
        loop {
            let length = stream
                .get(start..)?
                .iter()
                .position(|byte| *byte == b'\n')?;
            let line = &stream[start..start + length];
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            if text == code || text.starts_with(&[code, b" "].concat()) {
                return Some((&stream[..start + text.len()], &stream[start + length + 1..]));
            }
            start += length + 1;
        }
    },
    alphabet: b"2225- \r\n\n",
    fit: |mut message| {
        message.retain(|byte| !b"\r\n".contains(byte));
        // The code and two lines, where there is room for them.
        let half = message.len() / 2;
        let second = message.split_off(half);
        match message.get_mut(..4) {
            Some(code) if second.len() >= 6 => {
                code.copy_from_slice(b"250-");
                [&message[..], b"\r\n250 ", &second[6..]].concat()
            }
            _ => [b"250 ", &message[..]].concat(),
        }
    },
    once: false,
};

/// Finds the length of a block: a line of `+` and digits announces this many bytes.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it has no values")]
pub enum Plus {}

impl tcs::framing::BlockLen for Plus {
    fn block_len(line: &str) -> Option<u64> {
        let digits = line.strip_prefix('+')?;
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        are_digits.then(|| digits.parse().ok())?
    }
}

pub const BLOCKS: Naive = Naive {
    encode: |message| Some([message, b"\r\n"].concat()),
    decode: |stream| {
        let (line, rest) = split_at(stream, b"\n")?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        let announced = text.strip_prefix('+').filter(|it| !it.contains('+'));
        let Some(length) = announced.and_then(|digits| digits.parse::<usize>().ok()) else {
            return Some((line, rest));
        };
        let end = stream.len() - rest.len() + length;
        let (message, rest) = stream.split_at_checked(end)?;
        Some((message, rest.strip_prefix(b"\r\n")?))
    },
    alphabet: b"+\n+\n12\r\n\ra",
    fit: |mut message| {
        if message.len().is_multiple_of(2) {
            return (LINES.fit)(without(message, b'+'));
        }
        message.truncate(LONGEST_BLOCK);
        [format!("+{}\r\n", message.len()).as_bytes(), &message].concat()
    },
    once: false,
};

/// With its line, it is within the limit of the tests.
const LONGEST_BLOCK: usize = 59;

pub const CONTENT_LENGTH: Naive = Naive {
    encode: |message| {
        let header = format!("Content-Length: {}\r\n\r\n", message.len());
        Some([header.as_bytes(), message].concat())
    },
    decode: |stream| {
        let (headers, rest) = split_at(stream, b"\r\n\r\n")?;
        let headers = std::str::from_utf8(headers).ok()?.to_lowercase();
        let length = headers
            .strip_prefix("content-length:")?
            .trim()
            .parse()
            .ok()?;
        rest.split_at_checked(length)
    },
    alphabet: b"\r\n:a1",
    ..LENGTH_PREFIXED
};

pub const SEMICOLONS: Naive = Naive {
    encode: |message| end_with(message, b";"),
    decode: |stream| split_at(stream, b";"),
    alphabet: b";;a\n",
    fit: |message| without(message, b';'),
    once: false,
};

pub const DOT_LINES: Naive = Naive {
    encode: |message| end_with(message, b"\r\n.\r\n"),
    decode: |stream| split_at(stream, b"\r\n.\r\n"),
    alphabet: b"\r\n.\r\na",
    fit: |message| without(message, b'.'),
    once: false,
};

/// A delimiter that can begin within itself.
pub const DASHES: Naive = Naive {
    encode: |message| end_with(message, b"--"),
    decode: |stream| split_at(stream, b"--"),
    alphabet: b"--a",
    fit: |message| without(message, b'-'),
    once: false,
};

pub const FIXED_4: Naive = Naive {
    encode: |message| (message.len() == 4).then(|| message.to_vec()),
    decode: |stream| stream.split_at_checked(4),
    alphabet: b"ab",
    fit: |mut message| {
        message.resize(4, b'x');
        message
    },
    once: false,
};

pub const NETSTRINGS: Naive = Naive {
    encode: |message| {
        let mut text = String::new();
        write!(text, "{}:", message.len()).ok()?;
        Some([text.as_bytes(), message, b","].concat())
    },
    decode: |stream| {
        let colon = stream.iter().position(|byte| *byte == b':')?;
        let digits = std::str::from_utf8(&stream[..colon]).ok()?;
        let length: usize = digits.parse().ok()?;
        // A plus sign, or zeros before it, would be another way to write it.
        if length.to_string() != digits {
            return None;
        }
        let (message, rest) = stream[colon + 1..].split_at_checked(length)?;
        Some((message, rest.strip_prefix(b",")?))
    },
    alphabet: b"0011:::,,,2-+",
    ..LENGTH_PREFIXED
};

/// A text up to a line of a single dot, which is not a part of it.
pub const DOTTED: Naive = Naive {
    encode: |_| None,
    decode: |stream| {
        let mut length = 0;
        loop {
            let (line, rest) = split_at(&stream[length..], b"\r\n")?;
            if line == b"." {
                return Some((&stream[..length], rest));
            }
            length = stream.len() - rest.len();
        }
    },
    alphabet: b"\r\n\r\n..a",
    ..LENGTH_PREFIXED
};

/// Removes one dot from each line that begins with one.
pub fn unstuffed(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

pub const FIELD_U16_AFTER_4: Naive = Naive {
    encode: |message| {
        let length = u16::try_from(message.len().checked_sub(6)?).ok()?;
        let mut frame = message.to_vec();
        frame[4..6].copy_from_slice(&length.to_be_bytes());
        Some(frame)
    },
    decode: |stream| {
        let length = u16::from_be_bytes(*stream.get(4..)?.first_chunk()?);
        stream.split_at_checked(6 + usize::from(length))
    },
    alphabet: &[0, 0, 0, 0, 0, 1, 2, 9],
    fit: |message| fill(FIELD_U16_AFTER_4, message, 6),
    once: false,
};

pub const FIELD_U24_LITTLE: Naive = Naive {
    encode: |message| {
        let length = u32::try_from(message.len().checked_sub(4)?).ok()?;
        Some([&length.to_le_bytes()[..3], &message[3..]].concat())
    },
    decode: |stream| {
        let [a, b, c, _] = *stream.first_chunk()?;
        stream.split_at_checked(4 + u32::from_le_bytes([a, b, c, 0]) as usize)
    },
    fit: |message| fill(FIELD_U24_LITTLE, message, 4),
    ..FIELD_U16_AFTER_4
};

/// The byte before the length is skipped.
pub const FIELD_U8_COUNTS_ALL: Naive = Naive {
    encode: |message| {
        let (_, body) = message.split_first()?;
        let length = u8::try_from(message.len() + 1).ok()?;
        Some([&[0, length][..], body].concat())
    },
    decode: |stream| {
        let (frame, rest) = stream.split_at_checked((*stream.get(1)?).into())?;
        (frame.len() >= 2).then_some((frame.get(1..)?, rest))
    },
    alphabet: &[0, 2, 3, 4, 9],
    fit: |mut message| {
        message.truncate(200);
        let mut message = fill(FIELD_U8_COUNTS_ALL, message, 1);
        message.remove(0);
        message
    },
    once: false,
};

pub const FIELD_U64: Naive = Naive {
    encode: |message| Some([&(message.len() as u64).to_be_bytes()[..], message].concat()),
    decode: |stream| {
        let (header, rest) = stream.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*header)).ok()?;
        rest.split_at_checked(length)
    },
    alphabet: &[0, 0, 0, 0, 0, 0, 0, 1, 2],
    ..LENGTH_PREFIXED
};

pub const VARINT: Naive = Naive {
    encode: |message| {
        let (mut frame, mut rest) = (Vec::new(), message.len());
        while rest > 127 {
            frame.push(u8::try_from(rest % 128).ok()? + 128);
            rest /= 128;
        }
        frame.push(u8::try_from(rest).ok()?);
        Some([&frame[..], message].concat())
    },
    decode: |stream| {
        let (length, width) = varint(stream)?;
        stream[width..].split_at_checked(length)
    },
    alphabet: &[0, 1, 2, 3, 9, 0x80, 0x81, 0x83],
    ..LENGTH_PREFIXED
};

/// The byte before the length, and the length, are part of the message.
pub const VARINT_AFTER_1: Naive = Naive {
    encode: |message| {
        let (first, rest) = message.split_first()?;
        let (_, width) = short_varint(rest)?;
        Some([&[*first][..], &(VARINT.encode)(&rest[width..])?].concat())
    },
    decode: |stream| {
        let (length, width) = short_varint(stream.get(1..)?)?;
        stream.split_at_checked(1 + width + length)
    },
    fit: |message| {
        let framed = (VARINT.encode)(&message).expect("it can be sent");
        // The first byte of a connection with which TLS, or a PROXY header, does not begin.
        let mut fit = [b"0", &framed[..]].concat();
        fit.truncate(64);
        (VARINT_AFTER_1.encode)(&fit).expect("it has a length")
    },
    ..VARINT
};

/// A length of at most 4 bytes.
fn short_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    varint(bytes).filter(|(_, width)| *width <= 4)
}

pub const DIGITS: Naive = Naive {
    encode: |message| Some([message.len().to_string().as_bytes(), b" ", message].concat()),
    decode: |stream| {
        let end = stream.iter().position(|byte| *byte == b' ')?;
        let (length, rest) = stream.split_at(end);
        let digits = std::str::from_utf8(length).ok()?;
        let length: usize = digits.parse().ok()?;
        rest[1..]
            .split_at_checked(length)
            .filter(|_| length.to_string() == digits)
    },
    alphabet: b"0011  2-+",
    ..LENGTH_PREFIXED
};

pub const HEX4: Naive = Naive {
    encode: |message| match message {
        b"0000" | b"0001" | b"0002" | b"0004" => Some(message.to_vec()),
        [_, _, _, _, rest @ ..] if (1..=65_516).contains(&rest.len()) => {
            Some([format!("{:04x}", message.len()).as_bytes(), rest].concat())
        }
        _ => None,
    },
    decode: |stream| {
        let digits = stream.get(..4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) || digits == b"0003" {
            return None;
        }
        let length = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        let line = stream.split_at_checked(length.max(4));
        line.filter(|_| length <= 65_520)
    },
    alphabet: b"00000000123456aAg",
    fit: |message| fill(HEX4, message, 5),
    once: false,
};

pub const UNTIL_EOF: Naive = Naive {
    encode: |message| Some(message.to_vec()),
    decode: |stream| (!stream.is_empty()).then_some((stream, &[])),
    alphabet: b"ab\n",
    fit: |mut message| {
        if message.is_empty() {
            message.push(b'x');
        }
        message
    },
    once: true,
};

/// Gives each line of a text, which ends with `\n`, `\r\n` or the text, a `\r\n`.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let (mut written, mut rest) = (Vec::new(), text);
    loop {
        let (line, after) = split_at(rest, b"\n").unwrap_or((rest, b""));
        let has_end = line.len() < rest.len();
        let bare = line.strip_suffix(b"\r").filter(|_| has_end);
        written.extend([bare.unwrap_or(line), b"\r\n"].concat());
        if after.is_empty() {
            return written;
        }
        rest = after;
    }
}

/// Makes a message with the right length in it, of `least` bytes or more.
fn fill(naive: Naive, mut message: Vec<u8>, least: usize) -> Vec<u8> {
    message.resize(message.len().max(least), b'x');
    // With what a stream can begin.
    message[0] = message[0].max(b'0');
    (naive.encode)(&message).expect("it can be sent")
}

/// Returns the number at the start of `bytes`, and its width.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = bytes.iter().take(5).position(|byte| *byte < 128)?;
    let digits = bytes[..=last].iter().rev();
    let number = digits.fold(0_u64, |number, byte| number * 128 + u64::from(byte % 128));
    let number = u32::try_from(number).ok()?;
    Some((usize::try_from(number).ok()?, last + 1))
}

fn to_u32(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("tests are small")
        .to_be_bytes()
}

fn without(message: Vec<u8>, byte: u8) -> Vec<u8> {
    message.into_iter().filter(|other| *other != byte).collect()
}

fn end_with(message: &[u8], delimiter: &[u8]) -> Option<Vec<u8>> {
    let framed = [message, delimiter].concat();
    let (found, _) = split_at(&framed, delimiter)?;
    (found == message).then_some(framed)
}

fn split_at<'a>(stream: &'a [u8], delimiter: &[u8]) -> Taken<'a> {
    let mut windows = stream.windows(delimiter.len());
    let at = windows.position(|window| window == delimiter)?;
    Some((&stream[..at], &stream[at + delimiter.len()..]))
}
