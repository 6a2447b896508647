//! A framing that is chosen at run time.

use std::fmt;

use tcs::{
    Rejection,
    framing::{
        self, Announcement, Exchanges, FrameError, Framing, Input, Notice, ParsedFrame, Side,
    },
};

/// What this tool uses of a framing.
///
/// Every framing of the library has it. Those that have parameters at run time are in `own.rs`, because a framing of
/// the library has its parameters in its type.
pub(super) trait DynFraming: Send {
    fn exchanges(&self) -> Exchanges {
        Exchanges::Many
    }
    fn has_ids(&self) -> bool {
        false
    }
    fn set_side(&mut self, _side: Side) {}
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError>;
    fn begin(&mut self, _out: &mut Vec<u8>) {}
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError>;
    fn reject(&mut self, _out: &mut Vec<u8>, _rejection: &Rejection) -> bool {
        false
    }
    fn notice(&mut self, _out: &mut Vec<u8>, _notice: Notice) -> bool {
        false
    }
    fn set_id(&mut self, _id: u32) {}
}

impl<F: Framing> DynFraming for F {
    fn exchanges(&self) -> Exchanges {
        F::EXCHANGES
    }
    fn has_ids(&self) -> bool {
        F::HAS_IDS
    }
    fn set_side(&mut self, side: Side) {
        Framing::set_side(self, side);
    }
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        Framing::parse(self, input)
    }
    fn begin(&mut self, out: &mut Vec<u8>) {
        Framing::begin(self, out);
    }
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        Framing::finish(self, out, start)
    }
    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        Framing::reject(self, out, rejection)
    }
    fn notice(&mut self, out: &mut Vec<u8>, notice: Notice) -> bool {
        Framing::notice(self, out, notice)
    }
    fn set_id(&mut self, id: u32) {
        Framing::set_id(self, id);
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A request or a reply.
    Message,
    /// A message that a notice has announced.
    Announced(Announcement),
    /// A control frame with this code: a rejection or a notice.
    Control(u8),
    /// A message beyond the limit, of this number of bytes.
    Oversized(usize),
    /// Bytes outside of messages.
    Skip,
}

/// A frame at the start of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) kind: FrameKind,
    /// The message, or the text of the control frame. That of an oversized one is empty.
    pub(crate) payload: &'a [u8],
    /// The length of the frame. That of an oversized one may be beyond the input.
    pub(crate) consumed: usize,
    /// The id of its request, or 0.
    pub(crate) id: u32,
}

/// The framing of one end of a connection: reads what the other end writes, and writes its own.
pub(crate) struct AnyFraming {
    /// Of what this end reads.
    reads: Box<dyn DynFraming>,
    /// Of what it writes, if that is another framing.
    writes: Option<Box<dyn DynFraming>>,
    side: Side,
    announced: Option<(Announcement, u32)>,
}

impl fmt::Debug for AnyFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyFraming").finish_non_exhaustive()
    }
}

impl AnyFraming {
    pub(super) fn new(
        mut reads: Box<dyn DynFraming>,
        mut writes: Option<Box<dyn DynFraming>>,
        side: Side,
    ) -> Self {
        reads.set_side(side);
        if let Some(writes) = &mut writes {
            writes.set_side(side);
        }
        Self {
            reads,
            writes,
            side,
            announced: None,
        }
    }

    /// Returns the end whose framing this is.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// Returns `true` if frames have the ids of their requests.
    pub(crate) fn has_ids(&self) -> bool {
        self.writes.is_none() && self.reads.has_ids()
    }

    /// Returns the frame that `input` begins with, or `None` if it is not complete.
    pub(crate) fn parse<'a>(&mut self, input: Input<'a>) -> Result<Option<Found<'a>>, FrameError> {
        let Some(frame) = self.reads.parse(input)? else {
            return Ok(None);
        };
        let payload = input.bytes().get(frame.payload()).unwrap_or_default();
        let kind = match frame.kind() {
            framing::FrameKind::Control(code) => {
                // The messages after it were announced (`WIRE.md`).
                if let Some(Notice::Announce(what, count)) = Notice::from_frame(code, payload) {
                    self.announced = Some((what, count));
                }
                FrameKind::Control(code)
            }
            framing::FrameKind::Oversized => FrameKind::Oversized(frame.payload().len()),
            framing::FrameKind::Skip => FrameKind::Skip,
            _ => match &mut self.announced {
                Some((what, left)) if *left > 0 => {
                    *left -= 1;
                    FrameKind::Announced(*what)
                }
                _ => FrameKind::Message,
            },
        };
        Ok(Some(Found {
            kind,
            payload,
            consumed: frame.consumed(),
            id: frame.id(),
        }))
    }

    /// Returns what writes frames, with the id `id` in those that it writes from now on.
    fn writer(&mut self, id: u32) -> &mut dyn DynFraming {
        let writer = self.writes.as_mut().unwrap_or(&mut self.reads);
        writer.set_id(id);
        writer.as_mut()
    }

    /// Appends the frame of a message.
    pub(crate) fn write(
        &mut self,
        message: &[u8],
        id: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let start = out.len();
        let writer = self.writer(id);
        writer.begin(out);
        out.extend_from_slice(message);
        let written = writer.finish(out, start);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// Appends the frame of a rejection. Returns `false` if the framing has none.
    pub(crate) fn reject(&mut self, rejection: &Rejection, id: u32, out: &mut Vec<u8>) -> bool {
        self.writer(id).reject(out, rejection)
    }

    /// Appends a notice, if the framing has notices.
    pub(crate) fn notice(&mut self, notice: Notice, id: u32, out: &mut Vec<u8>) {
        self.writer(id).notice(out, notice);
    }
}
