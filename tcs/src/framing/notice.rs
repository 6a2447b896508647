//! Notices: the control frames that are no rejections.
//!
//! | kind | notice | from | means |
//! |---|---|---|---|
//! | `80` | [`Notice::Ping`] | client | nothing: the connection is in use |
//! | `81` | [`Announcement::Items`] | server | the next messages are items of the reply |
//! | `82` | [`Announcement::Events`] | server | the next messages are events |
//! | `83` | [`Announcement::Chunks`] | client | the next messages are chunks of the last request |
//! | `84` | [`Notice::ChunksEnd`] | client | the request has no more chunks |
//! | `85` | [`Announcement::Parts`] | server | the next messages are parts of one message |
//! | `86` | [`Notice::Credit`] | client | the server may send more items |
//! | `87` | [`Notice::Cancel`] | client | the reply is not wanted any more |
//! | `88` | [`Notice::Deadline`] | client | the reply to the next request is not wanted after a time |

use tokio::time::Instant;

pub(super) const PING: u8 = 0x80;
pub(crate) const CHUNKS_END: u8 = 0x84;
const CREDIT: u8 = 0x86;
const CANCEL: u8 = 0x87;
const DEADLINE: u8 = 0x88;

/// A control frame that is no rejection; see [`Framing::notice`](super::Framing::notice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The connection is in use. A client sends this, so that a load balancer between the two ends does not close it as
    /// idle.
    Ping,
    /// The next messages, this many of them, are neither requests nor the replies to them.
    Announce(Announcement, u32),
    /// The request has no more [chunks](Announcement::Chunks).
    ChunksEnd,
    /// The server may send this many more bytes of items. For framings with ids.
    Credit(u32),
    /// The client no longer wants the reply.
    Cancel,
    /// After this many milliseconds, the client no longer wants the reply. The notice comes directly before the request.
    /// For framings with ids.
    Deadline(u32),
}

/// The kind of messages that a notice [announces](Notice::Announce).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announcement {
    /// Items of the reply to the oldest request that is not answered. The reply follows them.
    Items = 0x81,
    /// Events that the server pushes.
    Events = 0x82,
    /// Further messages of the request before, from a client.
    Chunks = 0x83,
    /// Parts of the reply with the same [id](super::ParsedFrame::id), which the next message of that id continues.
    Parts = 0x85,
}

impl Announcement {
    const ALL: [Self; 4] = [Self::Items, Self::Events, Self::Chunks, Self::Parts];
}

impl Notice {
    /// How many bytes of items a server may send before the client gives it [`Credit`](Self::Credit), from `WIRE.md`.
    pub const INITIAL_CREDIT: u32 = 256 * 1024;

    /// Returns the kind of the notice's control frame, from `WIRE.md`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ping => PING,
            Self::Announce(announcement, _) => announcement as u8,
            Self::ChunksEnd => CHUNKS_END,
            Self::Credit(_) => CREDIT,
            Self::Cancel => CANCEL,
            Self::Deadline(_) => DEADLINE,
        }
    }

    /// Returns the number that is the text of the notice's control frame, in four bytes, if it has one.
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Announce(_, number) | Self::Credit(number) | Self::Deadline(number) => {
                Some(number)
            }
            Self::Ping | Self::ChunksEnd | Self::Cancel => None,
        }
    }

    /// Returns the notice of a deadline. It is up to a millisecond late, so that a server stops just after the client
    /// does.
    pub(crate) fn deadline_at(end: Instant) -> Self {
        let left = end.saturating_duration_since(Instant::now()).as_millis();
        Self::Deadline(left.saturating_add(1).try_into().unwrap_or(u32::MAX))
    }

    /// Returns the notice of a control frame with this kind and text, or `None` if it is not a notice.
    pub fn from_frame(code: u8, text: &[u8]) -> Option<Self> {
        let number = || Some(u32::from_be_bytes(text.try_into().ok()?));
        match code {
            PING => Some(Self::Ping),
            CHUNKS_END => Some(Self::ChunksEnd),
            CREDIT => Some(Self::Credit(number()?)),
            CANCEL => Some(Self::Cancel),
            DEADLINE => Some(Self::Deadline(number()?)),
            _ => {
                let has_code = |announcement: &Announcement| *announcement as u8 == code;
                let announcement = Announcement::ALL.into_iter().find(has_code)?;
                Some(Self::Announce(announcement, number()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_read_from_its_frame() {
        for code in 0..=u8::MAX {
            let text = &[0, 2, 0, 0][..];
            let notice = Notice::from_frame(code, text).or(Notice::from_frame(code, b""));
            assert_eq!(notice.is_some(), (0x80..=0x88).contains(&code), "{code:#x}");
            let Some(notice) = notice else { continue };
            assert_eq!(notice.code(), code);
            assert!(notice.number().is_none_or(|number| number == 1 << 17));
            let is_whole = Notice::from_frame(code, b"abc").is_some();
            assert_eq!(is_whole, notice.number().is_none(), "{code:#x}");
        }
    }
}
