//! What passes, as lines of text.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Instant,
};

use tcs::{
    RejectionKind,
    framing::{Announcement, Input, ReadState, Side},
};

use super::fault::Direction;
use crate::{
    escape::{escaped, to_hex},
    framing::{AnyFraming, Found, FrameKind, FramingSpec},
    payload::View,
};

/// A longer message is shown as bytes, so that the memory of a connection is bounded.
const MAX_FRAME: usize = 1 << 20;
/// What a line has, unless all is to be shown.
const WIDTH: usize = 79;

/// How everything is shown.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) start: Instant,
    pub(super) view: View,
    /// Whether messages are shown whole.
    pub(super) is_full: bool,
    pub(super) is_quiet: bool,
}

impl Style {
    /// Prints a line about a connection.
    pub(super) fn line(&self, connection: u64, text: &str) {
        if self.is_quiet {
            return;
        }
        let mut line = format!(
            "{:>10.6} #{connection} {text}",
            self.start.elapsed().as_secs_f64()
        );
        if !self.is_full && line.chars().count() > WIDTH {
            line = line.chars().take(WIDTH - 1).chain(['…']).collect();
        }
        // The output was closed, so nothing more is shown; the connections go on.
        let _closed = writeln!(io::stdout().lock(), "{line}");
    }
}

/// Shows one direction of a connection.
pub(super) struct Show {
    style: Arc<Style>,
    connection: u64,
    direction: Direction,
    /// `None` after bytes that are not a frame: where the next begins is unknown.
    framing: Option<AnyFraming>,
    unread: Vec<u8>,
    /// Of a frame beyond the limit, what has not passed yet.
    skip: usize,
}

impl Show {
    pub(super) fn new(
        style: Arc<Style>,
        framing: &FramingSpec,
        connection: u64,
        direction: Direction,
    ) -> Self {
        let side = match direction {
            Direction::Up => Side::Server,
            Direction::Down => Side::Client,
        };
        Self {
            style,
            connection,
            direction,
            framing: Some(framing.open(side)),
            unread: Vec::new(),
            skip: 0,
        }
    }

    /// Shows the frames that these bytes complete.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if self.style.is_quiet {
            return;
        }
        self.unread.extend_from_slice(bytes);
        self.frames(ReadState::Idle);
    }

    /// Shows the end of the direction.
    pub(super) fn end(&mut self) {
        self.frames(ReadState::Eof);
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            self.message("incomplete", 0, &unread);
        }
        self.note("end");
    }

    /// Shows what happens to the direction.
    pub(super) fn note(&self, text: &str) {
        let line = format!("{} {text}", self.direction);
        self.style.line(self.connection, &line);
    }

    fn frames(&mut self, state: ReadState) {
        loop {
            let skipped = self.skip.min(self.unread.len());
            self.unread.drain(..skipped);
            self.skip -= skipped;
            if self.unread.is_empty() {
                return;
            }
            let Some(framing) = &mut self.framing else {
                let unread = std::mem::take(&mut self.unread);
                return self.message("bytes", 0, &unread);
            };
            let input = Input::new(&self.unread, MAX_FRAME, framing.side(), state);
            match framing.parse(input) {
                Ok(None) => return,
                Ok(Some(found)) => {
                    self.skip = found.consumed;
                    self.found(found);
                }
                Err(error) => {
                    // Of a frame that was cut short, what there is of it is shown as incomplete.
                    if state != ReadState::Eof {
                        self.note(&format!("no frame: {error}; from here on bytes"));
                    }
                    self.framing = None;
                }
            }
        }
    }

    fn found(
        &self,
        Found {
            kind, payload, id, ..
        }: Found<'_>,
    ) {
        match kind {
            FrameKind::Message => self.message("message", id, payload),
            FrameKind::Announced(what) => self.message(announced(what), id, payload),
            FrameKind::Control(code) => match RejectionKind::from_code(code) {
                Some(kind) => self.message(&kind.to_string(), id, payload),
                None => self.message(notice(code), id, payload),
            },
            FrameKind::Oversized(length) => {
                self.note(&format!("message {length} (too long to show)"));
            }
            FrameKind::Skip => {}
        }
    }

    fn message(&self, kind: &str, id: u32, message: &[u8]) {
        let id = match id {
            0 => String::new(),
            id => format!(" id {id}"),
        };
        let width = if self.style.is_full {
            usize::MAX
        } else {
            WIDTH
        };
        let shown = in_line(self.style.view, message, width);
        self.note(&format!("{kind}{id} {} {shown}", message.len()));
    }
}

/// Returns a message in a line: a value of the format, text, or hexadecimal digits. `width` characters are enough.
fn in_line(view: View, message: &[u8], width: usize) -> String {
    let hex = || to_hex(message.get(..width).unwrap_or(message));
    if view.hex {
        return hex();
    }
    match (view.value_line(message), str::from_utf8(message)) {
        (Ok(Some(line)), _) => line,
        (_, Ok(text)) if text.chars().all(is_text) => {
            let end = text.char_indices().nth(width).map(|(end, _)| end);
            let text = end.and_then(|end| text.get(..end)).unwrap_or(text);
            let text = escaped(text.as_bytes());
            format!("\"{}\"", text.replace('\n', "\\n").replace('\t', "\\t"))
        }
        _ => hex(),
    }
}

fn is_text(character: char) -> bool {
    !character.is_control() || matches!(character, '\r' | '\n' | '\t')
}

const fn announced(what: Announcement) -> &'static str {
    match what {
        Announcement::Items => "item",
        Announcement::Events => "event",
        Announcement::Chunks => "chunk",
        Announcement::Parts => "part",
        _ => "announced",
    }
}

/// The names are those of `WIRE.md`.
const fn notice(code: u8) -> &'static str {
    match code {
        0x80 => "ping",
        0x81 => "items follow",
        0x82 => "events follow",
        0x83 => "chunks follow",
        0x84 => "end of chunks",
        0x85 => "parts follow",
        0x86 => "credit",
        0x87 => "cancel",
        0x88 => "deadline",
        _ => "notice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_is_formatted() {
        let view = View::default();
        assert_eq!(in_line(view, "äb\nc".as_bytes(), 3), "\"äb\\n\"");
        assert_eq!(in_line(view, "äb\nc".as_bytes(), usize::MAX), "\"äb\\nc\"");
        assert_eq!(in_line(view, &[0xff; 9], 2), "ff ff");
        assert_eq!(in_line(view, &[0xff], 2), "ff");
    }
}
