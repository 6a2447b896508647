//! A service as the protocol of a server.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::{Json, Plain},
    framing::{LengthPrefixed, Lines},
    protocol::tower::{ProtocolService, ServiceProtocol},
};
use tcs_tests::{
    Act, Counting, Gate, Heard, Kind, Over, Running, code, each_kind, frame, gate, over_each,
    start_over, tester_of, within,
};
use tower::{BoxError, Service, ServiceBuilder, service_fn};

each_kind!(
    over_each:
    response_of_the_service_is_the_reply,
    error_of_the_service_is_a_rejection_of_its_kind,
    protocol_in_layers_is_a_protocol_again,
);
each_kind!([ready_async, waiting, blocking] over_each: request_waits_until_its_service_is_ready);
over_each!(
    each_peer_has_its_service,
    messages_have_the_framing_and_the_format,
    error_of_readiness_is_a_rejection,
);

/// The oldest Rust that is supported does not see that a future is `Send` which has a `dyn Error` in its type.
struct Outcome(Result<String, BoxError>);

/// A service whose function is of a kind.
fn service<K: Kind>(
    gate: &Gate,
    act: fn(&str) -> Act<Result<String, BoxError>>,
) -> impl Service<String, Response = String, Error = BoxError, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let gate = gate.clone();
    service_fn(move |text: String| {
        let gate = gate.clone();
        async move {
            let info = ConnectionInfo::new(Peer::unnamed());
            let act = move || match act(&text) {
                Act::Return(result) => Act::Return(Outcome(result)),
                Act::Wait(result) => Act::Wait(Outcome(result)),
                Act::WaitAndPanic => Act::WaitAndPanic,
            };
            K::process(&info, &gate, act).await.0
        }
    })
}

/// Serves a service, of which each connection has a clone.
async fn serve<S>(over: Over, service: S) -> Running
where
    S: Service<String, Response = String, Error = BoxError, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let protocol = ServiceProtocol::new(move |_peer| service.clone());
    start_over(over, ConcurrentServer::new(protocol)).await
}

async fn response_of_the_service_is_the_reply<K: Kind>(over: Over) {
    let service = service::<K>(&gate(), |text| Act::Return(Ok(format!("{text}!"))));
    let server = serve(over, service).await;
    let mut peer = server.peer().await;
    for _ in 0..2 {
        assert_eq!(within(peer.ask("a")).await, Heard::message("a!"));
    }
    within(peer.send(frame(b"\xff"))).await;
    assert_eq!(within(peer.hear()).await.kind(), code::BAD_REQUEST);
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

async fn error_of_the_service_is_a_rejection_of_its_kind<K: Kind>(over: Over) {
    let service = service::<K>(&gate(), |text| {
        Act::Return(Err(match text {
            "busy" => Rejection::busy("later").into(),
            _ => "what?".into(),
        }))
    });
    let server = serve(over, service).await;
    let mut peer = server.peer().await;
    let control = |kind, text: &str| Heard::Control(kind, text.to_owned());
    let busy = control(code::BUSY, "later");
    assert_eq!(within(peer.ask("busy")).await, busy);
    assert_eq!(within(peer.ask("a")).await, control(code::ERROR, "what?"));
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn request_waits_until_its_service_is_ready<K: Kind>(over: Over) {
    let gate = gate();
    let service = service::<K>(&gate, |text| Act::Wait(Ok(text.to_owned())));
    // The clones share the limit.
    let limited = ServiceBuilder::new().concurrency_limit(1).service(service);
    let server = serve(over, limited).await;
    let (mut first, mut second) = (server.peer().await, server.peer().await);
    within(first.send(frame("a"))).await;
    within(gate.reached()).await;
    within(second.send(frame("b"))).await;
    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("a"));
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(second.hear()).await, Heard::message("b"));
    drop((first, second));
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn each_peer_has_its_service(over: Over) {
    let opened = Arc::new(AtomicUsize::new(0));
    let opened_here = Arc::clone(&opened);
    let make = move |peer: &Peer| {
        let number = opened_here.fetch_add(1, Ordering::Relaxed);
        let is_known = peer.addr().is_some();
        let mut count = 0;
        service_fn(move |(): ()| {
            count += 1;
            ready(Ok::<_, Infallible>(format!("{number} {is_known} {count}")))
        })
    };
    let make = Arc::new(make);
    let server = start_over(over, {
        let make = Arc::clone(&make);
        ConcurrentServer::new(ServiceProtocol::new(move |peer: &Peer| make(peer)))
    })
    .await;
    let is_known = over.has_address();
    for number in 0..2 {
        let mut peer = server.peer().await;
        for count in 1..=2 {
            let expected = format!("{number} {is_known} {count}");
            assert_eq!(within(peer.ask("")).await, Heard::message(&expected));
        }
    }
    assert_eq!(server.stopped().await.requests.served, 4);
}

async fn messages_have_the_framing_and_the_format(over: Over) {
    let server = start_over(over, {
        let double = |numbers: Vec<u32>| {
            let doubled: Vec<u32> = numbers.iter().map(|number| 2 * number).collect();
            ready(Ok::<_, Infallible>(doubled))
        };
        let protocol = ServiceProtocol::new(move |_peer| service_fn(double));
        ConcurrentServer::new(protocol.with_framing::<Lines>().with_format::<Json>())
    })
    .await;
    let mut peer = server.peer().await;
    within(peer.send("[1, 2]\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"[2,4]\n");
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// Never ready.
struct Unready;

impl Service<String> for Unready {
    type Response = String;
    type Error = Rejection;
    type Future = Ready<Result<String, Rejection>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Err(Rejection::busy("never")))
    }

    fn call(&mut self, _request: String) -> Self::Future {
        panic!("it is not ready");
    }
}

async fn error_of_readiness_is_a_rejection(over: Over) {
    let server = ConcurrentServer::new(ServiceProtocol::new(|_peer| Unready));
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    let busy = Heard::Control(code::BUSY, "never".to_owned());
    assert_eq!(within(peer.ask("a")).await, busy);
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 1);
}

/// The bytes are those of the protocol itself.
async fn protocol_in_layers_is_a_protocol_again<K: Kind>(over: Over) {
    let protocol = Arc::new(tester_of::<K, LengthPrefixed>(&gate()).session::<Counting>());
    let layers = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .timeout(Duration::from_mins(1));
    let server = start_over(over, {
        let (protocol, layers) = (Arc::clone(&protocol), layers.clone());
        let layered = ServiceProtocol::new(move |peer: &Peer| {
            layers.service(ProtocolService::new(Arc::clone(&protocol), peer.clone()))
        });
        ConcurrentServer::new(layered.with_format::<Plain>())
    })
    .await;
    for _ in 0..2 {
        let mut peer = server.peer().await;
        within(peer.send(frame("nothing"))).await;
        assert_eq!(within(peer.ask("count")).await, Heard::message("2"));
        let busy = Heard::Control(code::BUSY, "b".to_owned());
        assert_eq!(within(peer.ask("busy b")).await, busy);
        assert_eq!(within(peer.ask("last c")).await, Heard::message("c"));
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (6, 2));
}
