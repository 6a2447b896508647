//! What arrives from a server.

use std::ops::Range;

use crate::{
    Error, Peer, Rejection, RejectionKind, Result, buffer::ReadBuffer, framing::FrameKind,
};

/// What a server says in place of a reply.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message, at this place of the read buffer.
    Message(Range<usize>),
    /// A message of this many bytes, beyond the limit, which is skipped.
    TooLarge(usize),
    /// A rejection that is not final.
    Rejection(Rejection),
}

impl Incoming {
    /// Classifies a frame. Returns `None` for a notice, and for bytes that are skipped.
    ///
    /// Takes the parts of the frame: a whole one would have to be put into memory for this call, even
    /// where the call does not happen.
    #[cold]
    pub(super) fn from_unusual(
        buffer: &ReadBuffer,
        kind: FrameKind,
        length: usize,
        frame: Range<usize>,
    ) -> Option<Self> {
        match kind {
            FrameKind::Message => Some(Self::Message(frame)),
            FrameKind::TooLarge => Some(Self::TooLarge(length)),
            FrameKind::Skip => None,
            FrameKind::Control(code) => {
                let kind = RejectionKind::from_code(code)?;
                let text = String::from_utf8_lossy(buffer.frame(frame));
                Some(Self::Rejection(Rejection::new(kind, text)))
            }
        }
    }

    /// Returns the place of the message, or the error of the request.
    #[inline]
    pub(super) fn into_range(self, peer: &Peer, max_frame_len: usize) -> Result<Range<usize>> {
        match self {
            Self::Message(range) => Ok(range),
            Self::TooLarge(length) => Err(Error::too_large(peer, length, max_frame_len)),
            Self::Rejection(rejection) => Err(Error::rejected(peer, rejection)),
        }
    }
}
