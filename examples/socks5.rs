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
    io::{ErrorKind, Result},
    net::{Ipv4Addr, Ipv6Addr},
};

use tcs::framing::{Duplex, LengthField, Verbatim, length_field};
use tcs::protocol::{Draining, Upgrade, Upgraded};
use tcs::{ConcurrentServer, Response, server_protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::{net::TcpStream, time};

/// A client first says which logins it knows: the version, their number, and a byte for each.
type Greeting = LengthField<{ length_field(1).offset(1).pack() }>;

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

async fn serve(mut near: Upgraded) -> Result<()> {
    let far = time::timeout(time::Duration::from_secs(30), connect(&mut near)).await?;
    let code = match far.as_ref().map_err(std::io::Error::kind) {
        Ok(_) => 0,
        // What is no request has no reply.
        Err(ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => return Ok(()),
        Err(ErrorKind::Unsupported) => 7,
        Err(ErrorKind::AddrNotAvailable) => 8,
        Err(ErrorKind::ConnectionRefused) => 5,
        Err(_) => 4,
    };
    near.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut near, &mut far?).await?;
    Ok(())
}

/// Reads a request, and connects to its target.
async fn connect(near: &mut Upgraded) -> Result<TcpStream> {
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
        [5, 1, ..] => return Err(ErrorKind::AddrNotAvailable.into()),
        [5, ..] => return Err(ErrorKind::Unsupported.into()),
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    TcpStream::connect((host, near.read_u16().await?)).await
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Socks5).run()
}
