//! Messages between a connection's buffers and those who write and read them.

use std::ops::Range;

use crate::{
    Decode, DecodeError, EncodeError, Error, Frame, FrameError, Framing, Peer, Rejection,
    RejectionKind, Result, Side, Writer,
    buffer::{ReadBuffer, Unusual, WriteBuffer},
    error::Repr,
    format::read,
    framing::FrameKind,
};

/// What a server said.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message, which stands there in the inbox.
    Message(Range<usize>),
    /// A message beyond the limit, of so many bytes, which are skipped.
    TooLarge(usize),
    Rejection(Rejection),
}

/// Returns how many bytes of requests go into one write where so many are in flight.
///
/// With a quarter each, both ends have work at the same time; below 1 KiB a write costs more than that
/// gains.
#[inline]
pub(super) fn portion(in_flight: u64) -> u64 {
    (in_flight / 4).clamp(1024, 32 * 1024)
}

/// Takes the next frame that stands for something out of the inbox, if one is complete.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "outlined, it costs half as much again"
)]
pub(super) fn hear<F: Framing>(
    framing: &mut F,
    inbox: &mut ReadBuffer,
    limit: usize,
) -> Result<Option<Heard>, FrameError> {
    while let Some(cut) = framing.parse(inbox.input(limit, Side::Client))? {
        let frame = inbox.consume(&cut.frame, cut.consumed);
        if cut.kind == FrameKind::Message {
            return Ok(Some(Heard::Message(frame)));
        }
        if let Some(unusual) = unusual(inbox, cut.kind, cut.frame.len(), frame) {
            return Ok(Some(unusual));
        }
        // A notice.
    }
    Ok(None)
}

/// Takes a frame that is no message within the limit for what it stands for, if for anything.
///
/// It takes the parts of a cut, because a whole one would have to be put into memory for it even
/// where it is not called.
#[cold]
fn unusual(
    inbox: &ReadBuffer,
    kind: FrameKind,
    length: usize,
    frame: Range<usize>,
) -> Option<Heard> {
    match kind {
        FrameKind::Message => Some(Heard::Message(frame)),
        FrameKind::TooLarge => Some(Heard::TooLarge(length)),
        FrameKind::Control(code) => {
            let kind = RejectionKind::from_code(code)?;
            let text = String::from_utf8_lossy(inbox.frame(frame));
            Some(Heard::Rejection(Rejection::new(kind, text)))
        }
    }
}

/// Puts a request into the outbox, whole or not at all.
#[inline(always)]
#[expect(clippy::inline_always, reason = "outlined, it costs a tenth of a call")]
pub(super) fn enqueue<F: Framing>(
    outbox: &mut WriteBuffer,
    framing: &mut F,
    limit: usize,
    encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<()> {
    outbox.prepare();
    match outbox.message(framing, limit, encode) {
        Ok(()) | Err(Unusual::Last) => Ok(()),
        Err(unusual) => Err(no_request(unusual)),
    }
}

#[cold]
fn no_request(unusual: Unusual) -> Error {
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

/// Reads a reply of `peer`.
pub(super) fn decode<'a, Format, T: Decode<'a, Format>>(
    peer: &Peer,
    frame: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<T> {
    T::decode_with(Frame::new(frame), scratch).map_err(|source| unreadable(peer, source))
}

/// Reads the reply of `peer` that the framing has cut last.
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
    read(frame, scratch, framing).map_err(|source| unreadable(peer, source))
}

pub(super) fn unreadable(peer: &Peer, source: DecodeError) -> Error {
    let peer = peer.clone();
    Repr::Decode { peer, source }.into()
}
