//! Framings whose parameters are known at run time, and that of Redis.

use memchr::{memchr, memmem};
use tcs::framing::{BlockLen, FrameError, Input, ParsedFrame};

use super::any::DynFraming;

/// A length anywhere in a header: as `tcs::framing::LengthField`, and `Prefixed`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LengthField {
    pub(super) width: usize,
    pub(super) offset: usize,
    pub(super) skip: usize,
    pub(super) adjust: i64,
    pub(super) is_little_endian: bool,
}

impl LengthField {
    fn header(&self) -> usize {
        self.offset + self.width
    }

    /// Returns what a frame has beyond the number in its header.
    fn uncounted(&self) -> i64 {
        i64::try_from(self.header()).unwrap_or(i64::MAX) + self.adjust
    }

    fn least(&self) -> usize {
        self.header().max(self.skip)
    }
}

impl DynFraming for LengthField {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some(field) = input.bytes().get(self.offset..self.header()) else {
            return ParsedFrame::incomplete(input);
        };
        let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = if self.is_little_endian {
            field.iter().rev().fold(0, push)
        } else {
            field.iter().fold(0, push)
        };
        let length = number.saturating_add_signed(self.uncounted());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < self.least() {
            let text = format_args!("a length of {number}, which is less than its header has");
            return Err(FrameError::malformed(text));
        }
        ParsedFrame::counted(input, self.skip, length - self.skip)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.skip, 0);
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let frame = out.get_mut(start..).unwrap_or_default();
        let length = frame.len();
        let number = (length as u64).checked_add_signed(-self.uncounted());
        let number = number.filter(|_| length >= self.least());
        let max = u64::MAX >> (64 - 8 * self.width);
        let Some(number) = number.filter(|number| *number <= max) else {
            return Err(FrameError::unsendable(format_args!(
                "a message of {} bytes, which a length of {} bytes cannot tell",
                length - self.skip.min(length),
                self.width
            )));
        };
        let field = frame.get_mut(self.offset..self.header());
        let field = field.unwrap_or_default();
        for (place, byte) in field.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        if !self.is_little_endian {
            field.reverse();
        }
        Ok(())
    }
}

/// A delimiter after each message: as `tcs::framing::Delimited`.
#[derive(Clone, Debug)]
pub(super) struct Delimited {
    pub(super) delimiter: Vec<u8>,
    pub(super) searched: usize,
}

impl DynFraming for Delimited {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let end = input.find(&self.delimiter, &mut self.searched)?;
        Ok(end.map(|end| ParsedFrame::message(0..end, end + self.delimiter.len())))
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let end = out.len() - start;
        out.extend_from_slice(&self.delimiter);
        let framed = out.get(start..).unwrap_or_default();
        if memmem::find(framed, &self.delimiter) == Some(end) {
            return Ok(());
        }
        Err(FrameError::unsendable("the message contains its delimiter"))
    }
}

/// Messages of the same length: as `tcs::framing::Fixed`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed(pub(super) usize);

impl DynFraming for Fixed {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        Ok(input
            .need(self.0)?
            .map(|_| ParsedFrame::message(0..self.0, self.0)))
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        match out.len() - start {
            length if length == self.0 => Ok(()),
            length => Err(FrameError::unsendable(format_args!(
                "a message of {length} bytes; each has {}",
                self.0
            ))),
        }
    }
}

/// The length of a block is word `NUMBER` of its line. A line with fewer words has no block.
#[derive(Debug)]
pub(super) enum Word<const NUMBER: usize> {}

impl<const NUMBER: usize> BlockLen for Word<NUMBER> {
    fn block_len(line: &str) -> Option<u64> {
        let word = line.split_ascii_whitespace().nth(NUMBER - 1)?;
        word.parse().ok()
    }
}

/// The protocol of Redis: a message is a value of RESP. A request may also be a line of words.
#[derive(Clone, Debug)]
pub(super) struct Resp {
    /// The end of what was read of a value that has not arrived whole, so that it is read once.
    at: usize,
    /// How many values of the message follow there, those in lists included.
    left: u64,
}

impl Default for Resp {
    fn default() -> Self {
        Self { at: 0, left: 1 }
    }
}

impl Resp {
    /// Goes on to the end of the message, and returns `false` if it has not arrived.
    fn has_whole(&mut self, bytes: &[u8]) -> Result<bool, FrameError> {
        while self.left > 0 {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(line_end) = memchr(b'\n', rest) else {
                return Ok(false);
            };
            let line = rest.get(..line_end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some((kind, digits)) = line.split_first() else {
                let text = "an empty line instead of a value of RESP";
                return Err(FrameError::malformed(text));
            };
            let (length, values) = match kind {
                b'$' | b'=' | b'!' => (
                    count(digits)?.map_or(0, |length| length.saturating_add(2)),
                    0,
                ),
                b'*' | b'~' | b'>' => (0, count(digits)?.unwrap_or(0)),
                b'%' => (0, count(digits)?.unwrap_or(0).saturating_mul(2)),
                // An attribute is of the value after it.
                b'|' => (
                    0,
                    count(digits)?
                        .unwrap_or(0)
                        .saturating_mul(2)
                        .saturating_add(1),
                ),
                _ => (0, 0),
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let after = (self.at + line_end + 1).saturating_add(length);
            if after > bytes.len() {
                return Ok(false);
            }
            self.at = after;
            self.left = self.left.saturating_add(values) - 1;
        }
        Ok(true)
    }
}

/// Reads a number of bytes or values. A null has none.
fn count(digits: &[u8]) -> Result<Option<u64>, FrameError> {
    let count = str::from_utf8(digits)
        .ok()
        .and_then(|it| it.parse::<i64>().ok());
    let count = count.ok_or_else(|| FrameError::malformed("a count of RESP that is not a number"));
    Ok(u64::try_from(count?).ok())
}

impl DynFraming for Resp {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let is_whole = self.has_whole(input.bytes())?;
        let length = if is_whole {
            self.at
        } else {
            input.bytes().len()
        };
        if length > input.limit() {
            return Err(FrameError::too_large(length, input.limit()));
        }
        if !is_whole {
            return ParsedFrame::incomplete(input);
        }
        let end = std::mem::take(self).at;
        let message = input.bytes().get(..end).unwrap_or_default();
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        let message = message.strip_suffix(b"\r").unwrap_or(message);
        Ok(Some(ParsedFrame::message(0..message.len(), end)))
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}
