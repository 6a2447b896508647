//! PROXY headers, with which a load balancer sends the address of its client.

use std::{io, net::SocketAddr};

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader as Header};
use tokio::io::AsyncReadExt as _;

use super::{Handshake, Stream, handshake::nothing_sent};
use crate::{Error, Peer, Result, socket::canonical};

/// Reads the PROXY header (version 1 or 2) with which a load balancer such as `HAProxy` begins each connection.
///
/// Needs the feature `proxy`. The peer then has the address of the load balancer's client, in
/// [`open_session`](crate::protocol::ServerProtocol::open_session), in functions and in the log. [`ProxyInfo`] has the
/// other fields of the header. A connection of the load balancer itself, such as a health check, keeps its address, and
/// so does that of a client that reached the load balancer over a Unix socket.
///
/// A header is not authenticated, so only trusted peers may send one. The connection of any other peer is closed, and
/// so is one that begins without a header. With TLS, add this handshake first, because the header precedes TLS.
///
/// The format is that of [HAProxy's specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Of the
/// optional fields (TLVs), only the lengths are verified, and no checksum.
///
/// # Examples
///
/// ```no_run
/// use tcs::{ConcurrentServer, server_protocol, transport::ProxyHeader};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn main() -> tcs::Result<()> {
///     let header = ProxyHeader::from_networks(&["10.0.0.0/8", "::1/128"])?;
///     ConcurrentServer::new(Greet).address("0.0.0.0:7000").handshake(header).run()
/// }
/// ```
///
/// A client that calls on behalf of another sends the header first:
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tcs::{Connection, framing::LengthPrefixed};
/// use tokio::{io::AsyncWriteExt, net::TcpStream};
///
/// let mut stream = TcpStream::connect("10.0.0.11:7000").await?;
/// stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.11 4711 7000\r\n").await?;
/// let connection = Connection::<LengthPrefixed>::over(stream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ProxyHeader {
    trusted: Vec<IpNet>,
}

/// The contents of a PROXY header besides the address of the client. [`Peer::get`] returns it, unless the
/// header names no client (`LOCAL`, `UNKNOWN`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyInfo {
    balancer: Option<SocketAddr>,
    destination: SocketAddr,
    server_name: Option<String>,
}

impl ProxyHeader {
    /// Trusts the load balancers with addresses in these networks, such as `"10.0.0.0/8"`, and peers without an address,
    /// as over a Unix socket. IPv4 networks may be written as IPv4-mapped ones: `"::ffff:10.0.0.0/104"`.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if a text is not a network.
    pub fn from_networks(trusted: &[&str]) -> Result<Self> {
        let parse = |text: &&str| {
            let parsed = text.parse::<IpNet>();
            parsed.map(canonical_network).map_err(|_| {
                let reason =
                    format!("trusts `{text}`, which is not a network such as `10.0.0.0/8`");
                Error::setting("the PROXY header", reason)
            })
        };
        let trusted = trusted.iter().map(parse).collect::<Result<_>>()?;
        Ok(Self { trusted })
    }

    fn trusts(&self, peer: &Peer) -> bool {
        let addr = peer.addr().map(|addr| addr.ip().to_canonical());
        addr.is_none_or(|addr| self.trusted.iter().any(|net| net.contains(&addr)))
    }
}

/// Returns a network of IPv4 in its own form, even if it was written in the form of IPv6, because peers have the IPv4
/// form.
fn canonical_network(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    let mapped = mapped.and_then(|(addr, len)| IpNet::new(addr.into(), len).ok());
    mapped.unwrap_or(net)
}

impl ProxyInfo {
    /// Returns the address of the load balancer, or `None` if it has none, as over a Unix socket.
    pub const fn balancer(&self) -> Option<SocketAddr> {
        self.balancer
    }

    /// Returns the address at which the client reached the load balancer.
    pub const fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Returns the name of the server that the client asked the load balancer for (`PP2_TYPE_AUTHORITY`).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl Handshake for ProxyHeader {
    async fn perform(&self, mut stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
        if !self.trusts(peer) {
            return Err(invalid(
                "a PROXY header is expected, and the peer is not a trusted balancer",
            ));
        }
        let bytes = read_header(&mut stream).await.map_err(explain_eof)?;
        let parsed = Header::parse(&bytes, ParseConfig::default());
        let (header, _) = parsed.map_err(|_| invalid("the PROXY header is malformed"))?;
        if let Some(addresses) = header.proxied_address() {
            peer.insert(ProxyInfo {
                balancer: peer.addr(),
                destination: canonical(addresses.destination),
                server_name: header.authority().map(str::to_owned),
            });
            peer.set_addr(canonical(addresses.source));
        }
        Ok(stream)
    }

    fn may_change_addr(&self, peer: &Peer) -> bool {
        self.trusts(peer)
    }
}

/// The longest header of version 1, with its CRLF.
const MAX_V1_LEN: usize = 107;

/// The first bytes of a header of version 2, up to its length.
const V2_FIXED_LEN: usize = 16;

/// The longest header of version 2 that is read. The headers of balancers have a few hundred bytes.
const MAX_V2_LEN: usize = 4_096;

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The command of a connection of the balancer itself.
const V2_LOCAL: u8 = 0x20;

/// Reads a header and no byte more, so that TLS or the protocol begins with the next byte.
///
/// Rejects headers that the parser accepts and the specification does not allow.
async fn read_header(stream: &mut Stream) -> io::Result<Vec<u8>> {
    match stream.read_u8().await.map_err(|_| nothing_sent())? {
        b'\r' => read_v2(stream).await,
        first => read_v1(first, stream).await,
    }
}

async fn read_v1(first: u8, stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut line = vec![first];
    while !line.ends_with(b"\r\n") {
        let mut start = line.iter().zip(b"PROXY ");
        if start.any(|(byte, known)| byte != known) || line.len() == MAX_V1_LEN {
            return Err(not_a_header());
        }
        line.push(stream.read_u8().await?);
    }
    check_v1(&line)?;
    Ok(line)
}

async fn read_v2(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut fixed = [b'\r'; V2_FIXED_LEN];
    let [_, after_first @ ..] = &mut fixed;
    stream.read_exact(after_first).await?;
    if !fixed.starts_with(V2_SIGNATURE) {
        return Err(not_a_header());
    }
    let [.., command, family, high, low] = &mut fixed;
    if *command == V2_LOCAL {
        // The specification says to ignore the family and its addresses.
        *family = 0;
    }
    // The lower half of the byte is the transport: 2 is a datagram.
    if *family & 0x0f == 2 {
        return Err(invalid("the PROXY header is for datagrams"));
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if V2_FIXED_LEN + len > MAX_V2_LEN {
        return Err(invalid("the PROXY header is too long"));
    }
    let mut rest = vec![0; len];
    stream.read_exact(&mut rest).await?;
    Ok([&fixed[..], &rest].concat())
}

fn check_v1(line: &[u8]) -> io::Result<()> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    let is_known = match words.next() {
        Some(b"UNKNOWN") => true,
        Some(b"TCP4" | b"TCP6") => {
            let [_, _, source, destination] = [(); 4].map(|()| words.next());
            is_port(source) && is_port(destination) && words.next().is_none()
        }
        _ => false,
    };
    if is_known {
        Ok(())
    } else {
        Err(invalid("the PROXY header is malformed"))
    }
}

/// Returns `true` if a port has neither a sign nor leading zeros. The parser checks its range.
fn is_port(word: Option<&[u8]>) -> bool {
    word.is_some_and(|word| {
        word.iter().all(u8::is_ascii_digit) && (word == b"0" || !word.starts_with(b"0"))
    })
}

/// Explains the error of a stream that has ended.
fn explain_eof(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            error.kind(),
            "the peer closed before the end of its PROXY header",
        ),
        _ => error,
    }
}

fn not_a_header() -> io::Error {
    invalid("a PROXY header is expected, and the peer sent something else")
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_version_1_is_for_tcp_and_ends_with_two_ports() {
        for (line, is_valid) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65535", true),
            ("PROXY TCP6 ::1 ::1 0 7000", true),
            ("PROXY UNKNOWN", true),
            ("PROXY UNKNOWN and anything", true),
            ("PROXY", false),
            ("PROXY ", false),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2", false),
            ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2", false),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1", false),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3", false),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ", false),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2", false),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 02", false),
        ] {
            let line = format!("{line}\r\n");
            assert_eq!(check_v1(line.as_bytes()).is_ok(), is_valid, "{line:?}");
        }
    }

    #[test]
    fn port_has_neither_a_sign_nor_a_leading_zero() {
        for (word, is_valid) in [
            ("0", true),
            ("7000", true),
            ("00", false),
            ("07", false),
            ("+7", false),
            ("-7", false),
            ("7a", false),
        ] {
            assert_eq!(is_port(Some(word.as_bytes())), is_valid, "{word}");
        }
        assert!(!is_port(None));
    }

    #[test]
    fn network_of_ipv4_in_the_form_of_ipv6_gets_its_own_form() {
        for (text, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1/128", "10.0.0.1/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            // This network has other addresses as well.
            ("::ffff:0.0.0.0/95", "::ffff:0.0.0.0/95"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let parse = |text: &str| text.parse::<IpNet>().expect(text);
            assert_eq!(canonical_network(parse(text)), parse(expected), "{text}");
        }
    }
}
