//! A line for each message, with the line end that Internet protocols prescribe.

use super::{
    Cut, FrameError, Framing, Input,
    contact::{Contact, Unit},
    find::find_byte,
    foreign,
    lines::refuse_line_feed,
};

/// Text up to `\r\n`: lines as SMTP, FTP, IRC and most Internet protocols prescribe them.
///
/// A `\n` without a `\r` before it is a protocol error, and nothing from it on is executed: where
/// one end takes it for a line end and the other does not, a peer can smuggle requests past
/// whatever stands between them. A `\r` without a `\n` behind it is a byte like others. A message
/// that contains `\n` cannot be sent. All else is as with [`Lines`](super::Lines): no control
/// frames, and a last line without its end is refused.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, CrlfLines, server_protocol};
///
/// #[server_protocol(framing = CrlfLines)]
/// fn command(line: &str) -> &str {
///     match line {
///         "NOOP" => "250 OK",
///         _ => "500 unknown",
///     }
/// }
///
/// let server = ConcurrentServer::new(Command).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Command>("NOOP").await?, "250 OK");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CrlfLines {
    /// How many bytes at the start of the input are known to hold no line feed.
    searched: usize,
    contact: Contact,
}

impl Framing for CrlfLines {
    #[inline]
    fn cut(&mut self, input: Input<'_>) -> Result<Option<Cut>, FrameError> {
        let Self { searched, contact } = self;
        if contact.is_made() {
            return next(searched, input);
        }
        contact.first(input, Unit::Line, |input| {
            foreign::refuse_length(input)?;
            next(searched, input)
        })
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        refuse_line_feed(out, start)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[inline]
fn next(searched: &mut usize, input: Input<'_>) -> Result<Option<Cut>, FrameError> {
    let bytes = input.bytes();
    let unread = bytes.get(*searched..).unwrap_or_default();
    let end = find_byte(unread, b'\n').map(|at| *searched + at);
    let known = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    let line = known.strip_suffix(b"\r");
    if end.is_some() && line.is_none() {
        return Err(FrameError::malformed(
            "a line that ends with `\\n` alone; here a line ends with `\\r\\n`",
        ));
    }
    let length = line.unwrap_or(known).len();
    if length > input.limit() {
        return Err(FrameError::too_large(length, input.limit()));
    }
    let Some(end) = end else {
        *searched = bytes.len();
        return input.unfinished();
    };
    *searched = 0;
    Ok(Some(Cut::message(0..length, end + 1)))
}
