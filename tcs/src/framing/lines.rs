//! A line for each message.

use super::{Cut, FrameError, Framing, Input, foreign};

/// Text up to a line feed: what `nc`, telnet and many existing protocols speak.
///
/// A carriage return before the line feed is dropped; `\n` is written. A message that contains a
/// line feed cannot be sent. There are no control frames: the text of a function's error is sent
/// as the reply, and after any other refusal the connection closes, unless the protocol words them
/// (`refuse = …`). A last line without its line
/// feed is refused and never executed, because it may be half of one. A peer that begins with an
/// HTTP request line is answered with a 400, and one that begins with a length with a control frame;
/// nothing is executed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// How many bytes at the start of the input are known to hold no line feed.
    searched: usize,
    line: Line,
}

/// Which line is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    First,
    Later,
}

impl Framing for Lines {
    fn cut(&mut self, input: Input<'_>) -> Result<Option<Cut>, FrameError> {
        let bytes = input.bytes();
        if self.line == Line::First {
            foreign::refuse_length(input)?;
        }
        let unread = bytes.get(self.searched..).unwrap_or_default();
        let end = unread
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| self.searched + at);
        let known = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let line = known.strip_suffix(b"\r").unwrap_or(known);
        if line.len() > input.limit() {
            return Err(FrameError::too_large(line.len(), input.limit()));
        }
        let Some(end) = end else {
            self.searched = bytes.len();
            return input.unfinished();
        };
        if self.line == Line::First {
            foreign::refuse_http(input)?;
            self.line = Line::Later;
        }
        self.searched = 0;
        Ok(Some(Cut::message(0..line.len(), end + 1)))
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        if out.get(start..).unwrap_or_default().contains(&b'\n') {
            return Err(FrameError::unsendable(
                "the message contains a line feed, which would end it early",
            ));
        }
        out.push(b'\n');
        Ok(())
    }
}
