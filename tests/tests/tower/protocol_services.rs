//! A protocol as a service, without a server.

use std::{future::poll_fn, marker::PhantomData, task::Poll};

use bytes::Bytes;
use tcs::{
    ConnectionInfo, Peer, Rejection, RejectionKind, Response,
    format::{Encode, EncodeError, Plain, Writer},
    framing::LengthPrefixed,
    protocol::{Context, ServerProtocol, tower::ProtocolService},
    server_protocol,
};
use tcs_tests::{Act, Count, Counting, Gate, Kind, Tester, each_kind, gate, tester_of, within};
use tower::{Service, ServiceExt as _};

each_kind!(
    response_is_what_a_server_would_send_and_do,
    session_is_kept_between_requests,
    session_is_lost_with_a_panic,
    reply_that_cannot_be_encoded_fails,
);
each_kind!([ready_async, waiting, blocking] service_is_ready_again_after_its_call);
each_kind!([ready_async, waiting] session_is_lost_with_a_dropped_call);

fn service<S: Count, K: Kind>(gate: &Gate) -> ProtocolService<Tester<LengthPrefixed, S, K>> {
    let protocol = tester_of::<K, LengthPrefixed>(gate).session();
    ProtocolService::new(protocol, Peer::unnamed())
}

/// Calls a service when it is ready.
async fn ask<P: ServerProtocol>(
    service: &mut ProtocolService<P>,
    request: &'static str,
) -> Result<Response<Bytes>, Rejection> {
    let ready = within(service.ready()).await?;
    within(ready.call(Bytes::from(request))).await
}

fn message(text: &'static str) -> Bytes {
    Bytes::from(text)
}

async fn response_is_what_a_server_would_send_and_do<K: Kind>() {
    let mut service = service::<(), K>(&gate());
    for (request, expected) in [
        ("a", Ok(Response::Reply(message("a")))),
        ("last b", Ok(Response::ReplyAndClose(message("b")))),
        ("nothing", Ok(Response::NoReply)),
        ("close", Ok(Response::Close)),
        ("error c", Err(Rejection::error("c"))),
        ("busy d", Err(Rejection::busy("d"))),
    ] {
        assert_eq!(ask(&mut service, request).await, expected, "{request}");
    }
    let ready = within(service.ready()).await.expect("ready");
    let rejected = within(ready.call(Bytes::from_static(b"a\xff"))).await;
    let expected = Rejection::bad_request("the text is not UTF-8 after byte 1");
    assert_eq!(rejected, Err(expected));
}

#[server_protocol]
fn upgrade(_request: &str) -> Response<&'static str> {
    Response::StartTls("go ahead")
}

#[tokio::test]
async fn tls_is_started_by_the_caller() {
    let mut service = ProtocolService::new(Upgrade, Peer::unnamed());
    let response = ask(&mut service, "STARTTLS").await;
    assert_eq!(response, Ok(Response::StartTls(message("go ahead"))));
}

#[server_protocol(session = peer.to_string())]
fn who<'a>(_request: &str, #[session] opened_for: &'a mut String, peer: &Peer) -> &'a str {
    assert_eq!(*opened_for, peer.to_string());
    opened_for
}

#[tokio::test]
async fn function_and_session_see_the_peer() {
    let mut service = ProtocolService::new(Who, Peer::named("Ann"));
    let response = ask(&mut service, "").await;
    assert_eq!(response, Ok(Response::Reply(message("Ann"))));
}

async fn session_is_kept_between_requests<K: Kind>() {
    let gate = gate();
    let mut services = [service::<Counting, K>(&gate), service::<Counting, K>(&gate)];
    for service in &mut services {
        for expected in ["1", "2"] {
            let response = ask(service, "count").await;
            assert_eq!(response, Ok(Response::Reply(message(expected))));
        }
    }
}

async fn service_is_ready_again_after_its_call<K: Kind>() {
    let gate = gate();
    let mut service = service::<Counting, K>(&gate);
    let ready = within(service.ready()).await.expect("ready");
    let call = tokio::spawn(ready.call(message("wait a")));
    within(gate.reached()).await;
    poll_fn(|cx| {
        assert_eq!(service.poll_ready(cx), Poll::Pending);
        Poll::Ready(())
    })
    .await;
    let busy = Rejection::busy("the service was called while it was not ready");
    assert_eq!(within(service.call(message("b"))).await, Err(busy));
    gate.open();
    let response = within(call).await.expect("no panic");
    assert_eq!(response, Ok(Response::Reply(message("a"))));
    let response = ask(&mut service, "count").await;
    assert_eq!(response, Ok(Response::Reply(message("2"))));
}

/// Drops a call while its function waits. Returns the response to a further one.
async fn ask_after_a_drop<S: Count, K: Kind>() -> Result<Response<Bytes>, Rejection> {
    let gate = gate();
    let mut service = service::<S, K>(&gate);
    let ready = within(service.ready()).await.expect("ready");
    let mut call = ready.call(message("wait a"));
    tokio::select! {
        biased;
        _ = &mut call => panic!("it waits at the gate"),
        () = within(gate.reached()) => drop(call),
    }
    ask(&mut service, "a").await
}

/// The rejection by a service that has lost its session.
fn lost() -> Rejection {
    let text = "the session was lost with an earlier request";
    Rejection::new(RejectionKind::GoingAway, text)
}

async fn session_is_lost_with_a_dropped_call<K: Kind>() {
    assert_eq!(ask_after_a_drop::<Counting, K>().await, Err(lost()));
    let response = ask_after_a_drop::<(), K>().await;
    assert_eq!(response, Ok(Response::Reply(message("a"))));
}

/// Panics in a call. Returns the response to a further one.
async fn ask_after_a_panic<S: Count, K: Kind>() -> Result<Response<Bytes>, Rejection> {
    let mut service = service::<S, K>(&gate());
    let ready = within(service.ready()).await.expect("ready");
    let panicked = within(tokio::spawn(ready.call(message("panic x")))).await;
    assert!(panicked.is_err_and(|error| error.is_panic()));
    ask(&mut service, "a").await
}

async fn session_is_lost_with_a_panic<K: Kind>() {
    assert_eq!(ask_after_a_panic::<Counting, K>().await, Err(lost()));
    let response = ask_after_a_panic::<(), K>().await;
    assert_eq!(response, Ok(Response::Reply(message("a"))));
}

/// A protocol whose replies cannot be encoded.
struct Broken<K>(Gate, PhantomData<fn() -> K>);

struct BrokenReply;

impl Encode<Plain> for BrokenReply {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"a part");
        Err(EncodeError::new("a secret"))
    }
}

impl<K: Kind> ServerProtocol for Broken<K> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = BrokenReply;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        _request: &'a str,
    ) -> impl Future<Output = Result<BrokenReply, Rejection>> + Send {
        K::process(context.info, &self.0, || Act::Return(Ok(BrokenReply)))
    }
}

async fn reply_that_cannot_be_encoded_fails<K: Kind>() {
    let protocol = Broken::<K>(gate(), PhantomData);
    let mut service = ProtocolService::new(protocol, Peer::unnamed());
    let failed = Rejection::new(RejectionKind::Failed, "the reply cannot be encoded");
    assert_eq!(ask(&mut service, "a").await, Err(failed));
}
