//! Notices: the control frames that are no rejections. `WIRE.md` has their kinds.

use tokio::time::Instant;

/// A client sends it while it has nothing to say.
pub(super) const PING: u8 = 0x80;
/// The last chunk was before it.
pub(crate) const CHUNKS_END: u8 = 0x84;
/// The client takes more bytes of items.
const CREDIT: u8 = 0x86;
/// The request is no longer wanted.
const CANCEL: u8 = 0x87;
/// The request is no longer wanted after a time.
const DEADLINE: u8 = 0x88;

/// What the messages are that follow a notice; see [`Framing::announce`](super::Framing::announce).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announcement {
    /// Items of the reply to the oldest request that is not answered. The reply follows them.
    Items = 0x81,
    /// Events that the server pushes.
    Events = 0x82,
    /// Further messages of the request before, from a client.
    Chunks = 0x83,
    /// Parts of the reply with the same [id](super::Framing::id), which the next message of that id continues.
    Parts = 0x85,
}

impl Announcement {
    /// Returns the kind of its control frame, from `WIRE.md`.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the announcement of a control frame of this kind.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Items, Self::Events, Self::Chunks, Self::Parts];
        all.into_iter().find(|it| it.code() == code)
    }
}

/// What a client tells about one of its requests; see [`Framing::notice`](super::Framing::notice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The client takes this many more bytes of items.
    Credit(u32),
    /// The request is no longer wanted.
    Cancel,
    /// The request is no longer wanted after this many milliseconds. The notice comes directly before it.
    Deadline(u32),
    /// The request has no more [chunks](super::Announcement::Chunks).
    ChunksEnd,
}

impl Notice {
    /// How many bytes of items a server may send before the client gives it [`Credit`](Self::Credit), from `WIRE.md`.
    pub const INITIAL_CREDIT: u32 = 256 * 1024;

    /// Returns the kind of its control frame, from `WIRE.md`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Credit(_) => CREDIT,
            Self::Cancel => CANCEL,
            Self::Deadline(_) => DEADLINE,
            Self::ChunksEnd => CHUNKS_END,
        }
    }

    /// Returns the notice of a deadline. A server that is told of it gives up just after the client does.
    pub(crate) fn deadline_at(end: Instant) -> Self {
        let left = end.saturating_duration_since(Instant::now()).as_millis();
        Self::Deadline(left.saturating_add(1).try_into().unwrap_or(u32::MAX))
    }

    /// Returns the number that is the text of its control frame.
    pub(crate) const fn number(self) -> Option<u32> {
        match self {
            Self::Credit(number) | Self::Deadline(number) => Some(number),
            Self::Cancel | Self::ChunksEnd => None,
        }
    }

    /// Returns the notice of a control frame of this kind with this text, or `None` if it is no notice about a request with
    /// an id.
    pub(crate) fn from_frame(code: u8, text: &[u8]) -> Option<Self> {
        let number = || Some(u32::from_be_bytes(text.try_into().ok()?));
        Some(match code {
            CREDIT => Self::Credit(number()?),
            CANCEL => Self::Cancel,
            DEADLINE => Self::Deadline(number()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_read_from_its_frame() {
        for notice in [
            Notice::Credit(1 << 17),
            Notice::Cancel,
            Notice::Deadline(5_000),
        ] {
            let text = notice.number().map(u32::to_be_bytes);
            let text = text.as_ref().map_or(&[][..], |number| number);
            assert_eq!(Notice::from_frame(notice.code(), text), Some(notice));
        }
        assert_eq!(Notice::from_frame(0x86, b"abc"), None);
        assert_eq!(Notice::from_frame(0x80, b""), None);
    }
}
