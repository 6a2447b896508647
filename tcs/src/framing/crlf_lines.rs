//! A line for each message, with the line end that Internet protocols prescribe.

use super::{
    FrameError, Framing, Lines, ParsedFrame, Unparsed,
    lines::{LineEnd, refuse_line_feed},
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
    lines: Lines,
}

impl Framing for CrlfLines {
    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.lines.cut_line(input, LineEnd::CrLf)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        refuse_line_feed(out, start)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}
