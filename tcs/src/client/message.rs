//! What arrives from a server, and the conversion of messages to values.

use std::ops::Range;

use crate::{
    Decode, EncodeError, Error, Frame, FrameError, Framing, Peer, Rejection, RejectionKind, Result,
    buffer::{ReadBuffer, Unusual},
    format::read,
    framing::FrameKind,
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
    /// Returns the place of the message, or the error of the caller.
    #[inline]
    pub(super) fn into_message(self, peer: &Peer, max_frame_len: usize) -> Result<Range<usize>> {
        match self {
            Self::Message(range) => Ok(range),
            Self::TooLarge(length) => {
                let source = FrameError::too_large(length, max_frame_len);
                Err(Error::no_frame(peer, source))
            }
            Self::Rejection(rejection) => Err(Error::rejected(peer, rejection)),
        }
    }
}

/// Classifies a frame that is not an ordinary message. Returns `None` for a notice.
#[cold]
pub(super) fn unusual(
    buffer: &ReadBuffer,
    kind: FrameKind,
    length: usize,
    frame: Range<usize>,
) -> Option<Incoming> {
    match kind {
        FrameKind::Message => Some(Incoming::Message(frame)),
        FrameKind::TooLarge => Some(Incoming::TooLarge(length)),
        FrameKind::Control(code) => {
            let kind = RejectionKind::from_code(code)?;
            let text = String::from_utf8_lossy(buffer.frame(frame));
            Some(Incoming::Rejection(Rejection::new(kind, text)))
        }
    }
}

#[cold]
pub(super) fn no_request(unusual: Unusual) -> Error {
    match unusual {
        Unusual::Last | Unusual::Nothing { .. } => Error::encode(EncodeError::new("there is none")),
        Unusual::Error { text, .. } => Error::encode(EncodeError::new(text)),
        Unusual::Encode(source) => Error::encode(source),
        Unusual::Frame(source) => Error::unsendable(source),
    }
}

/// Reads a reply. It may also borrow what its format writes into `scratch`.
pub(super) fn decode<'a, Format, T: Decode<'a, Format>>(
    peer: &Peer,
    frame: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<T> {
    T::decode(Frame::new(frame).with_scratch(scratch)).map_err(|source| Error::decode(peer, source))
}

/// Reads the reply that the framing has parsed last.
pub(super) fn take<'a, Format, T, F>(
    peer: &Peer,
    frame: &'a [u8],
    scratch: &'a mut Vec<u8>,
    framing: &mut F,
) -> Result<T>
where
    T: Decode<'a, Format>,
    F: Framing,
{
    read(frame, scratch, framing).map_err(|source| Error::decode(peer, source))
}

/// Returns the error for the reply of another operation.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[cold]
pub(super) fn mixed_up(peer: &Peer) -> Error {
    let source = crate::DecodeError::new("the reply is that of another operation");
    Error::decode(peer, source)
}
