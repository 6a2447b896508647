//! A call in a protocol function has at most the time that is left of the server's `request_timeout`.

use std::{sync::Arc, time::Duration};

use tcs::{
    Channel, ConcurrentServer, Connection, Error, Rejection,
    client::ConnectOptions,
    framing::Multiplexed,
    protocol::{Context, Middleware, ServerProtocol, wrap},
    server_protocol,
};
use tcs_tests::{
    Heard, RawPeer,
    channel::Owned,
    client::{Prefixed, hears},
    code, frame,
    ids::{kind, message_of, receive_frame},
    memory, serve_in_memory, within,
};
use tokio::{runtime::Handle, sync::Mutex, time::sleep};

/// What a function calls, and what it is told.
type Backend = Arc<Mutex<Connection>>;

/// A backend that never replies, and its server's end.
fn silent(options: &ConnectOptions) -> (Backend, RawPeer) {
    let (near, far) = tokio::io::duplex(64);
    let connection = options.over(near).expect("good options");
    (Arc::new(Mutex::new(connection)), RawPeer::over(far))
}

fn shown(reply: Result<&str, Error>) -> String {
    match reply {
        Ok(reply) => reply.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Calls the backend after a wait of this many milliseconds.
#[server_protocol]
async fn relay(milliseconds: u64, #[state] backend: &Backend) -> String {
    let mut backend = backend.lock().await;
    sleep(Duration::from_millis(milliseconds)).await;
    shown(backend.call::<Prefixed>("x").await)
}

/// What the functions that block call: a backend that is told how long they wait.
#[server_protocol(framing = Multiplexed)]
fn echo(text: &str) -> String {
    text.to_owned()
}

/// Calls a backend while it blocks its thread.
#[server_protocol(blocking)]
fn relay_blocking(_: u64, #[state] backend: &Mutex<Connection<Multiplexed>>) -> String {
    Handle::current().block_on(async {
        let mut backend = backend.lock().await;
        backend.call::<Echo>("x").await.expect("a reply")
    })
}

/// Calls the backend over a channel after a wait of this many milliseconds.
#[server_protocol]
async fn relay_over_a_channel(milliseconds: u64, #[state] backend: &Channel) -> String {
    sleep(Duration::from_millis(milliseconds)).await;
    let reply = backend.call::<Owned>("x").await;
    reply.unwrap_or_else(|error| error.to_string())
}

/// Calls a backend over a channel while it blocks its thread.
#[server_protocol(blocking)]
fn relay_over_a_channel_blocking(_: u64, #[state] backend: &Channel<Multiplexed>) -> String {
    let reply = Handle::current().block_on(backend.call::<Echo>("x"));
    reply.expect("a reply")
}

/// Calls the backend in a task.
#[server_protocol]
async fn relay_in_a_task(_: u64, #[state] backend: &Backend) -> String {
    let backend = Arc::clone(backend);
    let call = tokio::spawn(async move {
        let mut backend = backend.lock().await;
        shown(backend.call::<Prefixed>("x").await)
    });
    call.await.expect("no panic")
}

/// Calls the backend instead of its protocol.
struct Relays(Backend);

impl<P: ServerProtocol> Middleware<P> for Relays {
    async fn process_request<'a>(
        &'a self,
        _: &'a P,
        _: Context<'a, P::Session>,
        _: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        let mut backend = self.0.lock().await;
        let reply = shown(backend.call::<Prefixed>("x").await);
        Err(Rejection::bad_request(reply))
    }
}

const LIMIT: Duration = Duration::from_secs(10);

/// Fails unless the server says this to a request. It takes longer than a limit.
async fn says(peer: &mut RawPeer, request: u64, reply: &str) {
    let request = request.to_string();
    let heard = tcs_tests::patiently(peer.ask(&request)).await;
    assert_eq!(heard, Heard::message(reply));
}

#[tokio::test(start_paused = true)]
async fn call_has_the_time_that_is_left_of_the_request() {
    let (backend, mut backend_peer) = silent(&ConnectOptions::new());
    let server = ConcurrentServer::new(Relay::new(backend)).request_timeout(LIMIT);
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    let late = |left| {
        format!(
            "no complete message from unnamed peer within {left} (what was left of the caller's \
             `request_timeout`)"
        )
    };
    says(&mut peer, 0, &late("10s")).await;
    says(&mut peer, 4_000, &late("6s")).await;

    // The connection to the backend goes on.
    for _ in 0..2 {
        hears(&mut backend_peer, "x").await;
    }
    let replies = [frame("one"), frame("two"), frame("three")];
    let answers = async {
        hears(&mut backend_peer, "x").await;
        within(backend_peer.send(replies.concat())).await;
    };
    tokio::join!(says(&mut peer, 0, "three"), answers);
}

#[tokio::test(start_paused = true)]
async fn call_without_a_request_timeout_has_the_reply_timeout() {
    let (backend, _backend_peer) = silent(&ConnectOptions::new());
    let server = ConcurrentServer::new(Relay::new(backend));
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    let late = "no complete message from unnamed peer within 30s (`reply_timeout`)";
    says(&mut peer, 0, late).await;
}

#[tokio::test(start_paused = true)]
async fn call_in_a_middleware_has_the_time_of_the_request() {
    let (backend, _backend_peer) = silent(&ConnectOptions::new());
    let unused = silent(&ConnectOptions::new()).0;
    let protocol = wrap(Relay::new(unused), Relays(backend));
    let server = ConcurrentServer::new(protocol).request_timeout(LIMIT);
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    let Heard::Control(code::BAD_REQUEST, told) = within(peer.ask("0")).await else {
        panic!("the middleware rejects");
    };
    assert!(told.contains("within 10s (what was left"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn call_in_a_task_has_no_deadline() {
    let (backend, _backend_peer) = silent(&ConnectOptions::new());
    let server = ConcurrentServer::new(RelayInATask::new(backend)).request_timeout(LIMIT);
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    // The server drops the function, which still waits.
    assert_eq!(within(peer.ask("0")).await.kind(), code::TIMED_OUT);
}

/// Checks that the call of a function that blocks tells its backend the time that is left of the request. No clock is paused
/// on the threads that it needs, so nothing waits for that time.
async fn tells_the_time_of_its_request(protocol: impl ServerProtocol, mut backend: RawPeer) {
    let server = ConcurrentServer::new(protocol).request_timeout(LIMIT);
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    let answers = async {
        let (id, told, left) = within(receive_frame(&mut backend)).await;
        assert_eq!(told, Some(kind::DEADLINE));
        let left = u32::from_be_bytes(left.try_into().expect("four bytes"));
        // It is rounded up. A call of its own has 30 seconds (`reply_timeout`).
        assert!(left <= 10_001, "{left} ms");
        within(backend.send(message_of(id, "y"))).await;
    };
    tokio::join!(says(&mut peer, 0, "y"), answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn call_in_a_function_that_blocks_has_the_time_of_the_request() {
    let (near, far) = tokio::io::duplex(64);
    let backend = Mutex::new(Connection::over(near));
    tells_the_time_of_its_request(RelayBlocking::new(backend), RawPeer::over(far)).await;
}

#[tokio::test(start_paused = true)]
async fn call_over_a_channel_has_the_time_that_is_left_of_the_request() {
    let (backend, mut backend_peer) = memory::channel(64);
    let server = ConcurrentServer::new(RelayOverAChannel::new(backend)).request_timeout(LIMIT);
    let (mut peer, _server) = serve_in_memory(server, 1 << 10);
    for (waits, left) in [(0, "10s"), (4_000, "6s")] {
        let late = format!(
            "no reply from unnamed peer within {left} (what was left of the caller's \
             `request_timeout`)"
        );
        says(&mut peer, waits, &late).await;
        hears(&mut backend_peer, "x").await;
    }

    // The channel goes on.
    let replies = [frame("one"), frame("two"), frame("three")];
    let answers = async {
        hears(&mut backend_peer, "x").await;
        within(backend_peer.send(replies.concat())).await;
    };
    tokio::join!(says(&mut peer, 0, "three"), answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn call_over_a_channel_in_a_function_that_blocks_has_the_time_of_the_request() {
    let (near, far) = tokio::io::duplex(64);
    let backend = Connection::over(near).into_channel().expect("a runtime");
    tells_the_time_of_its_request(RelayOverAChannelBlocking::new(backend), RawPeer::over(far))
        .await;
}
