//! Any PROXY header before a request, compared with a second parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    Peer,
    transport::{Handshake as _, ProxyHeader, ProxyInfo, Stream},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::in_virtual_time;

/// What a header may begin with.
const BEGINNINGS: [&[u8]; 6] = [
    b"",
    b"PROXY ",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 ",
    b"PROXY UNKNOWN",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
];

/// Reads a header, in pieces.
pub fn check(data: &[u8]) {
    let Ok((beginning, room, rest)) =
        <(u8, u8, &[u8])>::arbitrary_take_rest(Unstructured::new(data))
    else {
        return;
    };
    let bytes = [BEGINNINGS[usize::from(beginning) % BEGINNINGS.len()], rest].concat();
    in_virtual_time(async {
        let header = ProxyHeader::from_networks(&["127.0.0.0/8"]).expect("a network");
        let (mut near, far) = tokio::io::duplex(1 + usize::from(room));
        let writing = async {
            drop(near.write_all(&bytes).await);
            drop(near);
        };
        let mut peer = Peer::unnamed();
        let reading = async {
            // If it fails, the stream ends, so that what is behind the header can be written.
            let mut stream = header.perform(Stream::new(far), &mut peer).await.ok()?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("a pipe");
            Some(rest)
        };
        let ((), rest) = tokio::join!(writing, reading);
        let info = peer.get::<ProxyInfo>();
        let found = rest.map(|rest| Found {
            client: peer.addr().zip(info.map(ProxyInfo::destination)),
            rest,
        });
        assert_eq!(found, version_1(&bytes).or_else(|| version_2(&bytes)));
    });
}

/// What a header says, and the bytes behind it.
#[derive(Debug, PartialEq)]
struct Found {
    /// The address of the client, and the one that it has connected to.
    client: Option<(SocketAddr, SocketAddr)>,
    rest: Vec<u8>,
}

/// Reads a header of version 1 as the specification has it, within 107 bytes.
fn version_1(bytes: &[u8]) -> Option<Found> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = str::from_utf8(&bytes[..end]);
    let rest = bytes[end + 2..].to_vec();
    let is_unknown = bytes[..end]
        .strip_prefix(b"PROXY UNKNOWN")
        .is_some_and(|more| more.is_empty() || more.starts_with(b" "));
    if end + 2 > 107 || bytes[..end].contains(&b'\r') {
        return None;
    }
    if is_unknown {
        return Some(Found { client: None, rest });
    }
    let words: Vec<_> = line.ok()?.split(' ').collect();
    let ["PROXY", family, source, destination, from, to] = words[..] else {
        return None;
    };
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => None,
    };
    // One way to write each number.
    let port = |text: &str| {
        let port = text.parse::<u16>().ok()?;
        (port.to_string() == text).then_some(port)
    };
    let source = SocketAddr::new(ip(source)?.to_canonical(), port(from)?);
    let destination = SocketAddr::new(ip(destination)?.to_canonical(), port(to)?);
    Some(Found {
        client: Some((source, destination)),
        rest,
    })
}

/// Reads a header of version 2 as the specification has it, of at most 4,096 bytes.
fn version_2(bytes: &[u8]) -> Option<Found> {
    let after = bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let (&[command, family, high, low], after) = after.split_first_chunk()?;
    let length = usize::from(high) * 256 + usize::from(low);
    let (body, rest) = after.split_at_checked(length)?;
    let is_local = command == 0x20;
    if !(is_local || command == 0x21) || 16 + length > 4_096 {
        return None;
    }
    let client = match family {
        _ if is_local => None,
        0x00 => None,
        0x11 => Some(addresses(body, |it: [u8; 4]| IpAddr::from(it))?),
        0x21 => Some(addresses(body, |it: [u8; 16]| IpAddr::from(it))?),
        // Names of Unix sockets, which are no addresses.
        0x31 if length >= 216 => None,
        _ => return None,
    };
    Some(Found {
        client,
        rest: rest.to_vec(),
    })
}

/// Reads two addresses and two ports.
fn addresses<const N: usize>(
    body: &[u8],
    ip: fn([u8; N]) -> IpAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    let (source, body) = body.split_first_chunk::<N>()?;
    let (destination, body) = body.split_first_chunk::<N>()?;
    let (from, body) = body.split_first_chunk()?;
    let (to, _) = body.split_first_chunk()?;
    let addr = |addr: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(ip(*addr).to_canonical(), u16::from_be_bytes(*port))
    };
    Some((addr(source, from), addr(destination, to)))
}
