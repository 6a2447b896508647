//! A proxy for clients of SOCKS 5 (RFC 1928), such as `curl` and browsers.
//!
//! ```text
//! cargo run --example socks5
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: logins, the commands `BIND` and `UDP ASSOCIATE`, the
//! address of its own end in replies, and a list of targets that are allowed.
//!
//! Try: in a second terminal, run `curl --proxy socks5h://localhost:1234 http://example.com`.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr},
};

use tcs::{
    ConcurrentServer, Response,
    framing::{FrameError, Framing, Input, ParsedFrame},
    protocol::{Draining, Upgrade, Upgraded},
    server_protocol,
};
use tokio::{io::copy_bidirectional, net::TcpStream};

/// First the client says which logins it knows, and then what it wants. Replies are bytes.
#[derive(Clone, Copy, Default)]
enum Socks {
    #[default]
    Greeting,
    Request,
}

impl Framing for Socks {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let length = match (*self, input.bytes()) {
            (_, [version, ..]) if *version != 5 => {
                return Err(FrameError::malformed("this is not version 5 of SOCKS"));
            }
            (Self::Greeting, [_, methods, ..]) => 2 + usize::from(*methods),
            (Self::Request, [_, _, _, 1, ..]) => 10,
            (Self::Request, [_, _, _, 3, name, ..]) => 7 + usize::from(*name),
            (Self::Request, [_, _, _, 4, ..]) => 22,
            // The function says that it is of an unknown kind.
            (Self::Request, [_, _, _, kind, ..]) if *kind != 3 => 4,
            _ => return ParsedFrame::incomplete(input),
        };
        if input.bytes().len() < length {
            return ParsedFrame::incomplete(input);
        }
        Ok(Some(ParsedFrame::message(0..length, length)))
    }
}

#[server_protocol(framing = Socks)]
async fn socks5<'a>(
    message: &'a [u8],
    #[framing] framing: &mut Socks,
    draining: Draining<'a>,
) -> Response<Vec<u8>, Upgrade<'a>> {
    if matches!(*framing, Socks::Greeting) {
        *framing = Socks::Request;
        return if message[2..].contains(&0) {
            Response::Reply(vec![5, 0])
        } else {
            Response::ReplyAndClose(vec![5, 0xff])
        };
    }
    let told = |code| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let target = match (message[1], target(message)) {
        (1, Some(target)) => target,
        (1, None) => return Response::ReplyAndClose(told(8)),
        _ => return Response::ReplyAndClose(told(7)),
    };
    let mut far = match TcpStream::connect(target).await {
        Ok(far) => far,
        Err(error) => {
            let is_refused = error.kind() == ErrorKind::ConnectionRefused;
            return Response::ReplyAndClose(told(if is_refused { 5 } else { 4 }));
        }
    };
    Response::upgrade(told(0), async move |mut near: Upgraded| {
        tokio::select! {
            copied = copy_bidirectional(&mut near, &mut far) => drop(copied),
            () = draining => {}
        }
    })
}

/// Returns the host and the port in a request, whose framing has checked the length.
fn target(request: &[u8]) -> Option<(String, u16)> {
    let (address, port) = request.get(4..)?.split_last_chunk()?;
    let host = match *request.get(3)? {
        1 => Ipv4Addr::from(*address.first_chunk()?).to_string(),
        4 => Ipv6Addr::from(*address.first_chunk::<16>()?).to_string(),
        _ => String::from_utf8(address.get(1..)?.to_vec()).ok()?,
    };
    Some((host, u16::from_be_bytes(*port)))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Socks5).run()
}
