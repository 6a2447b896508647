//! What a function may have, an operation may have as well; servers are asked by raw bytes.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{self, Poll, Waker},
    thread,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::Json,
    framing::Lines,
    protocol::{Context, FromContext, ServerProtocol},
    server_protocol,
};
use tcs_tests::{Heard, RawPeer, Running, frame, start, within};

/// Proof that the peer is known.
struct Known;

impl FromContext<'_> for Known {
    fn from_context(_facts: &ConnectionInfo) -> Result<Self, Rejection> {
        Err(Rejection::busy("nobody is known"))
    }
}

trait Store: Send + Sync + 'static {
    fn get(&self, key: &str) -> Option<&str>;
}

struct Fixed(&'static str);

impl Store for Fixed {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.strip_prefix(key)
    }
}

#[server_protocol(format = Json)]
mod all {
    use super::*;

    pub fn add(number: u64, #[session] sum: &mut u64, #[state] total: &AtomicU64) -> (u64, u64) {
        *sum += number;
        (*sum, number + total.fetch_add(number, Relaxed))
    }

    pub async fn get<'a, S: Store>(key: &str, #[state] store: &'a S) -> Option<&'a str> {
        tokio::task::yield_now().await;
        store.get(key)
    }

    pub fn all_of<S>(#[state] store: &S, #[state] total: &AtomicU64) -> String
    where
        S: Store,
    {
        format!("{:?} {}", store.get(""), total.load(Relaxed))
    }

    pub async fn known(#[context] _proof: Known, #[state] log: &Mutex<Vec<String>>) {
        log.lock().expect("no panic").push("known".to_owned());
    }

    #[blocking]
    pub fn thread(#[context] addr: SocketAddr, #[context] peer: &Peer) -> bool {
        thread::yield_now();
        peer.addr() == Some(addr)
    }

    pub fn fail(text: &str) -> Result<u8, String> {
        Err(text.to_owned())
    }

    pub fn panic() -> u8 {
        panic!("as it was asked to");
    }
}

async fn says(peer: &mut RawPeer, request: &str, reply: &str) {
    within(peer.send(frame(request.as_bytes()))).await;
    assert_eq!(within(peer.hear()).await, Heard::message(reply));
}

async fn serve() -> Running {
    let log = Mutex::default();
    let protocol = all::Protocol {
        total: AtomicU64::new(1),
        store: Fixed("key value"),
        log,
    };
    start(ConcurrentServer::new(protocol)).await
}

#[tokio::test]
async fn states_are_shared_by_operations_and_sessions_by_requests() {
    let server = serve().await;
    let (mut one, mut other) = (server.peer().await, server.peer().await);
    says(&mut one, r#"{"add":{"number":2}}"#, r#"{"add":[2,3]}"#).await;
    says(&mut one, r#"{"add":{"number":2}}"#, r#"{"add":[4,5]}"#).await;
    says(&mut other, r#"{"add":{"number":2}}"#, r#"{"add":[2,7]}"#).await;
    says(
        &mut other,
        r#"{"get":{"key":"key "}}"#,
        r#"{"get":"value"}"#,
    )
    .await;
    let all = r#"{"all_of":"Some(\"key value\") 7"}"#;
    says(&mut one, r#"{"all_of":{}}"#, all).await;
    drop((one, other));
    server.stopped().await;
}

#[tokio::test]
async fn what_is_extracted_rejects_its_operation_alone() {
    let server = serve().await;
    let mut peer = server.peer().await;
    within(peer.send(frame(br#"{"known":{}}"#))).await;
    let rejection = Heard::Control(0x04, "nobody is known".to_owned());
    assert_eq!(within(peer.hear()).await, rejection);
    says(&mut peer, r#"{"thread":{}}"#, r#"{"thread":true}"#).await;
    says(
        &mut peer,
        r#"{"fail":{"text":"no"}}"#,
        r#"{"fail":{"Err":"no"}}"#,
    )
    .await;
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

#[tokio::test]
async fn panic_fails_its_request() {
    let server = serve().await;
    let mut peer = server.peer().await;
    within(peer.send(frame(br#"{"panic":{}}"#))).await;
    assert!(matches!(within(peer.hear()).await, Heard::Control(..)));
    drop(peer);
    assert_eq!(server.stopped().await.requests.failed, 1);
}

/// Its options see what the module sees, and the types in them what is around it.
#[server_protocol(format = Json, framing = Lines, session = *start, greeting = start, reject_with = in_words)]
mod optional {
    use super::{AtomicU64, Rejection};

    pub fn next(#[session] number: &mut u64, #[state] start: &u64) -> u64 {
        *number += start;
        *number
    }

    pub fn never(#[state] unused: &AtomicU64) -> u64 {
        unused.load(super::Relaxed)
    }

    fn in_words(rejection: &Rejection) -> String {
        rejection.to_string()
    }
}

#[tokio::test]
async fn options_are_those_of_a_function() {
    let protocol = optional::Protocol::new(7, AtomicU64::new(0));
    let server = start(ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    within(peer.send("{\"next\":{}}\n{\"last\":{}}\n{\"next\":{}}\n")).await;
    within(peer.finish()).await;
    let heard = String::from_utf8(within(peer.rest()).await).expect("text");
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(lines[..2], ["7", r#"{"next":14}"#]);
    assert!(lines[2].contains("there is no operation `last`"), "{heard}");
    assert_eq!(lines[3..], [r#"{"next":21}"#]);
    drop(peer);
    server.stopped().await;
}

#[test]
fn operation_that_never_waits_is_ready_when_it_is_first_polled() {
    let (info, mut session) = (ConnectionInfo::new(Peer::unnamed()), 0);
    let protocol = optional::Protocol::new(7, AtomicU64::new(0));
    let context = Context::new(&info, &mut session);
    let processed = pin!(protocol.process_request(context, optional::Request::Next {}));
    let polled = processed.poll(&mut task::Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(optional::Reply::Next(7)))));
}
