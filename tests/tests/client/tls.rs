//! Clients over TLS.

use std::{env, fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use tcs::{
    Channel, ConcurrentServer, Connection, Error, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    framing::LengthPrefixed,
    server_protocol,
    transport::ClientTls,
};
use tcs_tests::{
    RawPeer,
    client::Prefixed,
    process::Process,
    start,
    tls::{Identity, Root},
    within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, ServerConnection,
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};

type Accepted = JoinHandle<std::io::Result<TlsStream<TcpStream>>>;

/// Accepts one connection over TLS.
async fn raw_server(config: ServerConfig) -> (SocketAddr, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        acceptor.accept(stream).await
    });
    (addr, accepting)
}

fn tls(addr: SocketAddr) -> String {
    format!("tls://localhost:{}", addr.port())
}

fn with(tls: ClientTls) -> ConnectOptions {
    ConnectOptions::new().tls(tls)
}

/// Connects, and exchanges one message with the raw server.
async fn works(options: &ConnectOptions, address: String, accepting: Accepted) {
    let mut connection = within(options.connect(address)).await.expect("a handshake");
    let stream = within(accepting)
        .await
        .expect("no panic")
        .expect("a client");
    let mut server = RawPeer::over(stream);
    let (reply, _) = tokio::join!(
        within(connection.call::<Prefixed>("Ann")),
        within(server.ask_back())
    );
    assert_eq!(reply.expect("a reply"), "Ann");
}

/// Fails to connect; returns the error.
async fn fails(options: &ConnectOptions, address: String) -> Error {
    let connected = within(options.connect::<LengthPrefixed>(address)).await;
    let error = connected.expect_err("the handshake fails");
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    assert!(
        error
            .to_string()
            .starts_with("cannot connect to localhost:"),
        "{error}"
    );
    assert_eq!(error.execution(), Execution::NotSent);
    assert!(error.peer_addr().is_some());
    error
}

fn all_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        write!(text, ": {error}").expect("a string grows");
        source = error.source();
    }
    text
}

fn localhost() -> (Root, Identity) {
    let root = Root::new();
    let identity = root.issue("localhost");
    (root, identity)
}

#[tokio::test]
async fn server_with_a_private_root_is_trusted() {
    let (root, identity) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    works(&options, tls(addr), accepting).await;
    // With the option, the scheme is not needed.
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    works(&options, format!("localhost:{}", addr.port()), accepting).await;
}

#[server_protocol]
fn echo(text: &str) -> &str {
    text
}

#[tokio::test]
async fn channel_over_tls_connects_again_to_a_server_that_was_restarted() {
    let (root, identity) = localhost();
    let server = || ConcurrentServer::new(Echo).tls(identity.server());
    let first = start(server()).await;
    let addr = first.addr();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let channel: Channel = within(
        ChannelOptions::new(tls(addr))
            .connect_options(options)
            .connect(),
    )
    .await
    .expect("a handshake");
    let reply = within(channel.call_with::<Echo, _>("one", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "one");
    first.stopped().await;

    let bound = within(server().address(addr).bind())
        .await
        .expect("it is free again");
    let handle = bound.handle();
    let second = tokio::spawn(bound.listen());
    let reply = within(channel.call_with::<Echo, _>("two", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "two");
    assert_eq!(channel.state().connects, 2);
    handle.stop();
    let report = within(second).await.expect("no panic").expect("it served");
    assert_eq!(report.requests.served, 1);
}

#[tokio::test]
async fn server_of_an_unknown_root_is_not_trusted() {
    let (_, identity) = localhost();
    for options in [
        ConnectOptions::new(),
        with(ClientTls::with_roots(Root::new().file()).expect("a root")),
    ] {
        let (addr, accepting) = raw_server(identity.raw_server(None)).await;
        let error = fails(&options, tls(addr)).await;
        let text = all_of(&error);
        assert!(text.contains("is not signed by a trusted root"), "{text}");
        assert!(within(accepting).await.expect("no panic").is_err());
    }
}

/// The variable with the address that the program of the next test connects to.
const ADDRESS: &str = "TCS_TEST_TLS_ADDRESS";

/// The system's roots are read once per process.
#[tokio::test]
async fn roots_of_the_system_are_trusted_by_default() {
    if let Ok(address) = env::var(ADDRESS) {
        let connected = within(Connection::connect(address)).await;
        let mut connection = connected.expect("a handshake");
        let reply = within(connection.call::<Prefixed>("Ann")).await;
        assert_eq!(reply.expect("a reply"), "Ann");
        return;
    }
    let (root, identity) = localhost();
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    let roots = root.file();
    let mut program = Command::new(env::current_exe().expect("this program"));
    program
        .args(["--exact", "tls::roots_of_the_system_are_trusted_by_default"])
        .env(ADDRESS, tls(addr))
        .env("SSL_CERT_FILE", roots.path());
    let program = Process::run(&mut program);
    let accepted = within(accepting).await.expect("no panic");
    let stream = accepted.expect("the program trusts the root");
    assert_eq!(within(RawPeer::over(stream).ask_back()).await, "Ann");
    let finished = program.finished().await;
    assert!(finished.status.success(), "{finished:?}");
    let printed = finished.stdout.concat();
    assert!(printed.contains("1 passed"), "{printed}");
}

#[tokio::test]
async fn certificate_must_have_the_name_that_was_connected_to() {
    let root = Root::new();
    let identity = root.issue("other.example");
    let trusting = ClientTls::with_roots(root.file()).expect("a root");
    let (addr, _accepting) = raw_server(identity.raw_server(None)).await;
    let error = fails(&with(trusting.clone()), tls(addr)).await;
    let text = all_of(&error);
    assert!(
        text.contains("the server's certificate is for another name"),
        "{text}"
    );
    assert!(text.contains("other.example"), "{text}");

    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    let named = with(trusting.server_name("other.example"));
    works(&named, tls(addr), accepting).await;
}

#[tokio::test]
async fn certificate_that_has_expired_is_rejected() {
    let root = Root::new();
    let identity = root.issue_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let (addr, _accepting) = raw_server(identity.raw_server(None)).await;
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let text = all_of(&fails(&options, tls(addr)).await);
    assert!(text.contains("has expired"), "{text}");
}

/// As `openssl req -x509` makes one by default.
#[tokio::test]
async fn certificate_of_an_authority_is_rejected_with_the_cure() {
    let identity = Root::new().issue_with("localhost", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let options = with(ClientTls::with_roots(&identity.certificate).expect("a root"));
    let (addr, _accepting) = raw_server(identity.raw_server(None)).await;
    let text = all_of(&fails(&options, tls(addr)).await);
    let cure = "is an authority's: sign another with it, or pin it (`ClientTls::pinned`)";
    assert!(text.contains(cure), "{text}");

    let options = with(ClientTls::pinned(&identity.certificate).expect("a certificate"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    works(&options, tls(addr), accepting).await;
}

#[tokio::test]
async fn name_that_no_certificate_has_is_an_invalid_setting() {
    let named = ClientTls::with_roots(Root::new().file()).expect("a root");
    let options = with(named.clone().server_name("a b"));
    let is_setting = |error: &Error| {
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        assert!(error.to_string().contains("`a b`"), "{error}");
    };
    // Nobody listens, which would be an error of another kind.
    let connected = within(options.connect::<LengthPrefixed>("127.0.0.1:1")).await;
    is_setting(&connected.expect_err("an invalid name"));
    let (near, _far) = duplex(1);
    let connection = ConnectOptions::new().over::<LengthPrefixed>(near);
    let connection = connection.expect("good options");
    let tls = named.server_name("a b");
    let continued = within(connection.start_tls(&tls, "localhost")).await;
    is_setting(&continued.expect_err("an invalid name"));
}

#[tokio::test]
async fn pinned_certificate_is_the_only_one() {
    let root = Root::new();
    // Neither its name nor its dates matter.
    let identity = root.issue_with("other.example", |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    });
    let options = with(ClientTls::pinned(&identity.certificate).expect("a certificate"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    works(&options, tls(addr), accepting).await;

    let other = root.issue("localhost");
    // The rest of the chain is not pinned.
    let [own, issuer] = [&identity, &other]
        .map(|identity| std::fs::read_to_string(&identity.certificate).expect("a file"));
    std::fs::write(&identity.certificate, own + &issuer).expect("a writable folder");
    let options = with(ClientTls::pinned(&identity.certificate).expect("a certificate"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    works(&options, tls(addr), accepting).await;

    let (addr, _accepting) = raw_server(other.raw_server(None)).await;
    let text = all_of(&fails(&options, tls(addr)).await);
    assert!(
        text.contains("the server's certificate is not the pinned one"),
        "{text}"
    );

    // The certificate is public. Who shows it must have its key.
    let thief = Identity {
        certificate: identity.certificate,
        key: other.key,
    };
    for version in [&TLS12, &TLS13] {
        let (addr, _accepting) = raw_server(thief.raw_server_unchecked(version)).await;
        fails(&options, tls(addr)).await;
    }
}

#[tokio::test]
async fn client_with_a_certificate_is_known() {
    let (root, identity) = localhost();
    let clients = Root::new();
    let own = clients.issue("client.example");
    let trusting = ClientTls::with_roots(root.file()).expect("a root");
    let options = with(
        trusting
            .identity(&own.certificate, &own.key)
            .expect("a pair"),
    );
    let (addr, accepting) = raw_server(identity.raw_server(Some(&clients))).await;
    works(&options, tls(addr), accepting).await;
}

#[tokio::test]
async fn client_without_the_required_certificate_is_told() {
    let (root, identity) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let (addr, _accepting) = raw_server(identity.raw_server(Some(&Root::new()))).await;
    // In TLS 1.3, the client is ready before the server has looked at its certificate.
    let connected = within(options.connect(tls(addr))).await;
    let error = match connected {
        Ok(mut connection) => within(connection.call::<Prefixed>("Ann"))
            .await
            .map(str::to_owned)
            .expect_err("it is rejected"),
        Err(error) => error,
    };
    let text = all_of(&error);
    let why = "the server requires a certificate of the client (received fatal alert: CertificateRequired)";
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn protocols_are_agreed_on() {
    let (root, identity) = localhost();
    let trusting = ClientTls::with_roots(root.file()).expect("a root");
    let mut config = identity.raw_server(None);
    config.alpn_protocols = vec![b"b".to_vec()];
    let (addr, accepting) = raw_server(config.clone()).await;
    let options = with(trusting.clone().alpn(["a", "b"]));
    let connection = within(options.connect::<LengthPrefixed>(tls(addr))).await;
    let stream = within(accepting)
        .await
        .expect("no panic")
        .expect("a client");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"b"[..]));
    drop(connection);

    let (addr, _accepting) = raw_server(config).await;
    let text = all_of(&fails(&with(trusting.alpn(["a"])), tls(addr)).await);
    assert!(text.contains("no protocol of ALPN in common"), "{text}");
}

#[tokio::test]
async fn server_that_does_not_speak_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut peer = RawPeer::of(stream);
        peer.send(b"220 mail.example ESMTP\r\n").await;
        // The client leaves.
        peer.try_rest().await.ok();
    });
    let (root, _) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let text = all_of(&fails(&options, tls(addr)).await);
    assert!(text.contains("does not speak TLS"), "{text}");
    within(server).await.expect("no panic");
}

#[tokio::test]
async fn handshake_is_within_the_limit_of_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let (root, _) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"))
        .connect_timeout(Duration::from_millis(200));
    // It is never accepted.
    let connected = within(options.connect::<LengthPrefixed>(tls(addr))).await;
    let error = connected.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.execution(), Execution::NotSent);
}

#[tokio::test]
async fn channel_says_goodbye() {
    let (root, identity) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    let channel: Channel<LengthPrefixed> = within(
        ChannelOptions::new(tls(addr))
            .connect_options(options)
            .connect(),
    )
    .await
    .expect("a handshake");
    let mut stream = within(accepting)
        .await
        .expect("no panic")
        .expect("a client");
    drop(channel);
    // Without close_notify, this were an error.
    let read = within(stream.read(&mut [0])).await;
    assert_eq!(read.expect("a clean end"), 0);
}

#[tokio::test]
async fn cut_without_close_notify_is_no_clean_end() {
    let (root, identity) = localhost();
    let options = with(ClientTls::with_roots(root.file()).expect("a root"));
    let (addr, accepting) = raw_server(identity.raw_server(None)).await;
    let mut connection: Connection<LengthPrefixed> = within(options.connect(tls(addr)))
        .await
        .expect("a handshake");
    let stream = within(accepting)
        .await
        .expect("no panic")
        .expect("a client");
    let (tcp, _) = stream.into_inner();
    drop(tcp);
    let error = within(connection.call::<Prefixed>("Ann")).await;
    let error = error.map(str::to_owned).expect_err("it is cut");
    assert_ne!(error.execution(), Execution::NotExecuted);
    // The handshake was complete.
    let text = all_of(&error);
    assert!(!text.contains("handshake"), "{text}");
}

/// Speaks TLS until `left` bytes were sent, and closes.
async fn cut_after(mut stream: DuplexStream, config: Arc<ServerConfig>, mut left: usize) {
    let mut server = ServerConnection::new(config).expect("a good configuration");
    let mut said = vec![0; 1 << 14];
    while server.is_handshaking() && left > 0 {
        let count = within(stream.read(&mut said)).await.expect("no reset");
        server.read_tls(&mut &said[..count]).expect("bytes");
        server.process_new_packets().expect("a good client");
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).expect("a `Vec` takes all");
        }
        flight.truncate(left);
        left -= flight.len();
        // The client may be done. The length of a signature varies, and so the bytes of a handshake do.
        within(stream.write_all(&flight)).await.ok();
    }
    within(stream.shutdown()).await.expect("it is open");
    // The client may not know it yet.
    within(stream.read_to_end(&mut said))
        .await
        .expect("no reset");
}

#[tokio::test]
async fn handshake_that_is_cut_at_any_byte_of_the_server_is_an_error_that_says_so() {
    for version in [&TLS12, &TLS13] {
        let (root, identity) = localhost();
        let config = Arc::new(identity.raw_server_unchecked(version));
        let trusting = ClientTls::with_roots(root.file()).expect("a root");
        let mut cut = 0;
        loop {
            let (near, far) = duplex(1 << 14);
            let server = tokio::spawn(cut_after(far, Arc::clone(&config), cut));
            let connection: Connection<LengthPrefixed> = Connection::over(near);
            let connected = within(connection.start_tls(&trusting, "localhost")).await;
            let Err(error) = connected else {
                // That was the last byte of the handshake.
                drop(connected);
                within(server).await.expect("no panic");
                break;
            };
            let told = (error.kind(), error.execution());
            assert_eq!(told, (ErrorKind::Connect, Execution::NotSent), "{error}");
            let text = all_of(&error);
            let reason = "the server closed in the middle of the handshake";
            assert!(text.contains(reason), "cut at {cut}: {text}");
            within(server).await.expect("no panic");
            cut += 1;
        }
        // Its hello, its certificate, and what proves that it has the key.
        assert!(cut > 500, "{cut}");
    }
}
