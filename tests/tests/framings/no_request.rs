//! Functions that are called without a request.

use std::marker::PhantomData;

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::{CrlfText, LengthPrefixed, Lines},
    protocol::{Context, NoRequest, Replies, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Act, Gate, Kind, Over, SyncFn, each_kind, frame, gate, serve_in_memory, start_over, within,
};

each_kind!(function_is_called_once_when_a_peer_connects);
each_kind!([ready_async, waiting, blocking] over_each: what_the_peer_sends_is_dropped);
each_kind!([ready_async, waiting, blocking] panic_after_a_wait_closes);

/// Tells what it has been told to tell.
struct Tell<K> {
    act: fn() -> Act<Result<&'static str, Rejection>>,
    gate: Gate,
    kind: PhantomData<K>,
}

impl<K: Kind> Tell<K> {
    fn new(act: fn() -> Act<Result<&'static str, Rejection>>) -> Self {
        let (gate, kind) = (gate(), PhantomData);
        Self { act, gate, kind }
    }
}

impl<K: Kind> ServerProtocol for Tell<K> {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = NoRequest;
    type Reply<'a> = &'a str;
    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        _request: NoRequest,
    ) -> Result<&'a str, Rejection> {
        K::process(context.info, &self.gate, self.act).await
    }
}

async fn function_is_called_once_when_a_peer_connects<K: Kind>() {
    for over in [
        Over::Tcp,
        #[cfg(unix)]
        Over::Unix,
        #[cfg(target_os = "linux")]
        Over::Tls,
        Over::Memory,
    ] {
        // With and without a check of each request.
        for most in [None, Some(7)] {
            let server = ConcurrentServer::new(Tell::<K>::new(|| Act::Return(Ok("now"))));
            let server = server.max_requests_per_connection(most);
            let server = start_over(over, server).await;
            let mut peer = server.peer().await;
            assert_eq!(within(peer.rest()).await, b"now\n", "{over:?}");
            drop(peer);
            server.handle().stop();
            let requests = within(server.finished()).await.requests;
            assert_eq!((requests.received, requests.served), (1, 1), "{over:?}");
        }
    }
}

async fn what_the_peer_sends_is_dropped<K: Kind>(over: Over) {
    let protocol = Tell::<K>::new(|| Act::Wait(Ok("now")));
    let gate = protocol.gate.clone();
    let server = start_over(over, ConcurrentServer::new(protocol)).await;
    let mut peer = within(server.peer()).await;
    gate.reached().await;
    // It looks like another protocol, like two requests, and is more than what is read ahead.
    within(peer.send("GET / HTTP/1.1\r\n\r\none\ntwo\n")).await;
    within(peer.send(vec![b'x'; 30_000])).await;
    gate.open();
    assert_eq!(within(peer.rest()).await, b"now\n");
    drop(peer);
    server.handle().stop();
    let requests = within(server.finished()).await.requests;
    assert_eq!(
        (requests.received, requests.served, requests.rejected),
        (1, 1, 0)
    );
}

async fn panic_after_a_wait_closes<K: Kind>() {
    let protocol = Tell::<K>::new(|| Act::WaitAndPanic);
    let gate = protocol.gate.clone();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol), 1 << 10);
    gate.reached().await;
    gate.open();
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.received, requests.failed), (1, 1));
}

#[tokio::test]
async fn error_of_the_function_is_the_reply_and_a_panic_closes() {
    let refused = Tell::<SyncFn>::new(|| Act::Return(Err(Rejection::error("closed today"))));
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(refused), 1 << 10);
    assert_eq!(within(peer.rest()).await, b"closed today\n");
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);

    // A plain function cannot wait.
    let panics = Tell::<SyncFn>::new(|| Act::WaitAndPanic);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(panics), 1 << 10);
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.failed, 1);
}

#[server_protocol(greeting = "hello")]
fn frames(_: NoRequest) -> &'static str {
    "now"
}

#[tokio::test]
async fn reply_follows_the_greeting() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Frames), 1 << 10);
    let expected = [frame("hello"), frame("now")].concat();
    assert_eq!(within(peer.rest()).await, expected);
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}

/// RFC 864.
#[server_protocol(framing = CrlfText, replies = &str)]
async fn chargen(_: NoRequest, mut out: Replies<'_, Chargen>) -> Result<(), String> {
    let line: String = (' '..='~').chain(' '..='~').collect();
    for start in (0..95).cycle() {
        out.send(&line[start..start + 72]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn endless_reply_ends_with_its_peer() {
    for over in [Over::Tcp, Over::Memory] {
        let server = start_over(over, ConcurrentServer::new(Chargen)).await;
        let mut peer = server.peer().await;
        for start in [' ', '!', '"'] {
            let line = within(peer.receive(74)).await;
            assert_eq!(line[0], start as u8);
            assert!(line.ends_with(b"\r\n"));
        }
        peer.reset();
        server.handle().stop();
        let requests = within(server.finished()).await.requests;
        assert_eq!((requests.received, requests.aborted), (1, 1), "{over:?}");
    }
}

#[server_protocol(framing = LengthPrefixed, blocking)]
fn blocks(_: NoRequest) -> &'static str {
    "now"
}

#[tokio::test]
async fn blocking_function_needs_no_request_either() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Blocks), 1 << 10);
    assert_eq!(within(peer.rest()).await, frame("now"));
    drop(peer);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 1);
}
