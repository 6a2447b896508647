//! Messages with a delimiter after each.

use memchr::memmem::find;

use super::{
    Detection, FrameError, Framing, Input, ParsedFrame,
    packed::{MAX_LEN, is_packed, pack, unpacked},
    write::make_room,
};
use crate::text::Escaped;

/// A delimiter after each message: 1 to 15 bytes.
///
/// The parameter is a delimiter packed by [`delimiter`], because const parameters cannot be bytes:
/// `Delimited<{ delimiter(b";") }>`. A message cannot be sent if it contains the delimiter, or if its end would make the
/// delimiter begin too early. A last message without its delimiter is rejected and never executed, because it may be
/// incomplete.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::{Delimited, delimiter}, server_protocol};
///
/// #[server_protocol(framing = Delimited<{ delimiter(b"\r\n.\r\n") }>)]
/// fn count_lines(mail: &str) -> usize {
///     mail.lines().count()
/// }
///
/// let server = ConcurrentServer::new(CountLines).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<CountLines>("one\r\ntwo").await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Delimited<const D: u128> {
    /// The number of bytes at the start of the input in which no delimiter begins.
    searched: usize,
}

/// Packs a delimiter of 1 to 15 bytes into a number, for [`Delimited`].
///
/// # Panics
///
/// Panics if `bytes` is empty or longer than 15 bytes; at compile time, if used in a type.
#[must_use]
#[track_caller]
pub const fn delimiter(bytes: &[u8]) -> u128 {
    assert!(
        !bytes.is_empty(),
        "a delimiter has at least one byte: write `delimiter(b\";\")`"
    );
    assert!(bytes.len() <= MAX_LEN, "a delimiter has at most 15 bytes");
    pack(bytes)
}

impl<const D: u128> Delimited<D> {
    fn delimiter() -> &'static [u8] {
        unpacked(const { &D.to_be_bytes() })
    }
}

impl<const D: u128> Framing for Delimited<D> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const PARAMETER_ERROR: Option<&'static str> = if is_packed(D) {
        None
    } else {
        Some("this number is not a delimiter: write `Delimited<{ delimiter(b\";\") }>`")
    };
    const DETECTION: Detection = Detection {
        // A path can contain any other delimiter, and a long one would hold the frame until its end.
        frames_are_lines: D == delimiter(b"\n") || D == delimiter(b"\r\n"),
        ..Detection::ON
    };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let delimiter = Self::delimiter();
        let Some(end) = input.find(delimiter, &mut self.searched)? else {
            return Ok(None);
        };
        Ok(Some(ParsedFrame::message(0..end, end + delimiter.len())))
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let delimiter = Self::delimiter();
        let end = out.len().saturating_sub(start);
        make_room(out, delimiter.len())?;
        out.extend_from_slice(delimiter);
        let framed = out.get(start..).unwrap_or_default();
        if find(framed, delimiter) == Some(end) {
            return Ok(());
        }
        let shown = Escaped::all(delimiter);
        Err(FrameError::unsendable(format_args!(
            "the message contains its delimiter `{shown}`, or ends with a part of it"
        )))
    }
}
