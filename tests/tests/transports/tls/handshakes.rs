//! Handshakes of TLS that are cut, stalled, or none.

use std::time::{Duration, Instant};

use tcs::{
    ConcurrentServer, ErrorKind, Execution,
    client::ConnectOptions,
    framing::{Framing, LengthPrefixed, Lines},
    transport::{ClientTls, Listener as _, MemoryConnector, memory},
};
use tcs_tests::{
    Heard, Log, RawPeer, Running, adds_up, code, ended_in_time, frame, gate, patiently, start,
    tester,
    tls::{self, Root},
    within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::rustls::{
    ClientConnection, ProtocolVersion, SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

/// The first bytes of a client of TLS 1.3.
fn client_hello() -> Vec<u8> {
    flight_of(&mut client(&TLS13))
}

/// A client that trusts the server and speaks one version.
fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(tls::client_of(version).into(), name).expect("a good configuration")
}

/// Returns what a client has to send.
fn flight_of(client: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    client.write_tls(&mut flight).expect("a `Vec` takes all");
    flight
}

type Serving = JoinHandle<tcs::Result<tcs::server::Report>>;

/// Starts a server of TLS in memory. It ends when the connector is dropped.
fn serve(limit: Duration) -> (MemoryConnector, Serving) {
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))
        .listener(listener.with_handshake(tls::server()))
        .handshake_timeout(limit);
    (connector, tokio::spawn(server.listen()))
}

async fn connect(connector: &MemoryConnector) -> DuplexStream {
    patiently(connector.connect()).await.expect("it listens")
}

async fn ended(connector: MemoryConnector, serving: Serving, accepted: u64) {
    drop(connector);
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    adds_up(&report);
    assert_eq!(
        (report.connections.closed, report.requests.received),
        (accepted, 0)
    );
}

/// Sends `bytes` and the end. Returns what the server says to that.
async fn cut_after(peer: &mut DuplexStream, bytes: &[u8]) -> Vec<u8> {
    within(peer.write_all(bytes)).await.expect("it reads");
    within(peer.shutdown()).await.expect("it is open");
    let mut said = Vec::new();
    within(peer.read_to_end(&mut said)).await.expect("no reset");
    said
}

/// What is logged of a handshake that was cut.
const CUT: &str = "reason=the client closed in the middle of the handshake";

#[tokio::test]
async fn client_hello_that_is_cut_at_any_byte_is_the_end_of_its_connection_only() {
    for version in [&TLS12, &TLS13] {
        let (log, _logging) = Log::start();
        let hello = flight_of(&mut client(version));
        let (connector, serving) = serve(Duration::from_mins(1));
        for cut in 0..hello.len() {
            let mut peer = connect(&connector).await;
            let said = cut_after(&mut peer, &hello[..cut]).await;
            assert_eq!(said, b"", "cut at {cut}");
        }
        // The whole one gets an answer.
        let mut peer = connect(&connector).await;
        within(peer.write_all(&hello)).await.expect("it reads");
        assert_eq!(within(peer.read_u8()).await.expect("a reply"), 0x16);
        drop(peer);
        // The end of the connector starts a drain, which ends a handshake for another reason.
        log.until(hello.len(), CUT).await;
        ended(connector, serving, hello.len() as u64 + 1).await;
        assert_eq!(log.with(CUT).len(), hello.len());
        let failed = log.with("a handshake has failed");
        assert_eq!(failed.len(), hello.len() + 1);
        // A health check sends nothing. The others are limited to one line per second.
        for (event, level) in failed.iter().zip(["level=DEBUG", "level=INFO"]) {
            assert!(event.starts_with(level), "{event}");
        }
        let check = "reason=the peer closed before the first byte";
        assert!(failed[0].contains(check), "{failed:?}");
    }
}

/// Sends the first flight of a client, and returns the second. In TLS 1.2, the server has the last word after it.
async fn second_flight(
    stream: &mut DuplexStream,
    version: &'static SupportedProtocolVersion,
) -> Vec<u8> {
    let mut client = client(version);
    let flight = flight_of(&mut client);
    within(stream.write_all(&flight)).await.expect("it reads");
    let is_answered = |client: &ClientConnection| match client.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => client.wants_write(),
        _ => !client.is_handshaking(),
    };
    while !is_answered(&client) {
        let mut answer = vec![0; 1 << 16];
        let read = within(stream.read(&mut answer)).await.expect("no reset");
        client.read_tls(&mut &answer[..read]).expect("bytes");
        client.process_new_packets().expect("a good answer");
    }
    flight_of(&mut client)
}

#[tokio::test]
async fn second_flight_that_is_cut_at_any_byte_is_the_end_of_its_connection_only() {
    for version in [&TLS12, &TLS13] {
        let (log, _logging) = Log::start();
        let (connector, serving) = serve(Duration::from_mins(1));
        let mut cut = 0;
        loop {
            let mut peer = connect(&connector).await;
            let flight = second_flight(&mut peer, version).await;
            cut_after(&mut peer, &flight[..cut]).await;
            let failed = log.with(CUT).len();
            if cut == flight.len() {
                // The handshake has succeeded; the connection was cut after it.
                assert_eq!(failed, cut);
                break;
            }
            cut += 1;
            assert_eq!(failed, cut);
        }
        assert!(cut > 10, "{cut}");
        ended(connector, serving, cut as u64 + 1).await;
        assert_eq!(log.with("message=disconnected").len(), 1);
    }
}

/// The connection is over before the first request: the client has finished, and cuts.
#[tokio::test]
async fn client_that_cuts_after_its_handshake_has_sent_nothing() {
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).tls(tls::server()));
    let server = server.await;
    drop(within(tls::connect(server.addr())).await);
    let report = server.stopped().await;
    assert_eq!(
        (report.connections.accepted, report.requests.received),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn stalled_client_hello_ends_when_its_time_is_over() {
    let limit = Duration::from_secs(3);
    let (log, _logging) = Log::start();
    let hello = client_hello();
    let (connector, serving) = serve(limit);
    for begun in [0, 1, 5, hello.len() - 1, hello.len()] {
        let mut peer = connect(&connector).await;
        let began = tokio::time::Instant::now();
        patiently(peer.write_all(&hello[..begun]))
            .await
            .expect("it reads");
        let mut said = Vec::new();
        patiently(peer.read_to_end(&mut said))
            .await
            .expect("no reset");
        ended_in_time(began, limit);
        assert_eq!(said.is_empty(), begun < hello.len());
    }
    ended(connector, serving, 5).await;
    let reason = "reason=it took longer than 3s (`handshake_timeout`)";
    assert_eq!(log.with(reason).len(), 5);
}

/// A peer that sends its client hello byte by byte does not extend the limit.
#[tokio::test(start_paused = true)]
async fn slow_client_hello_ends_when_its_time_is_over() {
    let limit = Duration::from_secs(3);
    let hello = client_hello();
    let (connector, serving) = serve(limit);
    let (mut reading, mut writing) = tokio::io::split(connect(&connector).await);
    let began = tokio::time::Instant::now();
    let sending = tokio::spawn(async move {
        for byte in hello {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut said = Vec::new();
    patiently(reading.read_to_end(&mut said))
        .await
        .expect("no reset");
    ended_in_time(began, limit);
    patiently(sending).await.expect("no panic");
    drop(reading);
    ended(connector, serving, 1).await;
}

/// A fatal alert in plaintext, with this description (RFC 8446, section 6).
fn alert(description: u8) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description]
}

/// Sends bytes to a port with TLS, without the end. Returns what comes back until the server closes.
async fn said_to(server: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut peer = server.peer().await;
    within(peer.send(bytes)).await;
    within(peer.rest()).await
}

#[tokio::test]
async fn peer_without_tls_gets_an_alert_at_once_and_the_log_says_so() {
    let (log, _logging) = Log::start();
    let echo = tester::<Lines>(&gate());
    // The peers wait for the answer, not for this limit.
    let server = ConcurrentServer::new(echo)
        .tls(tls::server())
        .handshake_timeout(None);
    let server = start(server).await;
    let plain = [
        frame("a request"),
        frame(""),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"hello, hello\n".to_vec(),
        b"hi\n".to_vec(),
        b"\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
    ];
    for (number, bytes) in plain.iter().enumerate() {
        let said = said_to(&server, bytes).await;
        assert_eq!(said.len(), alert(0).len(), "{bytes:?} {said:?}");
        assert_eq!(said[..6], alert(0)[..6], "{bytes:?}");
        let reason = "reason=the peer does not speak TLS at this port";
        log.until(number + 1, reason).await;
        let logged = log.with(reason);
        assert_eq!(logged.len(), number + 1, "{bytes:?} {logged:?}");
        assert!(logged[number].contains("peer=127.0.0.1:"), "{logged:?}");
    }
    let report = server.stopped().await;
    assert_eq!(
        (report.connections.closed, report.requests.received),
        (plain.len() as u64, 0)
    );
}

/// A socket that is closed with unread bytes is reset, and the alert could be lost.
#[tokio::test]
async fn peer_that_sends_much_without_tls_is_not_reset() {
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).tls(tls::server());
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send(vec![b'x'; 1 << 20])).await;
    assert_eq!(within(peer.rest()).await[..6], alert(0)[..6]);
    within(peer.finish()).await;
    drop(peer);
    assert_eq!(server.stopped().await.connections.closed, 1);
}

#[tokio::test(start_paused = true)]
async fn peer_that_does_not_close_after_its_alert_is_dropped_a_second_later() {
    let (connector, serving) = serve(Duration::from_mins(1));
    let mut peer = connect(&connector).await;
    let began = tokio::time::Instant::now();
    patiently(peer.write_all(b"hello, hello"))
        .await
        .expect("it reads");
    let mut said = Vec::new();
    patiently(peer.read_to_end(&mut said))
        .await
        .expect("no reset");
    assert_eq!((said.len(), began.elapsed()), (7, Duration::ZERO));
    while peer.write_all(b"hello").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ended_in_time(began, Duration::from_secs(1));
    ended(connector, serving, 1).await;
}

#[tokio::test]
async fn stalled_handshakes_do_not_delay_a_plain_caller() {
    const STALLED: usize = 50;
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))
        .tls(tls::server())
        .listener(listener);
    let server = start(server).await;
    let hello = client_hello();
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let mut peer = server.peer().await;
        within(peer.send(&hello[..number])).await;
        stalled.push(peer);
    }
    let began = Instant::now();
    let stream = within(connector.connect()).await.expect("it listens");
    let mut plain = RawPeer::over(stream);
    assert_eq!(within(plain.ask("a")).await, Heard::message("a"));
    let mut over_tls = RawPeer::over(within(tls::connect(server.addr())).await);
    assert_eq!(within(over_tls.ask("a")).await, Heard::message("a"));
    let took = began.elapsed();
    // The stalled ones have ten seconds; the rest is for busy machines.
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop((plain, over_tls));
    // Their handshakes are dropped at the stop.
    server.handle().stop();
    for peer in &mut stalled {
        assert_eq!(within(peer.try_rest()).await.unwrap_or_default(), b"");
    }
    let report = server.finished().await;
    assert_eq!(report.connections.closed, STALLED as u64 + 2);
}

/// A stream that gives one byte at a time changes nothing.
#[tokio::test]
async fn handshake_byte_by_byte_succeeds() {
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).tls(tls::server()));
    let server = server.await;
    let (near, far) = duplex(1);
    let addr = server.addr();
    let relay = tokio::spawn(async move {
        let mut far = far;
        let mut stream = tokio::net::TcpStream::connect(addr)
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("TCP has it");
        // The client may drop its end while a byte is on its way.
        tokio::io::copy_bidirectional_with_sizes(&mut far, &mut stream, 1, 1)
            .await
            .ok();
    });
    let stream = within(tls::connect_over(near)).await;
    let mut peer = RawPeer::over(stream.expect("the handshake succeeds"));
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    drop(peer);
    within(relay).await.expect("no panic");
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// The other way round, [`peer_without_tls_gets_an_alert_at_once_and_the_log_says_so`].
#[tokio::test]
async fn client_of_tls_at_a_port_without_it_is_told_and_the_log_says_so() {
    async fn check<F: Framing>() {
        let (log, _logging) = Log::start();
        let server = start(ConcurrentServer::new(tester::<F>(&gate()))).await;
        let roots = ClientTls::with_roots(Root::new().file()).expect("a root");
        let options = ConnectOptions::new().tls(roots);
        let connected = within(options.connect::<F>(server.addr())).await;
        let error = connected.expect_err("it does not speak TLS");
        let told = (error.kind(), error.execution());
        assert_eq!(told, (ErrorKind::Connect, Execution::NotSent));
        let source = std::error::Error::source(&error).expect("the reason");
        let reason =
            "the peer may not speak TLS at this port (received fatal alert: UnexpectedMessage)";
        assert_eq!(source.to_string(), reason);
        let report = server.stopped().await;
        let requests = report.requests;
        assert_eq!((requests.rejected, requests.served), (1, 0));
        let logged = log.with("the peer sent no valid frame");
        assert_eq!(logged.len(), 1, "{logged:?}");
        let reason = "reason=that looks like TLS";
        assert!(logged[0].contains(reason), "{logged:?}");
    }
    check::<LengthPrefixed>().await;
    check::<Lines>().await;
}

/// Keys may change at any time in TLS 1.3. That is no request.
#[tokio::test(start_paused = true)]
async fn key_updates_do_not_extend_the_idle_timeout() {
    let limit = Duration::from_secs(3);
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))
        .listener(listener.with_handshake(tls::server()))
        .idle_timeout(limit);
    let serving = tokio::spawn(server.listen());
    let stream = patiently(tls::connect_over(connect(&connector).await)).await;
    let mut stream = stream.expect("the handshake succeeds");
    let began = tokio::time::Instant::now();
    let (mut said, mut updates) = (Vec::new(), 0);
    loop {
        let update = stream.get_mut().1.refresh_traffic_keys();
        update.expect("TLS 1.3");
        patiently(stream.flush()).await.expect("it reads");
        updates += 1;
        let reading = stream.read_buf(&mut said);
        if let Ok(read) = timeout(Duration::from_millis(200), reading).await {
            read.expect("no reset");
            break;
        }
    }
    ended_in_time(began, limit);
    assert_eq!(said[4], code::IDLE);
    // More than 32 would end the connection.
    assert!((15..=17).contains(&updates), "{updates}");
    drop(stream);
    ended(connector, serving, 1).await;
}

/// Each update costs the server more than its peer.
#[tokio::test]
async fn flood_of_key_updates_ends_its_connection_only() {
    let (log, _logging) = Log::start();
    let server = start(ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).tls(tls::server()));
    let server = server.await;
    let mut other = RawPeer::over(within(tls::connect(server.addr())).await);
    let mut stream = within(tls::connect(server.addr())).await;
    // The server has completed the handshake, too.
    within(stream.write_all(&frame("b")))
        .await
        .expect("it reads");
    within(stream.flush()).await.expect("it reads");
    within(stream.read_exact(&mut [0; 5]))
        .await
        .expect("a reply");
    for _ in 0..100 {
        let update = stream.get_mut().1.refresh_traffic_keys();
        update.expect("TLS 1.3");
    }
    within(stream.flush()).await.expect("it reads");
    let read = within(stream.read_u8()).await;
    read.expect_err("it is too much");
    drop(stream);
    assert_eq!(within(other.ask("a")).await, Heard::message("a"));
    drop(other);
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (2, 2));
    let ends = log.with("message=disconnected");
    assert!(ends[0].contains("TooManyKeyUpdateRequests"), "{ends:?}");
}
