//! Layers of `tower` around the function of a protocol.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tcs::{
    ConcurrentServer, Rejection,
    framing::LengthPrefixed,
    protocol::{
        Middleware, ServerProtocol,
        tower::{Call, CallProtocol, ServiceMiddleware},
        wrap,
    },
};
use tcs_tests::{
    Counting, Gate, Heard, Kind, Over, Reply, Running, Tester, code, each_kind, frame, gate,
    start_over, tester_of, within,
};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceBuilder, load_shed::error::Overloaded};

each_kind!(
    over_each:
    reply_and_rejection_pass_the_layers,
    error_of_a_layer_is_the_error_of_the_function,
);
each_kind!(paused: limit_of_the_rate_is_one_of_the_server);
each_kind!([ready_async, waiting, blocking] over_each:
    limit_of_a_layer_answers_busy,
    requests_wait_for_the_service_in_turn,
);
each_kind!([ready_async, waiting] paused: function_that_takes_too_long_is_dropped);

type Counter<K> = Tester<LengthPrefixed, Counting, K>;

/// A tester with sessions.
fn counter<K: Kind>(gate: &Gate) -> Counter<K> {
    tester_of::<K, LengthPrefixed>(gate).counting()
}

/// Serves a protocol in layers, which all connections share.
async fn serve<P, S>(over: Over, protocol: P, layers: S) -> Running
where
    P: ServerProtocol,
    S: Send + 'static,
    ServiceMiddleware<S>: Middleware<P>,
{
    let protocol = Arc::new(wrap(protocol, ServiceMiddleware::new(layers)));
    start_over(over, ConcurrentServer::new(protocol)).await
}

async fn reply_and_rejection_pass_the_layers<K: Kind>(over: Over) {
    let layers = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .timeout(Duration::from_mins(1))
        .service(CallProtocol);
    let server = serve(over, counter::<K>(&gate()), layers).await;
    let mut peer = server.peer().await;
    let control = |kind, text: &str| Heard::Control(kind, text.to_owned());
    for (request, heard) in [
        ("a", Heard::message("a")),
        ("count", Heard::message("2")),
        ("busy b", control(code::BUSY, "b")),
        ("error e", control(code::ERROR, "e")),
        ("last c", Heard::message("c")),
    ] {
        assert_eq!(within(peer.ask(request)).await, heard);
    }
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (4, 1));
}

/// A service that reads the requests, and fails with an error that some of them name.
struct Picky;

impl<'a, K: Kind> Service<Call<'a, Counter<K>>> for Picky {
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send + 'a>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<'a, Counter<K>>) -> Self::Future {
        let error: BoxError = match call.request {
            "text" => "a layer".into(),
            "kind" => Rejection::bad_request("a layer").into(),
            _ => {
                let reply = CallProtocol.call(call);
                return Box::pin(async { Ok(reply.await?) });
            }
        };
        Box::pin(async { Err(error) })
    }
}

async fn error_of_a_layer_is_the_error_of_the_function<K: Kind>(over: Over) {
    let server = serve(over, counter::<K>(&gate()), Picky).await;
    let mut peer = server.peer().await;
    for (request, kind) in [("text", code::ERROR), ("kind", code::BAD_REQUEST)] {
        let heard = Heard::Control(kind, "a layer".to_owned());
        assert_eq!(within(peer.ask(request)).await, heard);
    }
    assert_eq!(within(peer.ask("count")).await, Heard::message("1"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

async fn limit_of_a_layer_answers_busy<K: Kind>(over: Over) {
    let gate = gate();
    let layers = ServiceBuilder::new()
        .map_err(|error: BoxError| match error.downcast::<Overloaded>() {
            Ok(_) => Rejection::busy("one is in flight").into(),
            Err(error) => error,
        })
        .load_shed()
        .concurrency_limit(1)
        .service(CallProtocol);
    let server = serve(over, counter::<K>(&gate), layers).await;
    let (mut first, mut second) = (server.peer().await, server.peer().await);
    within(first.send(frame("wait a"))).await;
    within(gate.reached()).await;
    let busy = Heard::Control(code::BUSY, "one is in flight".to_owned());
    assert_eq!(within(second.ask("b")).await, busy);
    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("a"));
    assert_eq!(within(second.ask("b")).await, Heard::message("b"));
    drop((first, second));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

async fn requests_wait_for_the_service_in_turn<K: Kind>(over: Over) {
    let gate = gate();
    let layers = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(CallProtocol);
    let server = serve(over, counter::<K>(&gate), layers).await;
    let (mut first, mut second) = (server.peer().await, server.peer().await);
    within(first.send(frame("wait a"))).await;
    within(gate.reached()).await;
    within(second.send(frame("wait b"))).await;
    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("a"));
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(second.hear()).await, Heard::message("b"));
    drop((first, second));
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn limit_of_the_rate_is_one_of_the_server<K: Kind>() {
    let second = Duration::from_secs(1);
    let layers = ServiceBuilder::new()
        .rate_limit(1, second)
        .service(CallProtocol);
    let server = serve(Over::Memory, counter::<K>(&gate()), layers).await;
    let began = Instant::now();
    for seconds in [0, 1, 2] {
        let mut peer = server.peer().await;
        assert_eq!(within(peer.ask("count")).await, Heard::message("1"));
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
    assert_eq!(server.stopped().await.requests.served, 3);
}

async fn function_that_takes_too_long_is_dropped<K: Kind>() {
    let gate = gate();
    let second = Duration::from_secs(1);
    let layers = ServiceBuilder::new().timeout(second).service(CallProtocol);
    let server = serve(Over::Memory, counter::<K>(&gate), layers).await;
    let mut peer = server.peer().await;
    let began = Instant::now();
    let late = Heard::Control(code::ERROR, "request timed out".to_owned());
    assert_eq!(within(peer.ask("wait a")).await, late);
    assert_eq!(began.elapsed().as_secs(), 1);
    // The session goes on, as it is.
    assert_eq!(within(peer.ask("count")).await, Heard::message("2"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}
