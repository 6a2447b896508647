//! PROXY headers, sent as raw bytes: `ProxyHeader`.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tcs::{
    ConcurrentServer, Connection, ConnectionInfo, Rejection,
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Context, ServerProtocol},
    transport::{Listener as _, ProxyHeader, ProxyInfo, UnixSocketListener},
};
use tcs_tests::{
    Heard, LONG, Log, RawPeer, Running, client::Prefixed, scratch_path, start, tls, within,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UnixStream},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Replies with what it knows of its peer: at the start of the session, in the function, from the header, and where
/// the connection was accepted.
pub(crate) struct WhoAmI;

impl ServerProtocol for WhoAmI {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = String;
    type Request<'a> = ();
    type Reply<'a> = String;

    fn open_session(&self, info: &ConnectionInfo) -> String {
        info.peer().to_string()
    }

    async fn process_request(
        &self,
        context: Context<'_, String>,
        (): (),
    ) -> Result<String, Rejection> {
        let peer = context.peer();
        assert_eq!(*context.session, peer.to_string());
        Ok(match peer.get::<ProxyInfo>() {
            Some(info) => format!(
                "{peer} to {} over {} for {}",
                info.destination(),
                shown(info.balancer()),
                info.server_name().unwrap_or("-"),
            ),
            None => format!("{peer}"),
        })
    }
}

fn shown(balancer: Option<SocketAddr>) -> String {
    balancer.map_or_else(|| "-".to_owned(), |addr| addr.to_string())
}

pub(crate) fn server(trusted: &[&str]) -> ConcurrentServer<WhoAmI> {
    let header = ProxyHeader::from_networks(trusted).expect("networks");
    // No limit ends what the header should end.
    let server = ConcurrentServer::new(WhoAmI).handshake(header);
    server.handshake_timeout(LONG)
}

async fn started() -> Running {
    start(server(&["127.0.0.0/8"])).await
}

/// A request without a text.
pub(crate) const REQUEST: [u8; 4] = [0; 4];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2, with its length.
fn v2(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let len = u16::try_from(rest.len()).expect("tests are small");
    let fixed = [SIGNATURE, &[command, family], &len.to_be_bytes()];
    [&fixed.concat()[..], &rest].concat()
}

/// 192.0.2.7:4711 to 198.51.100.1:80.
const IPV4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80];

/// `[2001:db8::7]:4711` to `[2001:db8::1]:80`.
fn ipv6() -> Vec<u8> {
    let address = |last| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    [&address(7)[..], &address(1), &[0x12, 0x67, 0, 80]].concat()
}

/// A field: its type, its length, its value.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("tests are small");
    [&[kind], &len.to_be_bytes()[..], value].concat()
}

const OVER_IPV4: &str = "192.0.2.7:4711 to 198.51.100.1:80";
const OVER_IPV6: &str = "[2001:db8::7]:4711 to [2001:db8::1]:80";

/// The headers that have an address, and what they say.
fn with_addresses() -> Vec<(Vec<u8>, String)> {
    let mapped = |last| [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, last]].concat();
    let mapped = [&mapped(7)[..], &mapped(1), &[0x12, 0x67, 0, 80]].concat();
    let authority = tlv(2, b"greet.example");
    let longest = tlv(4, &[0; 4_096 - 16 - 12 - 3]);
    [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec(),
            OVER_IPV4,
            "-",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(),
            OVER_IPV6,
            "-",
        ),
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n".to_vec(),
            "192.0.2.7:0 to 198.51.100.1:65535",
            "-",
        ),
        (v2(0x21, 0x11, &[IPV4]), OVER_IPV4, "-"),
        (v2(0x21, 0x21, &[&ipv6()]), OVER_IPV6, "-"),
        (
            v2(0x21, 0x21, &[&mapped]),
            "192.0.2.7:4711 to 192.0.2.1:80",
            "-",
        ),
        (
            v2(0x21, 0x11, &[IPV4, &tlv(4, b"---"), &authority]),
            OVER_IPV4,
            "greet.example",
        ),
        (v2(0x21, 0x11, &[IPV4, &longest]), OVER_IPV4, "-"),
    ]
    .map(|(header, addrs, name)| (header, format!("{addrs} over BALANCER for {name}")))
    .into()
}

/// The headers without an address, for which the peer keeps its own.
fn without_addresses() -> Vec<Vec<u8>> {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(longest.len(), 107);
    vec![
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(),
        longest.into_bytes(),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &[&tlv(4, b"---")]),
        // Unix sockets.
        v2(0x21, 0x31, &[&[b'/'; 216]]),
        // The balancer's own connections, as health checks; the family is ignored.
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &[IPV4]),
        v2(0x20, 0x11, &[]),
        v2(0x20, 0x12, &[IPV4]),
        v2(0x20, 0xff, &[b"anything"]),
    ]
}

/// Says the header and a request at once; the peer of the function is as expected.
async fn says(server: &Running, header: &[u8], expected: &str, pieces: usize) {
    let stream = TcpStream::connect(server.addr()).await;
    let stream = stream.expect("the server listens");
    let own = stream.local_addr().expect("it is connected").to_string();
    let mut peer = RawPeer::of(stream);
    for piece in [header, &REQUEST].concat().chunks(pieces) {
        within(peer.send(piece)).await;
    }
    let expected = expected.replace("BALANCER", &own);
    let heard = within(peer.hear()).await;
    assert_eq!(
        heard,
        Heard::message(&expected),
        "{}",
        header.escape_ascii()
    );
}

#[tokio::test]
async fn header_gives_the_address_of_the_client_and_nothing_after_it_is_read() {
    let server = started().await;
    for (header, expected) in with_addresses() {
        for pieces in [usize::MAX, 1] {
            says(&server, &header, &expected, pieces).await;
        }
    }
    server.stopped().await;
}

/// As the documentation of `ProxyHeader` says.
#[tokio::test]
async fn client_sends_a_header_before_its_connection_begins() {
    let server = started().await;
    let stream = TcpStream::connect(server.addr()).await;
    let mut stream = stream.expect("the server listens");
    let own = stream.local_addr().expect("it is connected");
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    within(stream.write_all(header)).await.expect("it reads");
    let mut connection = Connection::over(stream);
    let reply = within(connection.call::<Prefixed>("")).await;
    let expected = format!("{OVER_IPV4} over {own} for -");
    assert_eq!(reply.expect("a reply"), expected);
    drop(connection);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn header_without_an_address_leaves_the_peer_its_own() {
    let server = started().await;
    for header in without_addresses() {
        says(&server, &header, "BALANCER", usize::MAX).await;
    }
    server.stopped().await;
}

/// Sends bytes to a server, which closes and says nothing.
async fn closes(server: &Running, bytes: &[u8], finishes: bool) {
    let mut peer = server.peer().await;
    // The server may have closed before.
    within(peer.try_send(bytes)).await.ok();
    if finishes {
        within(peer.try_finish()).await.ok();
    }
    // What is unread resets the connection.
    if let Ok(said) = within(peer.try_rest()).await {
        assert_eq!(said, b"", "{}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn malformed_header_closes_the_connection() {
    let server = started().await;
    let lines = [
        "PROXYxTCP4 192.0.2.7 198.51.100.1 4711 80",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 80",
        "proxy TCP4 192.0.2.7 198.51.100.1 4711 80",
        "PROXY TCP4  192.0.2.7 198.51.100.1 4711 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 ",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 9",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 +1",
        "PROXY TCP4 192.0.2.7 198.51.100.1 0080 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 0080",
        "PROXY TCP4 192.0.2.7 198.51.100.1 00 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 -1 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1  80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 99999 80",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536",
        "PROXY TCP4 192.0.2.007 198.51.100.1 4711 80",
        "PROXY TCP4 192.0.2 198.51.100.1 4711 80",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 80",
        "PROXY TCP6 192.0.2.7 198.51.100.1 4711 80",
        "PROXY TCP6 fe80::1%eth0 2001:db8::1 4711 80",
        "PROXY UDP4 192.0.2.7 198.51.100.1 4711 80",
        "PROXY TCP5 192.0.2.7 198.51.100.1 4711 80",
        "PROXY UNKNOWNx",
        "PROXY UNKNOWN a\rb",
        "PROXY ",
        "PROXY",
    ];
    let lines = lines.map(|line| format!("{line}\r\n").into_bytes());
    let others = [
        // Without its `\r`, the line goes on.
        b"PROXY UNKNOWN\nPROXY UNKNOWN \0\r\r\r\n".to_vec(),
        // One more than the longest line.
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16)).into_bytes(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        // Closed before the end of the line arrives.
        b"PROXX".to_vec(),
        [SIGNATURE, &[0x11, 0x11, 0, 12], IPV4].concat(),
        v2(0x22, 0x11, &[IPV4]),
        v2(0x2f, 0x11, &[IPV4]),
        // Datagrams.
        v2(0x21, 0x12, &[IPV4]),
        v2(0x21, 0x22, &[&ipv6()]),
        v2(0x21, 0x32, &[&[b'/'; 216]]),
        // Families and transports that do not exist.
        v2(0x21, 0x01, &[IPV4]),
        v2(0x21, 0x10, &[IPV4]),
        v2(0x21, 0x13, &[IPV4]),
        v2(0x21, 0x41, &[IPV4]),
        // Lengths without room for the addresses.
        v2(0x21, 0x11, &[&IPV4[..11]]),
        v2(0x21, 0x11, &[]),
        v2(0x21, 0x21, &[IPV4]),
        v2(0x21, 0x31, &[&[b'/'; 215]]),
        // Too long: closed before the rest arrives.
        [SIGNATURE, &[0x21, 0x11, 0x0f, 0xf1]].concat(),
        [SIGNATURE, &[0x20, 0x00, 0xff, 0xff]].concat(),
        b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c".to_vec(),
    ];
    let count = lines.len() + others.len();
    for bytes in lines.into_iter().chain(others) {
        closes(&server, &bytes, false).await;
    }
    let report = server.stopped().await;
    assert_eq!(report.requests.received, 0);
    assert_eq!(report.connections.accepted, count as u64);
}

#[tokio::test]
async fn header_that_is_cut_at_any_byte_closes_the_connection() {
    let server = started().await;
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec();
    let v2 = v2(0x21, 0x11, &[IPV4, &tlv(2, b"greet.example")]);
    for header in [v1, v2] {
        for len in 0..header.len() {
            closes(&server, &header[..len], true).await;
        }
    }
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[tokio::test]
async fn peer_that_sends_nothing_is_logged_at_debug() {
    let (log, _logging) = Log::start();
    let server = start(server(&["127.0.0.0/8"]).tls(tls::server())).await;
    // A check of a balancer before the header, and one after it.
    closes(&server, b"", true).await;
    log.until(1, "a handshake has failed").await;
    closes(&server, &v2(0x20, 0, &[]), true).await;
    log.until(2, "a handshake has failed").await;
    closes(&server, b"\r", true).await;
    log.until(3, "a handshake has failed").await;
    server.stopped().await;
    let logged = log.with("a handshake has failed");
    let levels = ["level=DEBUG ", "level=DEBUG ", "level=INFO "];
    for (event, level) in logged.iter().zip(levels) {
        assert!(event.starts_with(level), "{logged:?}");
    }
}

#[tokio::test]
async fn header_of_a_peer_that_is_not_trusted_is_not_read() {
    let server = start(server(&["192.0.2.0/24", "2001:db8::/32"])).await;
    // Closed without a byte.
    closes(&server, b"", false).await;
    closes(
        &server,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        false,
    )
    .await;
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[tokio::test]
async fn network_of_ipv4_in_the_form_of_ipv6_is_one_of_ipv4() {
    for network in ["::ffff:127.0.0.0/104", "::ffff:127.0.0.1/128"] {
        let server = start(server(&[network])).await;
        let header = v2(0x20, 0, &[]);
        says(&server, &header, "BALANCER", usize::MAX).await;
        server.stopped().await;
    }
    let server = start(server(&["::ffff:10.0.0.0/104", "::/0"])).await;
    closes(&server, &v2(0x20, 0, &[]), false).await;
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[tokio::test]
async fn network_that_is_none_is_an_error_that_shows_it() {
    let error = ProxyHeader::from_networks(&["10.0.0.0/8", "10.0.0.0/33"]);
    let error = error.expect_err("it is no network").to_string();
    assert!(error.contains("`10.0.0.0/33`"), "{error}");
}

#[tokio::test]
async fn balancer_on_a_unix_socket_is_trusted_and_has_no_address() {
    let path = scratch_path("sock");
    let header = ProxyHeader::from_networks(&[]).expect("no networks");
    let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
    let server = ConcurrentServer::new(WhoAmI).listener(socket.with_handshake(header));
    let server = within(server.bind()).await.expect("it is bound");
    let handle = server.handle();
    let server = tokio::spawn(server.listen());

    let mut peer = RawPeer::over(UnixStream::connect(&path).await.expect("it listens"));
    within(peer.send([&v2(0x21, 0x11, &[IPV4])[..], &REQUEST].concat())).await;
    let expected = format!("{OVER_IPV4} over - for -");
    assert_eq!(within(peer.hear()).await, Heard::message(&expected));
    handle.stop();
    within(server).await.expect("no panic").expect("it drains");
}

#[tokio::test]
async fn header_comes_before_tls() {
    let server = start(server(&["127.0.0.0/8"]).tls(tls::server())).await;
    let mut stream = TcpStream::connect(server.addr()).await.expect("it listens");
    let own = stream.local_addr().expect("it is connected");
    let header = v2(0x21, 0x21, &[&ipv6()]);
    within(tokio::io::AsyncWriteExt::write_all(&mut stream, &header))
        .await
        .expect("it reads");
    let stream = within(tls::connect_over(stream)).await;
    let mut peer = RawPeer::over(stream.expect("the handshake succeeds"));
    within(peer.send(REQUEST)).await;
    let expected = format!("{OVER_IPV6} over {own} for -");
    assert_eq!(within(peer.hear()).await, Heard::message(&expected));
    drop(peer);
    server.stopped().await;
}

/// Keeps the name of each span, and its fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl Visit for Spans {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut spans = self.0.lock().expect("nobody panics");
        let span = spans.last_mut().expect("it has begun");
        write!(span, " {field}={value:?}").expect("a `String` takes all");
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("tcs")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let name = span.metadata().name().to_owned();
        self.0.lock().expect("nobody panics").push(name);
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn spans_of_a_connection_have_one_id_and_the_peer_as_it_is_known_then() {
    // With another subscriber, `tracing` does not let a thread without any decide for this one.
    let (_, _another) = Log::start();
    let spans = Spans::default();
    let _logging = tracing::subscriber::set_default(spans.clone());
    let server = started().await;
    let header = v2(0x21, 0x11, &[IPV4]);
    let expected = format!("{OVER_IPV4} over BALANCER for -");
    says(&server, &header, &expected, usize::MAX).await;
    server.stopped().await;
    let spans = spans.0.lock().expect("nobody panics");
    let [handshake, connection] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert!(
        handshake.starts_with("handshake peer=127.0.0.1:"),
        "{handshake}"
    );
    assert!(handshake.ends_with(" id=1"), "{handshake}");
    assert_eq!(connection, "connection peer=192.0.2.7:4711 id=1");
}
