//! Messages of a fixed size.

use super::{FrameError, Framing, Input, ParsedFrame};

/// Messages of exactly `N` bytes, with nothing between them: for devices and records.
///
/// A message of another size cannot be sent, and so the text of a function's error must have `N` bytes. The compiler
/// checks that `N` is more than 0. `bind` and connecting check that it is at most `max_frame_len`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Fixed, server_protocol};
///
/// #[server_protocol(framing = Fixed<4>)]
/// fn reverse(register: &[u8]) -> Vec<u8> {
///     register.iter().rev().copied().collect()
/// }
///
/// let server = ConcurrentServer::new(Reverse).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Reverse>(b"abcd").await?, b"dcba");
/// let error = connection.call::<Reverse>(b"abc").await.expect_err("too short");
/// assert_eq!(error.kind(), tcs::ErrorKind::Request);
/// # Ok(())
/// # }
/// ```
///
/// Pass binary numbers as arrays: `fn double(word: &[u8; 8]) -> [u8; 8]` with
/// `u64::from_le_bytes(*word)` and `to_le_bytes()`. A `u64` itself would be its decimal digits in
/// [`Plain`](crate::format::Plain). The text of a function's error has another length, so errors need
/// `reject_with = …` to become a message.
///
/// A message has at least one byte, so this does not compile:
///
/// ```compile_fail,E0080
/// let stream = tokio::io::empty();
/// let connection = tcs::Connection::<tcs::framing::Fixed<0>>::over(stream);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Fixed<const N: usize>;

impl<const N: usize> Framing for Fixed<N> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const MIN_MESSAGE_LEN: usize = N;
    const PARAMETER_ERROR: Option<&'static str> = match N {
        0 => Some("`Fixed<0>` has no messages: write `Fixed<1>` or more"),
        _ => None,
    };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        ParsedFrame::counted(input, 0, N)
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let length = out.len().saturating_sub(start);
        if length == N {
            return Ok(());
        }
        Err(FrameError::unsendable(format_args!(
            "a message of {length} bytes; with `Fixed<{N}>` it has {N}"
        )))
    }
}
