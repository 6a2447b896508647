//! Messages with a length and an id before each.

use std::mem::replace;

use super::{
    Announcement, Detection, FrameError, FrameKind, Framing, HasIds, Input, Notice, ParsedFrame,
    Side,
    headers::{
        MAX_LENGTH, PREFIX_LEN, control_or_oversized, reject_text, write_length, write_notice,
        write_rejection,
    },
};
use crate::Rejection;

/// Like [`LengthPrefixed`](super::LengthPrefixed), with an id of four bytes after each length.
///
/// A reply has the id of its request, so a slow request does not delay later ones. Use this framing for every protocol
/// whose functions wait, with a [`Channel`](crate::Channel) as the client. `WIRE.md` specifies it, with test vectors.
///
/// - A server runs functions that wait concurrently, and replies in any order. A protocol with a `#[session]` needs
///   `concurrent = N` for that ([details](macro@crate::server_protocol#concurrent-requests)). Other functions run one
///   at a time, and see neither cancellations nor deadlines of the client.
/// - A call that is dropped, or whose deadline passes, is cancelled: the server drops its function if it runs
///   concurrently. If the client closes the connection, its functions and their streams only end after
///   [`half_close_timeout`](crate::server::Server::half_close_timeout), or at once with the option [`half_close =
///   ends`](macro@crate::server_protocol#options).
/// - Each streamed reply has a credit of bytes, so a stream that nobody receives does not block others. It ends after
///   [`write_timeout`](crate::server::Server::write_timeout). A server sends a large reply in parts, with other replies
///   between them.
///
/// A [`Connection`](crate::Connection) has one request in flight, and skips late replies to earlier requests. A
/// [`Pipeline`](crate::client::Pipeline) does not compile, because it expects replies in order. Rejections and
/// oversized messages are as with `LengthPrefixed`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use std::time::Duration;
///
/// use tcs::{Channel, ConcurrentServer, framing::Multiplexed, server_protocol};
/// use tokio::time::sleep;
///
/// /// Waits for this many milliseconds.
/// #[server_protocol(framing = Multiplexed)]
/// async fn wait(milliseconds: u64) -> u64 {
///     sleep(Duration::from_millis(milliseconds)).await;
///     milliseconds
/// }
///
/// let server = ConcurrentServer::new(Wait).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `00 00 00 04`, the id `00 00 00 01` and `1000` are sent. The second reply comes first.
/// let channel = Channel::<Multiplexed>::connect(addr).await?;
/// let (slow, fast) = (channel.call::<Wait>(1_000), channel.call::<Wait>(1));
/// tokio::select! {
///     slow = slow => panic!("{slow:?} came first"),
///     fast = fast => assert_eq!(fast?, 1),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Multiplexed {
    /// The id of the frames that are written.
    id: u32,
}

/// The length in bytes of the header of a frame.
const HEADER_LEN: usize = PREFIX_LEN + size_of::<u32>();

impl HasIds for Multiplexed {}

impl Framing for Multiplexed {
    const HAS_IDS: bool = true;
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const HAS_REJECTION_FRAME: bool = true;
    const DETECTION: Detection = Detection {
        reject_foreign_start: reject_text,
        ..Detection::ON
    };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let bytes = input.bytes();
        let Some(&[a, b, c, d, id @ ..]) = bytes.first_chunk::<HEADER_LEN>() else {
            return ParsedFrame::incomplete(input);
        };
        let (header, id) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(id));
        let length = header as usize;
        let frame = if length > input.limit().min(MAX_LENGTH) {
            let (limit, read_state) = (input.limit(), input.read_state());
            control_or_oversized::<HEADER_LEN>(bytes, limit, input.side(), read_state, header)?
        } else if bytes.len() < HEADER_LEN + length {
            ParsedFrame::incomplete(input)?
        } else {
            let end = HEADER_LEN + length;
            Some(ParsedFrame::message(HEADER_LEN..end, end))
        };
        let Some(frame) = frame else {
            return Ok(None);
        };
        if id == 0 && input.side() == Side::Server && !matches!(frame.kind, FrameKind::Control(_)) {
            let text = "a request with the id 0; ids are 1 to 4294967295";
            return Err(FrameError::malformed(text));
        }
        Ok(Some(frame.with_id(id)))
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        // The length replaces the upper half.
        out.extend_from_slice(&u64::from(self.id).to_be_bytes());
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        write_length::<HEADER_LEN>(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        let is_final = rejection.kind().is_final();
        // A final rejection ends the connection. With an id, a client would take it for the answer to one request and
        // continue.
        let id = if is_final { 0 } else { self.id };
        write_rejection(out, Some(id), rejection);
        true
    }

    #[inline]
    fn has_notices(_side: Side) -> bool {
        true
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: Notice) -> bool {
        let is_of_connection = matches!(
            notice,
            Notice::Ping | Notice::Announce(Announcement::Events, _)
        );
        let id = if is_of_connection { 0 } else { self.id };
        write_notice(out, Some(id), notice);
        true
    }

    #[inline]
    fn set_id(&mut self, id: u32) -> u32 {
        replace(&mut self.id, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RejectionKind, framing::ReadState};

    fn parse(
        framing: &mut Multiplexed,
        side: Side,
        bytes: &[u8],
    ) -> Result<ParsedFrame, FrameError> {
        let input = Input::new(bytes, 8, side, ReadState::Idle);
        let frame = framing.parse(input)?;
        Ok(frame.expect("a whole frame"))
    }

    fn frame(framing: &mut Multiplexed, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        framing.begin(&mut out);
        out.extend_from_slice(message);
        framing.finish(&mut out, 0).expect("it is short");
        out
    }

    #[test]
    fn what_is_parsed_does_not_change_the_id_of_what_is_written() {
        for side in [Side::Server, Side::Client] {
            let mut framing = Multiplexed::default();
            assert_eq!(framing.set_id(0x0102_0304), 0);
            let parsed = parse(&mut framing, side, b"\0\0\0\0\0\0\0\x07");
            assert_eq!(parsed.expect("a message").id(), 7);
            assert_eq!(frame(&mut framing, b""), [0, 0, 0, 0, 1, 2, 3, 4]);
            let mut out = Vec::new();
            framing.notice(&mut out, Notice::Credit(0x8000));
            assert_eq!(out, [0x80, 0, 0, 5, 1, 2, 3, 4, 0x86, 0, 0, 0x80, 0]);
            out.clear();
            framing.reject(&mut out, &Rejection::busy(""));
            assert_eq!(out, [0x80, 0, 0, 1, 1, 2, 3, 4, 4]);
            assert_eq!(framing.set_id(1), 0x0102_0304);
        }
    }

    #[test]
    fn what_belongs_to_no_request_has_the_id_0() {
        let mut framing = Multiplexed::default();
        framing.set_id(7);
        let mut out = Vec::new();
        let rejection = Rejection::new(RejectionKind::GoingAway, "");
        framing.reject(&mut out, &rejection);
        framing.notice(&mut out, Notice::Ping);
        framing.notice(&mut out, Notice::Announce(Announcement::Events, 1));
        let ids = [&out[4..8], &out[13..17], &out[22..26]];
        assert_eq!(ids, [&[0; 4]; 3], "{out:?}");
    }

    #[test]
    fn request_with_the_id_0_is_an_error() {
        let mut framing = Multiplexed::default();
        let ping = b"\x80\0\0\x01\0\0\0\0\x80";
        assert!(parse(&mut framing, Side::Server, ping).is_ok());
        let request = b"\0\0\0\0\0\0\0\0";
        assert!(parse(&mut framing, Side::Server, request).is_err());
        assert!(parse(&mut framing, Side::Client, request).is_ok());
    }
}
