//! The frames that have arrived.

use crate::{Arrival, ParsedFrame, Side, Unparsed};

/// The unread bytes of an inbox, while frames are taken off them.
///
/// Frames are lent for as long as the bytes are, so that a loop over them keeps all of this in
/// registers.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) arrival: Arrival,
    pub(super) start: &'a mut usize,
    pub(super) skip: &'a mut usize,
    pub(super) skipped: &'a mut usize,
}

impl<'a> Frames<'a> {
    /// Describes the unread bytes to a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Unparsed<'a> {
        Unparsed::new(self.unread(), limit, side, self.arrival)
    }

    /// Takes what was cut off `input`; returns the frame, or nothing if the framing made it up.
    ///
    /// What has not arrived of it is dropped when it does.
    #[inline]
    pub(crate) fn take(&mut self, input: Unparsed<'a>, cut: ParsedFrame) -> &'a [u8] {
        let ParsedFrame {
            frame, consumed, ..
        } = cut;
        // The input is at hand; to look for it again would cost more than all else here.
        let unread = input.bytes();
        if consumed <= unread.len() {
            *self.start += consumed;
        } else {
            self.skip_ahead(consumed - unread.len());
        }
        match unread.get(frame) {
            Some(frame) => frame,
            None => nothing(),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.arrival == Arrival::Ended
    }

    #[inline]
    fn unread(&self) -> &'a [u8] {
        match self.bytes.get(*self.start..) {
            Some(unread) => unread,
            None => nothing(),
        }
    }

    /// Notes that so many bytes which have not arrived are to be dropped.
    #[cold]
    pub(super) fn skip_ahead(&mut self, missing: usize) {
        *self.skipped = self.bytes.len() - *self.start;
        *self.skip = missing;
        *self.start = self.bytes.len();
    }
}

/// Out of line, so that the usual case is a branch and not a selection of values.
#[cold]
pub(super) fn nothing() -> &'static [u8] {
    &[]
}
