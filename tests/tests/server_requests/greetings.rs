//! What a server does when a connection opens, before it is asked.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicBool, Ordering},
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection, Response,
    format::{Encode, Plain},
    framing::Lines,
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, code, each_kind, frame, gate, over_each, start, start_over,
    within,
};

each_kind!(
    over_each:
    greeting_comes_before_the_first_request,
    greeting_comes_before_the_replies_to_requests_that_were_sent_already,
);
over_each!(
    greeting_of_a_function_comes_first,
    greeting_sees_the_peer,
    session_sees_the_peer,
    greeting_that_cannot_be_sent_ends_the_connection,
    greeting_that_closes_the_connection_ends_with_a_final_rejection,
);

/// Repeats lines.
struct Echoing<K>(Gate, PhantomData<fn() -> K>);

fn echoing<K: Kind>() -> ConcurrentServer<Echoing<K>> {
    ConcurrentServer::new(Echoing(gate(), PhantomData))
}

impl<K: Kind> ServerProtocol for Echoing<K> {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    const HAS_GREETING: bool = true;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn greeting<'a>(&'a self, _peer: &'a Peer, (): &'a mut ()) -> Option<impl Encode<Plain>> {
        Some("220 ready")
    }

    const WAITS: bool = K::WAITS;

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        line: &'a str,
    ) -> impl Future<Output = Result<&'a str, Rejection>> + Send {
        K::process(context.info, &self.0, move || Act::Return(Ok(line)))
    }
}

async fn greeting_comes_before_the_first_request<K: Kind>(over: Over) {
    let server = start_over(over, echoing::<K>()).await;
    for _ in 0..2 {
        let mut peer = server.peer().await;
        assert_eq!(within(peer.receive(10)).await, b"220 ready\n");
        within(peer.send("hello\n")).await;
        assert_eq!(within(peer.receive(6)).await, b"hello\n");
    }
    // A greeting answers nothing.
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (2, 2));
}

async fn greeting_comes_before_the_replies_to_requests_that_were_sent_already<K: Kind>(over: Over) {
    let server = start_over(over, echoing::<K>()).await;
    let mut peer = server.peer().await;
    within(peer.send("one\ntwo\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"220 ready\none\ntwo\n");
    assert_eq!(server.stopped().await.requests.served, 2);
}

#[server_protocol(framing = Lines, greeting = "220 ready")]
fn echo(line: &str) -> &str {
    line
}

async fn greeting_of_a_function_comes_first(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Echo)).await;
    let mut peer = server.peer().await;
    within(peer.send("one\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"220 ready\none\n");
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[server_protocol(greeting = if peer.addr().is_some() { "from afar" } else { "from here" })]
fn tell(_request: &str, peer: &Peer) -> String {
    peer.to_string()
}

async fn greeting_sees_the_peer(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Tell)).await;
    let mut peer = server.peer().await;
    let greeting = if over.has_address() {
        "from afar"
    } else {
        "from here"
    };
    assert_eq!(within(peer.hear()).await, Heard::message(greeting));
    drop(peer);
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[server_protocol(session = peer.addr().is_some())]
fn has_address(_request: &str, #[session] known: &bool) -> bool {
    *known
}

async fn session_sees_the_peer(over: Over) {
    let server = start_over(over, ConcurrentServer::new(HasAddress)).await;
    let mut peer = server.peer().await;
    let known = over.has_address().to_string();
    assert_eq!(within(peer.ask("")).await, Heard::message(&known));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[server_protocol(framing = Lines, greeting = "two\nlines")]
fn broken(line: &str) -> &str {
    line
}

async fn greeting_that_cannot_be_sent_ends_the_connection(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Broken)).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.rest()).await, b"");
    drop(peer);
    assert_eq!(server.stopped().await.requests.received, 0);

    let server = ConcurrentServer::new(Tell).max_frame_len(5);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"x"))).await;
    let Heard::Control(code::GOING_AWAY, text) = within(peer.hear()).await else {
        panic!("the server ends the connection");
    };
    assert!(
        text.starts_with("the greeting cannot be sent: a message of "),
        "{text}"
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[server_protocol(greeting = Response::ReplyAndClose("closed today"))]
fn closes(request: &str) -> &str {
    request
}

async fn greeting_that_closes_the_connection_ends_with_a_final_rejection(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Closes)).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.hear()).await, Heard::message("closed today"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.stopped().await.requests.received, 0);
}

/// Its first greeting panics.
#[derive(Default)]
struct Shy(AtomicBool);

impl ServerProtocol for Shy {
    type Framing = Lines;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    const HAS_GREETING: bool = true;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn greeting<'a>(&'a self, _peer: &'a Peer, (): &'a mut ()) -> Option<impl Encode<Plain>> {
        assert!(self.0.swap(true, Ordering::Relaxed), "on purpose");
        Some("hello")
    }

    async fn process_request<'a>(
        &'a self,
        _: Context<'a, ()>,
        line: &'a str,
    ) -> Result<&'a str, Rejection> {
        Ok(line)
    }
}

#[tokio::test]
async fn greeting_that_panics_ends_only_its_connection() {
    let server = ConcurrentServer::new(Shy::default()).max_connections(1);
    let server = start(server).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.rest()).await, b"");
    // Its place is free again.
    let mut peer = server.peer().await;
    assert_eq!(within(peer.receive(6)).await, b"hello\n");
    drop(peer);
    server.handle().stop();
    let connections = within(server.finished()).await.connections;
    assert_eq!((connections.accepted, connections.closed), (2, 2));
}
