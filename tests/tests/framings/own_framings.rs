//! Framings as users write them, for the tests beside this file.

use tcs::framing::{
    Delimited, Detection, Exchanges, FrameError, Framing, Input, ParsedFrame, delimiter,
};

pub(crate) type Semicolons = Delimited<{ delimiter(b";") }>;
pub(crate) type DotLines = Delimited<{ delimiter(b"\r\n.\r\n") }>;

/// A framing of one's own: messages of three bytes.
#[derive(Default)]
pub(crate) struct Threes;

/// A framing of one's own that must not be asked for the same frame twice: messages of 5, 6, 7, …
/// bytes.
#[derive(Default)]
pub(crate) struct Growing(usize);

/// A framing of one's own with one exchange, as finger has it with lines.
#[derive(Default)]
pub(crate) struct Single<F>(F);

/// A framing of one's own whose messages may be HTTP: up to `\n`.
#[derive(Default)]
pub(crate) struct OptedOut;

/// A framing of one's own that skips whatever arrives.
#[derive(Default)]
pub(crate) struct Skipping;

impl Framing for Skipping {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().len() {
            0 => Ok(None),
            length => Ok(Some(ParsedFrame::skip(length))),
        }
    }
}

impl Framing for Threes {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        sized(input, 3)
    }
}

impl Framing for Growing {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let parsed = sized(input, 5 + self.0)?;
        self.0 += usize::from(parsed.is_some());
        Ok(parsed)
    }
}

impl<F: Framing> Framing for Single<F> {
    const EXCHANGES: Exchanges = Exchanges::One;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.0.parse(input)
    }
}

impl Framing for OptedOut {
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(ParsedFrame::message(0..end, end + 1))),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        out.push(b'\n');
        Ok(())
    }
}

fn sized(input: Input<'_>, size: usize) -> Result<Option<ParsedFrame>, FrameError> {
    if input.bytes().len() < size {
        return ParsedFrame::incomplete(input);
    }
    Ok(Some(ParsedFrame::message(0..size, size)))
}
