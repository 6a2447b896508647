//! A framing for requests and another one for replies.

use super::{Detection, Exchanges, FrameError, Framing, Input, Notice, ParsedFrame, Side};
use crate::Rejection;

/// Requests with the framing `Requests`, and replies with the framing `Replies`, at both ends.
///
/// Notices of a client are those of `Requests`, and those of a server are those of `Replies`.
///
/// | framing | for |
/// |---|---|
/// | `Duplex<CrlfText, UntilEof>` | finger, whois, Gopher: a line, and everything until the server closes |
/// | `Duplex<CrlfText, Verbatim>` | text protocols whose functions write the line ends: Redis' inline commands, HTTP-like heads |
/// | `Duplex<Lines, Netstrings>` | commands that people type, with replies for programs |
///
/// A connection has one exchange if one of the framings has one. Both are framings of bytes, without ids.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{
///     ConcurrentServer, Connection, framing::{CrlfText, Duplex, UntilEof}, server_protocol,
/// };
///
/// /// The protocol of RFC 1288.
/// #[server_protocol(framing = Duplex<CrlfText, UntilEof>)]
/// fn finger(user: &str) -> String {
///     format!("Login: {user}\r\nNo mail.\r\n")
/// }
///
/// let server = ConcurrentServer::new(Finger).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// let reply = connection.call::<Finger>("ann").await?;
/// assert_eq!(reply, "Login: ann\r\nNo mail.\r\n");
/// # Ok(())
/// # }
/// ```
///
/// The framings of one connection agree about ids, so this does not compile:
///
/// ```compile_fail,E0080
/// use tcs::framing::{Duplex, Lines, Multiplexed};
///
/// let connection = tcs::Connection::<Duplex<Lines, Multiplexed>>::over(tokio::io::empty());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Duplex<Requests, Replies> {
    requests: Requests,
    replies: Replies,
    is_client: bool,
}

/// Evaluates an expression with the framing in which this end writes.
macro_rules! writer {
    ($self:ident, $framing:ident => $then:expr) => {
        if $self.is_client {
            let $framing = &mut $self.requests;
            $then
        } else {
            let $framing = &mut $self.replies;
            $then
        }
    };
}

impl<Requests: Framing, Replies: Framing> Framing for Duplex<Requests, Replies> {
    const EXCHANGES: Exchanges = match (Requests::EXCHANGES, Replies::EXCHANGES) {
        (Exchanges::Many, Exchanges::Many) => Exchanges::Many,
        (Exchanges::OneUntilHalfClose, _) => Exchanges::OneUntilHalfClose,
        _ => Exchanges::One,
    };
    const MIN_MESSAGE_LEN: usize = if Requests::MIN_MESSAGE_LEN > Replies::MIN_MESSAGE_LEN {
        Requests::MIN_MESSAGE_LEN
    } else {
        Replies::MIN_MESSAGE_LEN
    };
    const PARAMETER_ERROR: Option<&'static str> = match Requests::PARAMETER_ERROR {
        None if Requests::HAS_VALUES
            || Replies::HAS_VALUES
            || Requests::HAS_IDS
            || Replies::HAS_IDS =>
        {
            Some("the framings of `Duplex` are framings of bytes, without ids")
        }
        None => Replies::PARAMETER_ERROR,
        error => error,
    };
    const HAS_REJECTION_FRAME: bool = Replies::HAS_REJECTION_FRAME;
    const DETECTION: Detection = Detection {
        // Servers judge requests, and clients replies.
        reject_foreign_start: |input| match input.side() {
            Side::Server => (Requests::DETECTION.reject_foreign_start)(input),
            Side::Client => (Replies::DETECTION.reject_foreign_start)(input),
        },
        detects_servers: Replies::DETECTION.detects_servers,
        ..Requests::DETECTION
    };
    const HAS_INDEPENDENT_FRAMES: bool =
        Requests::HAS_INDEPENDENT_FRAMES && Replies::HAS_INDEPENDENT_FRAMES;
    const HAS_INDEPENDENT_REQUESTS: bool = Requests::HAS_INDEPENDENT_REQUESTS;

    fn set_side(&mut self, side: Side) {
        self.is_client = side == Side::Client;
        self.requests.set_side(side);
        self.replies.set_side(side);
    }

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.side() {
            Side::Server => self.requests.parse(input),
            Side::Client => self.replies.parse(input),
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        writer!(self, framing => framing.begin(out));
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        writer!(self, framing => framing.finish(out, start))
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        self.replies.reject(out, rejection)
    }

    #[inline]
    fn has_notices(side: Side) -> bool {
        match side {
            Side::Client => Requests::has_notices(side),
            Side::Server => Replies::has_notices(side),
        }
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: Notice) -> bool {
        writer!(self, framing => framing.notice(out, notice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{ConnectionFraming, CrlfText, LengthPrefixed, Lines, ReadState, Verbatim};

    #[test]
    fn length_of_a_request_is_known_although_replies_depend_on_each_other() {
        type Requests = Duplex<LengthPrefixed, Verbatim>;
        const { assert!(!Requests::HAS_INDEPENDENT_FRAMES) };
        let framing = ConnectionFraming::<Requests>::default();
        let begun = &100_000_u32.to_be_bytes()[..];
        let bound = framing.frame_len_bound(begun, 1 << 20);
        assert!((100_004..110_000).contains(&bound), "{bound}");
    }

    /// Returns what a client makes of the first bytes of its server.
    fn first_reply<F: Framing>(bytes: &[u8]) -> Result<Option<ParsedFrame>, FrameError> {
        let input = Input::new(bytes, 100, Side::Client, ReadState::Idle);
        ConnectionFraming::<F>::of_client().parse(input)
    }

    #[test]
    fn client_detects_other_protocols_if_the_framing_of_replies_does() {
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"SSH-2.0-x\r\n", b"HTTP"] {
            let reply = ParsedFrame::message(0..bytes.len(), bytes.len());
            let parsed = first_reply::<Duplex<CrlfText, Verbatim>>(bytes);
            assert_eq!(parsed, Ok(Some(reply)), "{}", bytes.escape_ascii());
        }
        let error = first_reply::<Duplex<Verbatim, Lines>>(b"HTTP/1.1 200 OK\r\n");
        let error = error.expect_err("it is no line of this protocol");
        assert!(error.to_string().contains("HTTP"), "{error}");
        assert_eq!(first_reply::<Duplex<Verbatim, Lines>>(b"HTTP"), Ok(None));
    }
}
