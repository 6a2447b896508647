//! Framings by name: `lines`, `length-field(offset=4,width=2)`, `duplex(crlf-text,until-eof)`.
//!
//! `any.rs` has the framing that a name becomes, and `own.rs` those with parameters.

mod any;
mod own;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use tcs::framing::{
    Blocks, CodeLines, ContentLength, CrlfLines, CrlfText, DOT_END, Digits, Exchanges, Hex4,
    LengthPrefixed, Lines, Multiplexed, NO_TELNET, Netstrings, Raw, Side, UntilEof, Varint,
    Verbatim,
};

use self::{
    any::DynFraming,
    own::{Delimited, Fixed, LengthField, Resp, Word},
};
pub(crate) use any::{AnyFraming, Found, FrameKind};

use crate::escape::unescaped;

/// The help for options that take a framing.
pub(crate) const LONG_HELP: &str = "\
Framing of the messages [default: length-prefixed], one of:
  length-prefixed, multiplexed (of this library)
  lines, crlf-lines, crlf-text, code-lines, delimited(BYTES)
  blocks(word=N), content-length, netstrings, hex4, resp
  prefixed(width=N,little-endian,includes-header)
  length-field(width=N,offset=N,adjust=N,skip=N,little-endian)
  varint, digits, digits(:), fixed(N), until-eof, raw, verbatim
  duplex(REQUESTS,REPLIES): two of them
";

type Make = Arc<dyn Fn() -> Box<dyn DynFraming> + Send + Sync>;

/// A framing that was named on the command line.
#[derive(Clone)]
pub(crate) struct FramingSpec {
    text: String,
    requests: Make,
    replies: Option<Make>,
}

impl FramingSpec {
    /// Creates the framing of one end of a new connection.
    pub(crate) fn open(&self, side: Side) -> AnyFraming {
        let (requests, replies) = (&self.requests, self.replies.as_ref());
        let (reads, writes) = match (side, replies) {
            (Side::Client, Some(replies)) => (replies(), Some(requests())),
            (Side::Server, Some(replies)) => (requests(), Some(replies())),
            (_, None) => (requests(), None),
        };
        AnyFraming::new(reads, writes, side)
    }

    /// Returns how many exchanges a connection has.
    pub(crate) fn exchanges(&self) -> Exchanges {
        let replies = self
            .replies
            .as_ref()
            .map_or(Exchanges::Many, |make| make().exchanges());
        match ((self.requests)().exchanges(), replies) {
            (Exchanges::Many, replies) => replies,
            (requests, _) => requests,
        }
    }
}

impl Default for FramingSpec {
    fn default() -> Self {
        Self {
            text: "length-prefixed".to_owned(),
            requests: of::<LengthPrefixed>(),
            replies: None,
        }
    }
}

impl fmt::Display for FramingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FramingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FramingSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, arguments) = split(text)?;
        let (requests, replies) = match (name, arguments.as_slice()) {
            ("duplex", [requests, replies]) => (single(requests)?, Some(single(replies)?)),
            ("duplex", _) => return Err("`duplex` has two framings: duplex(lines,verbatim)".into()),
            _ => (single(text)?, None),
        };
        Ok(Self {
            text: text.to_owned(),
            requests,
            replies,
        })
    }
}

/// Returns what makes values of a framing of the library.
fn of<F: DynFraming + Default + 'static>() -> Make {
    Arc::new(|| Box::new(F::default()))
}

/// Returns what makes copies of a framing with parameters.
fn copies<F: DynFraming + Clone + Sync + 'static>(framing: F) -> Make {
    Arc::new(move || Box::new(framing.clone()))
}

/// Splits a name from its arguments.
fn split(text: &str) -> Result<(&str, Vec<&str>), String> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else {
        return Ok((text, Vec::new()));
    };
    let Some(inner) = rest.strip_suffix(')') else {
        return Err(format!("`{text}` has no `)` at its end"));
    };
    let (mut arguments, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                arguments.push(inner.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(inner.get(start..).unwrap_or_default());
    Ok((name.trim_end(), arguments))
}

/// Returns what makes a framing that is not `duplex`.
fn single(text: &str) -> Result<Make, String> {
    let (name, arguments) = split(text)?;
    let made = match (name, arguments.as_slice()) {
        ("length-prefixed", []) => of::<LengthPrefixed>(),
        ("multiplexed", []) => of::<Multiplexed>(),
        ("lines", []) => of::<Lines>(),
        ("crlf-lines", []) => of::<CrlfLines>(),
        ("crlf-text", []) => of::<CrlfText>(),
        ("crlf-text", ["dot-end"]) => of::<CrlfText<DOT_END>>(),
        ("crlf-text", ["no-telnet"]) => of::<CrlfText<NO_TELNET>>(),
        ("code-lines", []) => of::<CodeLines>(),
        ("content-length", []) => of::<ContentLength>(),
        ("netstrings", []) => of::<Netstrings>(),
        ("varint", []) => of::<Varint>(),
        ("digits", [] | [" "]) => of::<Digits<b' '>>(),
        ("digits", [":"]) => of::<Digits<b':'>>(),
        ("hex4", []) => of::<Hex4>(),
        ("resp", []) => of::<Resp>(),
        ("until-eof", []) => of::<UntilEof>(),
        ("raw", []) => of::<Raw>(),
        ("verbatim", []) => of::<Verbatim>(),
        ("blocks", [word]) => blocks(word)?,
        ("fixed", [length]) => match number(length)? {
            0 => return Err("`fixed` has at least one byte".into()),
            length => copies(Fixed(length)),
        },
        ("delimited", [_, ..]) => copies(delimited(text)?),
        ("prefixed" | "length-field", arguments) => copies(length_field(name, arguments)?),
        ("duplex", _) => return Err("`duplex` cannot be a part of `duplex`".into()),
        _ => {
            return Err(format!(
                "no framing is called `{text}`\n{}",
                LONG_HELP.trim_end()
            ));
        }
    };
    Ok(made)
}

fn delimited(text: &str) -> Result<Delimited, String> {
    let inner = text.trim().strip_prefix("delimited(").unwrap_or_default();
    let delimiter = unescaped(inner.strip_suffix(')').unwrap_or(inner))?;
    if delimiter.is_empty() {
        return Err(r"`delimited` has at least one byte: delimited(;), delimited(\r\n)".into());
    }
    Ok(Delimited {
        delimiter,
        searched: 0,
    })
}

fn blocks(word: &str) -> Result<Make, String> {
    Ok(match word.trim().strip_prefix("word=").map(number) {
        Some(Ok(1)) => of::<Blocks<Word<1>>>(),
        Some(Ok(2)) => of::<Blocks<Word<2>>>(),
        Some(Ok(3)) => of::<Blocks<Word<3>>>(),
        Some(Ok(4)) => of::<Blocks<Word<4>>>(),
        Some(Ok(5)) => of::<Blocks<Word<5>>>(),
        _ => {
            return Err(
                "`blocks` needs the word of the line that has the length, 1 to 5: blocks(word=5)"
                    .into(),
            );
        }
    })
}

fn length_field(name: &str, arguments: &[&str]) -> Result<LengthField, String> {
    let is_prefixed = name == "prefixed";
    let mut field = LengthField::default();
    for argument in arguments {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        match key.trim() {
            "width" => field.width = number(value)?,
            "offset" if !is_prefixed => field.offset = number(value)?,
            "skip" if !is_prefixed => field.skip = number(value)?,
            "adjust" if !is_prefixed => {
                let adjust: i32 = value.trim().parse().map_err(|_| no_number(value))?;
                field.adjust = adjust.into();
            }
            "little-endian" => field.is_little_endian = true,
            "includes-header" if is_prefixed => field.adjust = -1,
            key => {
                let known = if is_prefixed {
                    "width=N, little-endian and includes-header"
                } else {
                    "width=N, offset=N, adjust=N, skip=N and little-endian"
                };
                return Err(format!("`{name}` has {known}, and no `{key}`"));
            }
        }
    }
    if !(1..=8).contains(&field.width) {
        return Err(format!(
            "`{name}` needs the width of its length, 1 to 8 bytes: {name}(width=4)"
        ));
    }
    if is_prefixed {
        field.skip = field.width;
        field.adjust *= i64::try_from(field.width).unwrap_or_default();
    }
    Ok(field)
}

fn number(text: &str) -> Result<usize, String> {
    let number: u16 = text.trim().parse().map_err(|_| no_number(text))?;
    Ok(number.into())
}

fn no_number(text: &str) -> String {
    format!("`{text}` is not a number up to 65535")
}
