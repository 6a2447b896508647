//! Notices: the control frames that are no rejections.
//!
//! | kind | notice | from | means |
//! |---|---|---|---|
//! | `80` | ping | client | nothing: the connection is in use |
//! | `81` | [`Announcement::Items`] | server | the next messages are items of the reply |
//! | `82` | [`Announcement::Events`] | server | the next messages are events |
//! | `83` | [`Announcement::Chunks`] | client | the next messages are chunks of the last request |
//! | `84` | [`RequestNotice::ChunksEnd`] | client | the request has no more chunks |
//! | `85` | [`Announcement::Parts`] | server | the next messages are parts of one message |
//! | `86` | [`RequestNotice::Credit`] | client | the server may send more items |
//! | `87` | [`RequestNotice::Cancel`] | client | the reply is not wanted any more |
//! | `88` | [`RequestNotice::Deadline`] | client | the reply to the next request is not wanted after a time |

use tokio::time::Instant;

pub(super) const PING: u8 = 0x80;
pub(crate) const CHUNKS_END: u8 = 0x84;
const CREDIT: u8 = 0x86;
const CANCEL: u8 = 0x87;
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
pub enum RequestNotice {
    /// The server may send this many more bytes of items.
    Credit(u32),
    /// The client no longer wants the reply.
    Cancel,
    /// After this many milliseconds, the client no longer wants the reply. The notice comes directly before the request.
    Deadline(u32),
    /// The request has no more [chunks](Announcement::Chunks).
    ChunksEnd,
}

impl RequestNotice {
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
            RequestNotice::Credit(1 << 17),
            RequestNotice::Cancel,
            RequestNotice::Deadline(5_000),
        ] {
            let text = notice.number().map(u32::to_be_bytes);
            let text = text.as_ref().map_or(&[][..], |number| number);
            assert_eq!(RequestNotice::from_frame(notice.code(), text), Some(notice));
        }
        assert_eq!(RequestNotice::from_frame(0x86, b"abc"), None);
        assert_eq!(RequestNotice::from_frame(0x80, b""), None);
    }
}
