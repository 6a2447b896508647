//! What arrives from a server, and the conversion of messages to values.

use std::ops::Range;

use crate::{
    Decode, EncodeError, Error, Frame, FrameError, FrameKind, Peer, Rejection, RejectionKind,
    Result,
    buffer::{ReadBuffer, Unusual},
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
    pub(super) fn into_message(self, peer: &Peer, max_frame_len: usize) -> Result<Range<usize>> {
        match self {
            Self::Message(range) => Ok(range),
            Self::TooLarge(length) => Err(too_large(peer, length, max_frame_len)),
            Self::Rejection(rejection) => Err(Error::rejected(peer, rejection)),
        }
    }
}

/// Returns the error for a reply beyond the limit, or beyond the memory that there is.
#[cold]
pub(super) fn too_large(peer: &Peer, length: usize, max_frame_len: usize) -> Error {
    Error::no_frame(peer, FrameError::too_large(length, max_frame_len))
}

/// Returns the error for a request that is not in the buffer.
#[cold]
pub(super) fn not_encoded(unusual: Unusual) -> Error {
    match unusual {
        Unusual::Last | Unusual::Nothing { .. } => Error::encode(EncodeError::new("there is none")),
        Unusual::Error { text, .. } => Error::encode(EncodeError::new(text)),
        Unusual::Encode { error, .. } => Error::encode(error),
        Unusual::Frame { error, .. } => Error::unsendable(error),
    }
}

/// Decodes a reply, which may also borrow what its format writes to `scratch`.
pub(super) fn decode_bytes<'a, Format, T: Decode<'a, Format>>(
    peer: &Peer,
    frame: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<T> {
    T::decode(Frame::new(frame).with_scratch(scratch)).map_err(|source| Error::decode(peer, source))
}

/// Returns the error for the reply of another operation.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[cold]
pub(super) fn wrong_operation(peer: &Peer) -> Error {
    let source = crate::DecodeError::new("the reply is that of another operation");
    Error::decode(peer, source)
}
