//! Certificates of both ends, the facts of a connection, and a reload.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use tcs::{
    ConcurrentServer, ErrorKind,
    framing::LengthPrefixed,
    server_protocol,
    transport::{Tls, TlsInfo, create_self_signed},
};
use tcs_tests::{
    Heard, Log, RawPeer, Running, Scratch, code, gate, scratch_path, start, tester,
    tls::{Identity, Root, try_connect},
    within,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{
    client::TlsStream,
    rustls::{
        ClientConfig, HandshakeKind,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

#[server_protocol]
fn facts(_request: &str, tls: &TlsInfo) -> String {
    let own = tls.peer_certificates().first().map_or(0, |own| own.len());
    let alpn = tls.alpn().map(String::from_utf8_lossy);
    let name = tls.server_name();
    format!(
        "{own} {} {}",
        alpn.as_deref().unwrap_or("-"),
        name.unwrap_or("-")
    )
}

async fn serve(tls: Tls) -> Running {
    start(ConcurrentServer::new(Facts).tls(tls)).await
}

async fn connect(server: &Running, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    within(try_connect(server.addr(), config)).await
}

/// Returns the certificate in a file.
fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&identity.certificate).expect("a certificate")
}

/// Connects, and fails unless the server rejects the client. Returns the client's error.
async fn is_rejected(server: &Running, config: ClientConfig) -> io::Error {
    // In TLS 1.3 the client has finished its handshake before the server reads its certificate.
    match connect(server, config).await {
        Err(error) => error,
        Ok(mut stream) => within(stream.read_u8()).await.expect_err("it is rejected"),
    }
}

#[tokio::test]
async fn client_certificate_is_required_and_known() {
    let (log, _logging) = Log::start();
    let (root, clients) = (Root::new(), Root::new());
    let client = clients.issue("client");
    let own = root.issue("localhost");
    let tls = own.server().require_client_certificates(clients.file());
    let server = serve(tls.expect("a root")).await;

    let stream = connect(&server, root.client(Some(&client))).await;
    let mut peer = RawPeer::over(stream.expect("its root is trusted"));
    let length = der(&client).len();
    let said = Heard::message(&format!("{length} - localhost"));
    assert_eq!(within(peer.ask("")).await, said);
    drop(peer);

    let error = is_rejected(&server, root.client(None)).await;
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    let stranger = Root::new().issue("client");
    let error = is_rejected(&server, root.client(Some(&stranger))).await;
    assert!(error.to_string().contains("UnknownCA"), "{error}");

    log.until(2, "a handshake has failed").await;
    let report = server.stopped().await;
    assert_eq!(
        (report.connections.closed, report.requests.received),
        (3, 1)
    );
    let logged = log.with("a handshake has failed");
    assert_eq!(logged.len(), 2, "{logged:?}");
    for (event, reason) in logged.iter().zip([
        "reason=the client has no certificate, which the server requires",
        "reason=the client's certificate is not signed by a trusted root; a private root must be set",
    ]) {
        assert!(event.contains("peer=127.0.0.1:"), "{event}");
        assert!(event.contains(reason), "{event}");
    }
}

#[tokio::test]
async fn client_certificates_and_protocols_are_set_in_any_order() {
    let root = Root::new();
    let client = root.issue("client");
    let (own, roots) = (root.issue("localhost"), root.file());
    let require = |tls: Tls| tls.require_client_certificates(&roots);
    for tls in [
        own.server().alpn(["a"]).and_then(require),
        require(own.server()).and_then(|tls| tls.alpn(["a"])),
    ] {
        let server = serve(tls.expect("good files")).await;
        let mut config = root.client(Some(&client));
        config.alpn_protocols = vec![b"a".to_vec()];
        let stream = connect(&server, config).await;
        let mut peer = RawPeer::over(stream.expect("its root is trusted"));
        let said = format!("{} a localhost", der(&client).len());
        assert_eq!(within(peer.ask("")).await, Heard::message(&said));
        drop(peer);
        is_rejected(&server, root.client(None)).await;
        assert_eq!(server.stopped().await.requests.served, 1);
    }
}

#[tokio::test]
async fn all_certificates_of_a_file_are_used() {
    let append = |to: &Path, from: &Path| {
        let both = [to, from].map(|path| fs::read_to_string(path).expect("a file"));
        fs::write(to, both.concat()).expect("a writable file");
    };
    let (root, clients) = (Root::new(), Root::new());
    let authority = root.intermediate();
    let (own, client) = (authority.issue("localhost"), clients.issue("client"));
    append(&own.certificate, &authority.file());
    let roots = Root::new().file();
    append(&roots, &clients.file());
    let tls = own.server().require_client_certificates(roots);
    let server = serve(tls.expect("roots")).await;
    let stream = connect(&server, root.client(Some(&client))).await;
    let mut peer = RawPeer::over(stream.expect("the root is trusted"));
    let said = format!("{} - localhost", der(&client).len());
    assert_eq!(within(peer.ask("")).await, Heard::message(&said));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// In TLS 1.3 the client sends its first requests before it is rejected.
#[tokio::test]
async fn client_without_a_certificate_that_sends_much_hears_why_it_is_rejected() {
    let root = Root::new();
    let own = root.issue("localhost");
    let tls = own.server().require_client_certificates(root.file());
    let server = serve(tls.expect("a root")).await;
    let mut stream = connect(&server, root.client(None)).await.expect("TLS 1.3");
    let much = vec![b'x'; 1 << 20];
    within(tokio::io::AsyncWriteExt::write_all(&mut stream, &much))
        .await
        .expect("no reset");
    let error = within(stream.read_u8()).await.expect_err("it is rejected");
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    drop(stream);
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[tokio::test]
async fn facts_are_known_without_a_client_certificate() {
    let root = Root::new();
    let tls = root.issue("localhost").server().alpn(["b", "a"]);
    let server = serve(tls.expect("good files")).await;
    for (offered, expected) in [
        (&["a", "b"][..], "0 b localhost"),
        (&["c", "a"], "0 a localhost"),
        (&[], "0 - localhost"),
    ] {
        let mut config = root.client(None);
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let stream = connect(&server, config).await.expect("it is trusted");
        let mut peer = RawPeer::over(stream);
        assert_eq!(within(peer.ask("")).await, Heard::message(expected));
    }
    let mut config = root.client(None);
    config.enable_sni = false;
    let mut peer = RawPeer::over(connect(&server, config).await.expect("it is trusted"));
    assert_eq!(within(peer.ask("")).await, Heard::message("0 - -"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 4);
}

#[tokio::test]
async fn client_without_a_common_protocol_is_rejected() {
    let (log, _logging) = Log::start();
    let root = Root::new();
    let tls = root.issue("localhost").server().alpn(["a"]);
    let server = serve(tls.expect("good files")).await;
    let mut config = root.client(None);
    config.alpn_protocols = vec![b"b".to_vec()];
    let error = connect(&server, config)
        .await
        .expect_err("nothing in common");
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    let reason = "reason=client and server have no protocol of ALPN in common";
    log.until(1, reason).await;
    server.stopped().await;
}

#[tokio::test]
async fn function_that_needs_tls_rejects_peers_without_it() {
    let server = start(ConcurrentServer::new(Facts)).await;
    let mut peer = server.peer().await;
    let text = "this function needs a connection over TLS";
    let rejected = Heard::Control(code::BAD_REQUEST, text.to_owned());
    assert_eq!(within(peer.ask("")).await, rejected);
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 1);
}

/// Returns the certificate that the server shows to a new client.
async fn shown(server: &Running, root: &Root) -> CertificateDer<'static> {
    let mut stream = connect(server, root.client(None))
        .await
        .expect("it is trusted");
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate")[0]
        .clone();
    within(tokio::io::AsyncWriteExt::shutdown(&mut stream))
        .await
        .expect("it is open");
    shown.into_owned()
}

#[tokio::test]
async fn reload_changes_the_certificate_of_new_connections_only() {
    let root = Root::new();
    let (first, second) = (root.issue("localhost"), root.issue("localhost"));
    let (old, new) = (der(&first), der(&second));
    let tls = first.server();
    let reloads = tls.clone();
    let echo = tester::<LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(echo).tls(tls)).await;
    let stream = connect(&server, root.client(None)).await;
    let mut open = RawPeer::over(stream.expect("it is trusted"));
    assert_eq!(within(open.ask("1")).await, Heard::message("1"));

    fs::write(&first.certificate, "broken").expect("a writable file");
    let error = reloads.reload().expect_err("it is broken");
    assert_eq!(error.kind(), ErrorKind::Setting);
    let path = first.certificate.display().to_string();
    assert!(error.to_string().contains(&path), "{error}");
    assert_eq!(shown(&server, &root).await, old);
    // The key of another certificate is refused, too.
    fs::copy(&second.certificate, &first.certificate).expect("a writable file");
    assert_eq!(
        reloads.reload().expect_err("a pair").kind(),
        ErrorKind::Setting
    );
    assert_eq!(shown(&server, &root).await, old);

    fs::copy(&second.key, &first.key).expect("a writable file");
    reloads.reload().expect("a good pair");
    assert_eq!(shown(&server, &root).await, new);
    assert_eq!(within(open.ask("2")).await, Heard::message("2"));
    drop(open);
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (4, 2));
}

/// Otherwise a client whose certificate is not accepted any more would be let in by its old session.
#[tokio::test]
async fn resumed_session_has_the_same_facts_and_ends_with_a_reload() {
    let root = Root::new();
    let client = root.issue("client");
    let (own, roots) = (root.issue("localhost"), root.file());
    let tls = own.server().require_client_certificates(&roots);
    let tls = tls.expect("a root");
    let reloads = tls.clone();
    let server = serve(tls).await;
    let config = root.client(Some(&client));
    let said = Heard::message(&format!("{} - localhost", der(&client).len()));
    for kind in [
        HandshakeKind::Full,
        HandshakeKind::Resumed,
        HandshakeKind::Full,
    ] {
        if kind == HandshakeKind::Full {
            reloads.reload().expect("good files");
        }
        let stream = connect(&server, config.clone()).await;
        let stream = stream.expect("it is trusted");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        let mut peer = RawPeer::over(stream);
        assert_eq!(within(peer.ask("")).await, said);
    }
    assert_eq!(server.stopped().await.requests.served, 3);
}

#[tokio::test]
async fn reload_under_load_loses_no_connection() {
    const CLIENTS: usize = 4;
    let root = Root::new();
    let identity = root.issue("localhost");
    let tls = identity.server();
    let reloads = tls.clone();
    let echo = tester::<LengthPrefixed>(&gate());
    let server = start(ConcurrentServer::new(echo).tls(tls)).await;
    let done = AtomicUsize::new(0);
    // Each client connects until it has seen several certificates.
    let client = async || {
        let (mut seen, mut asked) = (Vec::new(), 0);
        while seen.len() < 5 {
            let stream = connect(&server, root.client(None)).await;
            let stream = stream.expect("it is trusted");
            let shown = stream.get_ref().1.peer_certificates().expect("one")[0].clone();
            if seen.last() != Some(&shown) {
                seen.push(shown);
            }
            let mut peer = RawPeer::over(stream);
            assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
            asked += 1;
        }
        done.fetch_add(1, Ordering::Relaxed);
        asked
    };
    let reloading = async {
        while done.load(Ordering::Relaxed) < CLIENTS {
            let next = root.issue("localhost");
            fs::copy(&next.certificate, &identity.certificate).expect("a writable file");
            fs::copy(&next.key, &identity.key).expect("a writable file");
            reloads.reload().expect("a good pair");
            tokio::task::yield_now().await;
        }
    };
    let clients = async { tokio::join!(client(), client(), client(), client(), reloading) };
    let (a, b, c, d, ()) = Box::pin(within(clients)).await;
    assert_eq!(server.stopped().await.requests.served, a + b + c + d);
}

#[tokio::test]
async fn server_logs_why_its_certificate_is_not_accepted() {
    let (log, _logging) = Log::start();
    let root = Root::new();
    let old = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    let expired = root.issue_with("localhost", old);
    let (elsewhere, unknown) = (root.issue("elsewhere"), Root::new().issue("localhost"));
    for (identity, reason) in [
        (
            expired,
            "reason=the peer says that the certificate has expired",
        ),
        (
            elsewhere,
            "reason=the peer does not trust the certificate (received fatal alert: BadCertificate)",
        ),
        (
            unknown,
            "reason=the peer does not trust the certificate (received fatal alert: UnknownCA)",
        ),
    ] {
        let server = serve(identity.server()).await;
        let refused = connect(&server, root.client(None)).await;
        refused.expect_err("the client does not accept it");
        log.until(1, reason).await;
        assert_eq!(server.stopped().await.connections.closed, 1);
    }
}

#[tokio::test]
async fn self_signed_certificate_is_made_once_and_is_served() {
    let (certificate, key) = (Scratch::absent(), Scratch::absent());
    create_self_signed(&certificate, &key).expect("a writable folder");
    let mode = fs::metadata(&key)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let files = || (fs::read(&certificate), fs::read(&key));
    let (first, second) = (files(), {
        create_self_signed(&certificate, &key).expect("both are there");
        files()
    });
    assert_eq!(first.0.expect("a file"), second.0.expect("a file"));
    assert_eq!(first.1.expect("a file"), second.1.expect("a file"));

    let server = serve(Tls::from_pem(&certificate, &key).expect("a good pair")).await;
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    let own = CertificateDer::from_pem_file(&certificate).expect("a certificate");
    roots.add(own).expect("a root");
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut peer = RawPeer::over(connect(&server, config).await.expect("it is trusted"));
    assert_eq!(within(peer.ask("")).await, Heard::message("0 - localhost"));
    drop(peer);
    server.stopped().await;
}

#[test]
fn half_of_a_self_signed_pair_is_an_error_each_time() {
    let (certificate, key) = (Scratch::absent(), Scratch::absent());
    for (present, missing) in [(&certificate, &key), (&key, &certificate)] {
        fs::write(present, "mine").expect("a writable folder");
        for _ in 0..2 {
            let error = create_self_signed(&certificate, &key).expect_err("one is missing");
            assert_eq!(error.kind(), ErrorKind::Setting);
            let path = missing.display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
            assert!(!missing.exists());
        }
        assert_eq!(fs::read(present).expect("it is kept"), b"mine");
        fs::remove_file(present).expect("it is there");
    }
    // If the second file cannot be written, the first does not stay alone.
    let nowhere = scratch_path("missing").join("certificate.pem");
    create_self_signed(nowhere, &key).expect_err("there is no such folder");
    assert!(!key.exists());
}

#[test]
fn files_that_are_not_a_pair_are_errors_that_name_the_file() {
    let root = Root::new();
    let (first, second) = (root.issue("localhost"), root.issue("localhost"));
    let missing = Scratch::absent();
    for (certificate, key, wrong) in [
        (&missing, &first.key, &missing),
        (&first.certificate, &missing, &missing),
        (&first.key, &first.key, &first.key),
        (&first.certificate, &first.certificate, &first.certificate),
        (&first.certificate, &second.key, &second.key),
    ] {
        let error = Tls::from_pem(certificate, key).expect_err("no pair");
        assert_eq!(error.kind(), ErrorKind::Setting);
        let path = wrong.display().to_string();
        assert!(error.to_string().contains(&path), "{error}");
    }
    let tls = || Tls::from_pem(&first.certificate, &first.key).expect("a pair");
    let error = tls().require_client_certificates(&missing);
    let error = error.expect_err("there is no such file").to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
}
