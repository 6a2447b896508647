//! `Response::StartTls`: a connection that continues over TLS.

use std::{io, marker::PhantomData, sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer, ConnectionInfo, OnceServer, Peer, Rejection, Response,
    format::{Encode, Plain},
    framing::{Codec, CrlfLines, Framing, LengthPrefixed, Raw},
    protocol::{Context, ServerProtocol},
    server::{Mode, Server},
    server_protocol,
    testing::{At, Cut, FaultyStream},
    transport::{Handshake, Stream, TlsInfo},
};
use tcs_tests::{
    Act, BlockingFn, Gate, Heard, Kind, Log, Over, RawPeer, ReadyFn, SyncFn, WaitingFn, adds_up,
    code, ended_in_time, frame, gate, patiently,
    process::{Process, is_missing},
    serve_in_memory, start, start_over,
    tls::{self, Root},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::yield_now,
    time::Instant,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::codec::LinesCodec;

/// `start` begins TLS, `start slowly` after a wait at the gate. Everything else is answered with what it is, over what, and how many requests came before it.
struct Upgrades<F, K> {
    gate: Gate,
    marker: PhantomData<fn() -> (F, K)>,
}

fn upgrades<F, K>() -> Upgrades<F, K> {
    Upgrades {
        gate: gate(),
        marker: PhantomData,
    }
}

impl<F: Framing, K: Kind> ServerProtocol for Upgrades<F, K> {
    type Framing = F;
    type Format = Plain;
    type Session = usize;
    type Request<'a> = &'a str;
    type Reply<'a> = Response<String>;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) -> usize {
        0
    }

    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Plain>> {
        Some(format!("500 {}", rejection.text()))
    }

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, usize>,
        request: &'a str,
    ) -> Result<Response<String>, Rejection> {
        let over = match context.peer().get::<TlsInfo>() {
            Some(_) => "TLS",
            None => "plaintext",
        };
        let before = *context.session;
        *context.session += 1;
        let reply = K::process(context.info, &self.gate, || {
            let reply = match request {
                "start" | "start slowly" => Response::StartTls("ready".to_owned()),
                "start long" => Response::StartTls("x".repeat(2_000)),
                _ => Response::Reply(format!("{request} {over} {before}")),
            };
            if request == "start slowly" {
                Act::Wait(reply)
            } else {
                Act::Return(reply)
            }
        });
        Ok(reply.await)
    }
}

fn server<P: ServerProtocol>(protocol: P) -> ConcurrentServer<P> {
    ConcurrentServer::new(protocol).start_tls(tls::server())
}

/// The peer of a connection with a server in plaintext that continues over TLS.
async fn upgraded(mut peer: RawPeer) -> RawPeer {
    assert_eq!(within(peer.ask("start")).await, Heard::message("ready"));
    within(peer.start_tls()).await
}

#[tokio::test]
async fn last_request_of_a_connection_starts_no_tls() {
    let last = server(upgrades::<LengthPrefixed, ReadyFn>()).max_requests_per_connection(2);
    let (mut peer, serving) = serve_in_memory(last, 1 << 16);
    within(peer.ask("a")).await;
    assert_eq!(within(peer.ask("start")).await.kind(), code::FAILED);
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}

async fn continues_over_tls<K: Kind>(over: Over) {
    let server = start_over(over, server(upgrades::<LengthPrefixed, K>())).await;
    let mut peer = server.peer().await;
    let reply = within(peer.ask("a")).await;
    assert_eq!(reply, Heard::message("a plaintext 0"));
    let mut peer = upgraded(peer).await;
    // The session is still there.
    assert_eq!(within(peer.ask("b")).await, Heard::message("b TLS 2"));
    within(peer.send([frame("c"), frame("d")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("c TLS 3"));
    assert_eq!(within(peer.hear()).await, Heard::message("d TLS 4"));
    // Both ends close as TLS has it.
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (5, 5));
}

async fn kinds_continue_over_tls(over: Over) {
    continues_over_tls::<SyncFn>(over).await;
    continues_over_tls::<ReadyFn>(over).await;
    continues_over_tls::<WaitingFn>(over).await;
    continues_over_tls::<BlockingFn>(over).await;
}

#[tokio::test]
async fn connection_continues_over_tls() {
    let (log, _logging) = Log::start();
    for over in [Over::Tcp, Over::Unix, Over::Memory] {
        kinds_continue_over_tls(over).await;
    }
    assert_eq!(log.with("what came before TLS"), [""; 0]);
}

/// The injection of commands (CVE-2011-0411): an attacker adds requests before the handshake, and the peer, which
/// trusts what it gets over TLS, takes their replies for its own.
async fn drops_what_came_before<K: Kind>(over: Over) {
    let server = start_over(over, server(upgrades::<CrlfLines, K>())).await;
    for injected in ["evil\r\n", "e", "evil\r\nevil"] {
        let mut peer = server.peer().await;
        within(peer.send(format!("start\r\n{injected}"))).await;
        assert_eq!(within(peer.receive(7)).await, b"ready\r\n");
        let mut peer = within(peer.start_tls()).await;
        let reply = within(peer.send_and_receive("good\r\n", 12)).await;
        assert_eq!(String::from_utf8_lossy(&reply), "good TLS 1\r\n");
        within(peer.finish()).await;
        assert_eq!(within(peer.rest()).await, b"");
    }
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (6, 6));
}

#[tokio::test]
async fn requests_before_the_handshake_are_dropped() {
    let (log, _logging) = Log::start();
    for over in [Over::Tcp, Over::Unix, Over::Memory] {
        drops_what_came_before::<SyncFn>(over).await;
        drops_what_came_before::<ReadyFn>(over).await;
        drops_what_came_before::<WaitingFn>(over).await;
        drops_what_came_before::<BlockingFn>(over).await;
    }
    assert!(!log.with("what came before TLS is dropped").is_empty());
}

/// While other functions run, nothing is read.
async fn drops_what_is_read_ahead<K: Kind>() {
    let protocol = upgrades::<CrlfLines, K>();
    let gate = protocol.gate.clone();
    // So small that the server must read what is sent, while its function waits.
    let (mut peer, serving) = serve_in_memory(server(protocol), 8);
    within(peer.send("start slowly\r\n")).await;
    within(gate.reached()).await;
    within(peer.send("evil\r\n".repeat(10))).await;
    // One thread runs both, so the server now reads the rest, too.
    yield_now().await;
    gate.open();
    assert_eq!(within(peer.receive(7)).await, b"ready\r\n");
    let mut peer = within(peer.start_tls()).await;
    let reply = within(peer.send_and_receive("good\r\n", 12)).await;
    assert_eq!(String::from_utf8_lossy(&reply), "good TLS 1\r\n");
    drop(peer);
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn requests_that_are_read_ahead_are_dropped() {
    drops_what_is_read_ahead::<ReadyFn>().await;
    drops_what_is_read_ahead::<WaitingFn>().await;
}

/// A codec keeps what it knows of the line that has begun.
#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn lines(line: String, tls: Option<&TlsInfo>) -> Response<String> {
    match line.as_str() {
        "start" => Response::StartTls("ready".to_owned()),
        _ => Response::Reply(format!("{line} {}", tls.is_some())),
    }
}

#[tokio::test]
async fn codec_begins_anew() {
    let (mut peer, serving) = serve_in_memory(server(Lines), 1 << 16);
    within(peer.send("start\nevil evil evil")).await;
    assert_eq!(within(peer.receive(6)).await, b"ready\n");
    let mut peer = within(peer.start_tls()).await;
    let reply = within(peer.send_and_receive("a\n", 7)).await;
    assert_eq!(String::from_utf8_lossy(&reply), "a true\n");
    drop(peer);
    within(serving).await.expect("no panic");
}

/// The rest of a message that is too large would otherwise be skipped in what comes over TLS.
#[tokio::test]
async fn message_that_is_being_skipped_is_dropped() {
    let server = server(upgrades::<LengthPrefixed, SyncFn>()).max_frame_len(1_000);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    within(peer.send([frame("start"), b"\0\x0f\0\0".to_vec()].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("ready"));
    let mut peer = within(peer.start_tls()).await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a TLS 1"));
    drop(peer);
    within(serving).await.expect("no panic");
}

/// Asks for TLS where it cannot start. Returns what the server says until it closes.
async fn refused<M: Mode, F: Framing>(
    server: Server<Upgrades<F, SyncFn>, M>,
    start: impl AsRef<[u8]>,
) -> Vec<u8> {
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    within(peer.send(start)).await;
    let said = within(peer.rest()).await;
    drop(peer);
    let report = within(serving).await.expect("no panic");
    let requests = report.requests;
    assert_eq!((requests.served, requests.failed), (0, 1));
    said
}

#[tokio::test]
async fn without_a_handshake_to_start_the_request_fails_and_the_connection_closes() {
    let (log, _logging) = Log::start();
    let why = "the server has no TLS to start; it is set with `start_tls`";
    let said = refused(
        ConcurrentServer::new(upgrades::<CrlfLines, _>()),
        "start\r\nb\r\n",
    )
    .await;
    assert_eq!(String::from_utf8_lossy(&said), format!("500 {why}\r\n"));
    let said = refused(
        ConcurrentServer::new(upgrades::<LengthPrefixed, _>()),
        frame("start"),
    )
    .await;
    let failed = tcs_tests::control(code::FAILED, why);
    let gone = tcs_tests::control(code::GOING_AWAY, "TLS did not start");
    assert_eq!(said, [failed, gone].concat());
    assert_eq!(log.with(why).len(), 4, "each is logged, and its rejection");
}

#[tokio::test]
async fn over_tls_it_does_not_start_again() {
    let why = "the connection is over TLS already";
    for starts in [false, true] {
        let mut server = server(upgrades::<LengthPrefixed, SyncFn>());
        if !starts {
            server = server.tls(tls::server());
        }
        let server = start(server).await;
        let mut peer = if starts {
            upgraded(server.peer().await).await
        } else {
            RawPeer::over(within(tls::connect(server.addr())).await)
        };
        let heard = within(peer.ask("start")).await;
        assert_eq!(heard, Heard::Control(code::FAILED, why.to_owned()));
        let heard = within(peer.hear()).await;
        assert_eq!(heard.kind(), code::GOING_AWAY);
        assert_eq!(within(peer.rest()).await, b"");
        drop(peer);
        let requests = server.stopped().await.requests;
        assert_eq!((requests.served, requests.failed), (u64::from(starts), 1));
    }
}

/// Changes nothing.
struct Nothing;

impl Handshake for Nothing {
    async fn perform(&self, stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        Ok(stream)
    }
}

#[tokio::test]
async fn handshake_of_any_type_starts_once() {
    let server = ConcurrentServer::new(upgrades::<LengthPrefixed, SyncFn>()).start_tls(Nothing);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    assert_eq!(within(peer.ask("start")).await, Heard::message("ready"));
    let reply = within(peer.ask("a")).await;
    assert_eq!(reply, Heard::message("a plaintext 1"));
    assert_eq!(within(peer.ask("start")).await.kind(), code::FAILED);
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    within(serving).await.expect("no panic");
}

/// A handshake that the peer would begin after this reply does not begin either.
#[tokio::test]
async fn reply_that_cannot_be_sent_does_not_start_tls() {
    let server = server(upgrades::<LengthPrefixed, SyncFn>()).max_frame_len(1_000);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    assert_eq!(within(peer.ask("start long")).await.kind(), code::FAILED);
    let reply = within(peer.ask("a")).await;
    assert_eq!(reply, Heard::message("a plaintext 1"));
    let mut peer = upgraded(peer).await;
    assert_eq!(within(peer.ask("b")).await, Heard::message("b TLS 3"));
    drop(peer);
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn connection_of_one_exchange_starts_no_tls() {
    let why = "the connection has one exchange";
    let once = OnceServer::new(upgrades::<LengthPrefixed, _>()).start_tls(tls::server());
    let said = refused(once, frame("start")).await;
    let failed = tcs_tests::control(code::FAILED, why);
    assert!(said.starts_with(&failed), "{said:?}");
    let said = refused(server(upgrades::<Raw, _>()), "start").await;
    assert_eq!(String::from_utf8_lossy(&said), format!("500 {why}"));
}

#[tokio::test]
async fn handshake_that_fails_ends_the_connection() {
    let (log, _logging) = Log::start();
    let server = start(server(upgrades::<LengthPrefixed, SyncFn>())).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("start")).await, Heard::message("ready"));
    within(peer.send(frame("a request in plaintext"))).await;
    // An alert, and the end.
    let said = within(peer.rest()).await;
    assert_eq!((said.len(), said[0]), (7, 0x15));
    let report = server.stopped().await;
    assert_eq!(report.requests.served, 1);
    assert_eq!(log.with("a handshake has failed").len(), 1);
    assert_eq!(log.with("TLS did not start").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn handshake_that_stalls_ends_when_its_time_is_over() {
    let limit = Duration::from_secs(3);
    let server = server(upgrades::<LengthPrefixed, SyncFn>())
        .handshake_timeout(limit)
        .idle_timeout(None);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    assert_eq!(patiently(peer.ask("start")).await, Heard::message("ready"));
    let began = Instant::now();
    assert_eq!(patiently(peer.rest()).await, b"");
    ended_in_time(began, limit);
    drop(peer);
    patiently(serving).await.expect("no panic");
}

/// The time of the frame that started TLS is not that of the first frame over TLS.
#[tokio::test(start_paused = true)]
async fn first_frame_over_tls_has_its_whole_time() {
    let server = server(upgrades::<LengthPrefixed, SyncFn>()).frame_timeout(Duration::from_secs(5));
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    let (start, request) = (frame("start"), frame("a"));
    patiently(peer.send(&start[..1])).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    patiently(peer.send(&start[1..])).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("ready"));
    let mut peer = patiently(peer.start_tls()).await;
    patiently(peer.send(&request[..1])).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    patiently(peer.send(&request[1..])).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("a TLS 1"));
    drop(peer);
    patiently(serving).await.expect("no panic");
}

#[tokio::test]
async fn drain_drops_a_handshake() {
    let (log, _logging) = Log::start();
    let server = start(server(upgrades::<LengthPrefixed, SyncFn>())).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("start")).await, Heard::message("ready"));
    server.handle().stop();
    within(peer.try_rest()).await.ok();
    let report = server.finished().await;
    adds_up(&report);
    assert_eq!(report.requests.served, 1);
    assert_eq!(log.with("the server is stopping").len(), 1);
}

/// Panics.
struct Panics;

impl Handshake for Panics {
    async fn perform(&self, _stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        panic!("a handshake")
    }
}

#[tokio::test]
async fn handshake_that_panics_ends_its_connection_only() {
    let server = ConcurrentServer::new(upgrades::<LengthPrefixed, SyncFn>()).start_tls(Panics);
    let server = start(server).await;
    for _ in 0..2 {
        let mut peer = server.peer().await;
        assert_eq!(within(peer.ask("start")).await, Heard::message("ready"));
        within(peer.try_rest()).await.ok();
    }
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// A part of SMTP.
#[server_protocol(framing = CrlfLines, greeting = "220 ready")]
fn smtp(line: &str, tls: Option<&TlsInfo>) -> Response<String> {
    let verb = line.split(' ').next().unwrap_or_default();
    match (verb.to_ascii_lowercase().as_str(), tls) {
        ("ehlo", None) => Response::Reply("250 STARTTLS".to_owned()),
        ("ehlo", Some(_)) => Response::Reply("250 secret".to_owned()),
        ("starttls", None) => Response::StartTls("220 go ahead".to_owned()),
        ("quit", _) => Response::ReplyAndClose("221 bye".to_owned()),
        _ => Response::Reply("502 no".to_owned()),
    }
}

#[tokio::test]
async fn smtp_client_of_python_starts_tls() {
    if is_missing("python3") {
        return;
    }
    let root = Root::new();
    let identity = root.issue("localhost");
    let server = start(ConcurrentServer::new(Smtp).start_tls(identity.server())).await;
    let (port, roots) = (server.addr().port().to_string(), root.file());
    let client = Process::python("smtp_client.py", [&port, &roots.display().to_string()]);
    let printed = client.finished().await.succeeded();
    assert_eq!(printed, ["STARTTLS", "220 go ahead", "secret", "221 bye"]);
    assert_eq!(server.stopped().await.requests.served, 4);
}

/// Asks for TLS, shakes hands, and asks once more.
async fn talk(mut stream: FaultyStream) -> io::Result<()> {
    stream.write_all(&frame("start")).await?;
    let mut ready = [0; 9];
    stream.read_exact(&mut ready).await?;
    assert_eq!(ready[..], frame("ready"));
    let connector = TlsConnector::from(Arc::new(tls::client()));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(&frame("a")).await?;
    stream.flush().await?;
    let mut reply = vec![0; frame("a TLS 1").len()];
    stream.read_exact(&mut reply).await?;
    assert_eq!(reply, frame("a TLS 1"));
    Ok(())
}

/// Each byte of the messages in plaintext, and with `TCS_MATRIX=full` each byte of the handshake and of what is over TLS.
#[tokio::test]
async fn peer_may_leave_at_every_byte() {
    let is_full = std::env::var("TCS_MATRIX").is_ok_and(|value| value == "full");
    let step = if is_full { 1 } else { 13 };
    for at in [At::Written, At::Read] {
        let mut cut = 0;
        loop {
            let (near, far) = tokio::io::duplex(1 << 16);
            let served = server(upgrades::<LengthPrefixed, ReadyFn>());
            let serving = tokio::spawn(served.serve_stream(far, Peer::unnamed()));
            let stream = FaultyStream::new(near).cut(at(cut), Cut::Close);
            let talked = within(talk(stream)).await;
            let report = within(serving).await.expect("no panic").expect("it ends");
            adds_up(&report);
            let requests = report.requests;
            assert_eq!((requests.failed, requests.rejected), (0, 0), "{report}");
            assert!(requests.received <= 2, "{report}");
            if at(cut) == At::Written(cut) {
                let whole = u64::from(cut >= frame("start").len());
                assert!(requests.received >= whole, "{cut}: {report}");
            }
            if talked.is_ok() {
                assert_eq!(requests.served, 2);
                break;
            }
            cut += if cut < 10 { 1 } else { step };
        }
        assert!(cut > 300, "{cut}");
    }
}
