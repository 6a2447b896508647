//! A channel as a service of `tower`, with layers around it.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use tcs::{Error, ErrorKind, Execution, client::ChannelService};
use tcs_tests::{Heard, RawPeer, channel::Owned, control, frame, memory, within};
use tokio::time::advance;
use tower::{Service, ServiceBuilder, ServiceExt as _, retry::Policy, timeout::error::Elapsed};

const SECOND: Duration = Duration::from_secs(1);

fn service() -> (ChannelService<Owned>, RawPeer) {
    let (channel, peer) = memory::channel(1 << 10);
    (channel.service::<Owned>(), peer)
}

async fn hears(peer: &mut RawPeer, request: &str) {
    assert_eq!(within(peer.hear()).await, Heard::message(request));
}

#[tokio::test]
async fn clones_call_over_one_connection() {
    let (mut service, mut peer) = service();
    let mut clone = service.clone();
    let first = tokio::spawn(service.ready().await.expect("it is always").call("a"));
    hears(&mut peer, "a").await;
    let second = tokio::spawn(clone.ready().await.expect("it is always").call("b"));
    hears(&mut peer, "b").await;
    within(peer.send([frame("1"), frame("2")].concat())).await;
    for (call, reply) in [(first, "1"), (second, "2")] {
        let replied = within(call).await.expect("no panic");
        assert_eq!(replied.expect("a reply"), reply);
    }
}

#[tokio::test]
async fn call_that_a_timeout_drops_affects_no_other() {
    tokio::time::pause();
    let (service, mut peer) = service();
    let mut service = ServiceBuilder::new().timeout(SECOND).service(service);
    let late = tokio::spawn(service.ready().await.expect("it is always").call("a"));
    hears(&mut peer, "a").await;
    advance(SECOND).await;
    let error = late.await.expect("no panic").expect_err("it is late");
    assert!(error.is::<Elapsed>(), "{error}");
    let call = tokio::spawn(service.ready().await.expect("it is always").call("b"));
    hears(&mut peer, "b").await;
    within(peer.send([frame("1"), frame("2")].concat())).await;
    let reply = within(call).await.expect("no panic");
    assert_eq!(reply.expect("a reply"), "2");
}

/// Retries what is retryable, this often.
#[derive(Clone)]
struct Attempts(usize);

impl<Request: Clone, Reply> Policy<Request, Reply, Error> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request,
        result: &mut Result<Reply, Error>,
    ) -> Option<Ready<()>> {
        let error = result.as_ref().err()?;
        self.0 = self.0.checked_sub(1)?;
        error.is_retryable().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

#[tokio::test]
async fn retries_of_a_layer_follow_from_the_error() {
    let (service, mut peer) = service();
    let mut service = ServiceBuilder::new().retry(Attempts(2)).service(service);
    // The server was busy, and is not any more.
    let call = tokio::spawn(service.ready().await.expect("it is always").call("a"));
    for answer in [control(0x04, "later"), frame("1")] {
        hears(&mut peer, "a").await;
        within(peer.send(answer)).await;
    }
    let reply = within(call).await.expect("no panic");
    assert_eq!(reply.expect("a reply"), "1");
    // It may have executed the request.
    let call = tokio::spawn(service.ready().await.expect("it is always").call("b"));
    hears(&mut peer, "b").await;
    drop(peer);
    let error = within(call).await.expect("no panic").expect_err("no reply");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Closed, Execution::Unknown)
    );
}
