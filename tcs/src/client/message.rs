//! Messages: what a server says, and requests and replies between bytes and values.

use std::ops::Range;

use crate::{
    Decode, DecodeError, EncodeError, Error, Frame, FrameError, Framing, Peer, Rejection,
    RejectionKind, Result,
    buffer::{ReadBuffer, Unusual},
    error::Repr,
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
    /// Returns the place of the message, or what the caller is told instead.
    #[inline]
    pub(super) fn into_message(self, peer: &Peer, max_frame_len: usize) -> Result<Range<usize>> {
        match self {
            Self::Message(range) => Ok(range),
            Self::TooLarge(length) => Err(too_large(peer, length, max_frame_len)),
            Self::Rejection(rejection) => Err(rejected(peer, rejection)),
        }
    }
}

/// Returns what a frame other than a message within the limit stands for, if it is not a notice.
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
    let none = |text: &str| {
        let source = EncodeError::new(text);
        Repr::Encode { source }
    };
    let repr = match unusual {
        Unusual::Last | Unusual::Nothing => none("there is none"),
        Unusual::Error(text) | Unusual::LastError(text) => none(&text),
        Unusual::Encode(source) => Repr::Encode { source },
        Unusual::Frame(source) => Repr::Unsendable { source },
    };
    repr.into()
}

/// Reads a reply.
pub(super) fn decode<'a, Format, T: Decode<'a, Format>>(peer: &Peer, frame: &'a [u8]) -> Result<T> {
    T::decode(Frame::new(frame)).map_err(|source| unreadable(peer, source))
}

/// Reads the reply that the framing has parsed last.
pub(super) fn take<'a, Format, T, F>(peer: &Peer, frame: &'a [u8], framing: &mut F) -> Result<T>
where
    T: Decode<'a, Format>,
    F: Framing,
{
    read(frame, framing).map_err(|source| unreadable(peer, source))
}

#[cold]
pub(super) fn unreadable(peer: &Peer, source: DecodeError) -> Error {
    let peer = peer.clone();
    Repr::Decode { peer, source }.into()
}

/// Returns what a caller is told whose reply is that of another operation.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[cold]
pub(super) fn mixed_up(peer: &Peer) -> Error {
    unreadable(
        peer,
        DecodeError::new("the reply is that of another operation"),
    )
}

#[cold]
pub(super) fn rejected(peer: &Peer, source: Rejection) -> Error {
    let peer = peer.clone();
    Repr::Refused { peer, source }.into()
}

#[cold]
pub(super) fn too_large(peer: &Peer, length: usize, max_frame_len: usize) -> Error {
    let peer = peer.clone();
    let source = FrameError::too_large(length, max_frame_len);
    let is_sent = true;
    Repr::Frame {
        peer,
        is_sent,
        source,
    }
    .into()
}
