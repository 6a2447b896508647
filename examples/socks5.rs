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
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr},
};

use tcs::framing::{Duplex, LengthField, Verbatim, length_field};
use tcs::protocol::{Draining, Upgrade, Upgraded};
use tcs::{ConcurrentServer, Response, server_protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::{net::TcpStream, time};

/// A client first says which logins it knows: the version, their number, and a byte for each.
type Greeting = LengthField<{ length_field(1).offset(1).pack() }>;

/// The time for a target to accept.
const LIMIT: time::Duration = time::Duration::from_secs(30);

#[server_protocol(framing = Duplex<Greeting, Verbatim>)]
fn socks5<'a>(greeting: &[u8], draining: Draining<'a>) -> Response<&'static [u8], Upgrade<'a>> {
    match greeting {
        [5, _, logins @ ..] if logins.contains(&0) => {}
        [5, ..] => return Response::ReplyAndClose(&[5, 0xff]),
        _ => return Response::Close,
    }
    Response::upgrade(&[5, 0], async move |near: Upgraded| {
        tokio::select! {
            served = serve(near) => drop(served),
            () = draining => {}
        }
    })
}

async fn serve(mut near: Upgraded) -> io::Result<()> {
    // What is no request, or comes late, has no reply.
    let far = time::timeout(2 * LIMIT, connect(&mut near)).await??;
    let code = far.as_ref().err().copied().unwrap_or_default();
    near.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if let Ok(mut far) = far {
        copy_bidirectional(&mut near, &mut far).await?;
    }
    Ok(())
}

/// Reads a request, and connects to its target. Where that is not possible, returns the code of the reply.
async fn connect(near: &mut Upgraded) -> io::Result<Result<TcpStream, u8>> {
    let mut request = [0; 4];
    near.read_exact(&mut request).await?;
    let host = match request {
        [5, 1, _, 1] => Ipv4Addr::from(near.read_u32().await?).to_string(),
        [5, 1, _, 4] => Ipv6Addr::from(near.read_u128().await?).to_string(),
        [5, 1, _, 3] => {
            let mut name = vec![0; near.read_u8().await?.into()];
            near.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
        [5, 1, ..] => return Ok(Err(8)),
        [5, ..] => return Ok(Err(7)),
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    let target = (host, near.read_u16().await?);
    match time::timeout(LIMIT, TcpStream::connect(target)).await {
        Ok(Ok(far)) => Ok(Ok(far)),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Ok(Err(5)),
        _ => Ok(Err(4)),
    }
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Socks5).run()
}
