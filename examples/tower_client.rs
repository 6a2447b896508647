//! Layers of `tower` around a client: a timeout, a limit, hedging and retries.
//!
//! ```text
//! cargo run -p tcs-examples --features tower --example tower_client
//! ```
//!
//! A server is busy at the first request, slow at the first one of `Bob`, and never answers `nobody`. The client prints
//! what it does and receives:
//!
//! ```text
//! NotExecuted: again
//! Hello, Ann!
//! Hello, Bob!
//! no reply within 2 s
//! ```
//!
//! Try: remove `hedged`. The call of `Bob` then fails as well.
//!
//! A channel can do most of it itself: it sends requests again unless `retries(false)` is set, and it has `deadline` and
//! `hedge`. That hedge has a fixed delay, and never sends the second request over the connection of the first one. Use
//! layers for policies of your own.

use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer, Rejection,
    client::ChannelOptions,
    protocol::{Context, Middleware, ServerProtocol, wrap},
    server_protocol,
};
use tokio::time::{Sleep, sleep};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt,
    hedge::{self, Hedge},
    retry::{self, Retry},
    timeout::error::Elapsed,
};

#[server_protocol]
async fn greet(name: &str, #[state] is_slow: &AtomicBool) -> String {
    if name == "nobody" || name == "Bob" && is_slow.swap(false, Relaxed) {
        pending::<()>().await;
    }
    format!("Hello, {name}!")
}

/// Rejects the first request.
struct BusyAtFirst(AtomicBool);

impl<P: ServerProtocol> Middleware<P> for BusyAtFirst {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        if self.0.swap(false, Relaxed) {
            return Err(Rejection::busy("try later"));
        }
        inner.process_request(context, request).await
    }
}

/// Sends a request again after 10 ms, this often, if it was not executed.
#[derive(Clone)]
struct Retries(u32);

impl<Request: Clone, Reply> retry::Policy<Request, Reply, tcs::Error> for Retries {
    type Future = Sleep;

    fn retry(&mut self, _request: &mut Request, result: &mut tcs::Result<Reply>) -> Option<Sleep> {
        let error = result.as_ref().err().filter(|error| error.is_retryable())?;
        self.0 = self.0.checked_sub(1)?;
        println!("{:?}: again", error.execution());
        Some(sleep(Duration::from_millis(10)))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

/// Sends each request a second time if it takes longer than nine of ten did before. A request must do no harm if it is
/// executed twice.
#[derive(Clone)]
struct Hedges;

impl<Request: Clone> hedge::Policy<Request> for Hedges {
    fn clone_request(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn can_retry(&self, _request: &Request) -> bool {
        true
    }
}

fn hedged<S, Request>(service: S) -> Hedge<S, Hedges>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    Request: Clone,
{
    // In the place of ten calls that took 20 ms. `Hedge::new` begins when it has measured enough.
    let (latencies, period) = ([20; 10], Duration::from_mins(1));
    Hedge::new_with_mock_latencies(service, Hedges, 10, 0.9, period, &latencies)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let greet = Greet::new(AtomicBool::new(true));
    let protocol = wrap(greet, BusyAtFirst(AtomicBool::new(true)));
    let server = ConcurrentServer::new(protocol).port(0).bind().await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    // Replies come in the order of the requests of a connection, so hedging needs a second one. The layers retry instead of
    // the channel.
    let options = ChannelOptions::new(addr).connections(2).retries(false);
    let channel: Channel = options.connect().await?;
    // The timeout is for all attempts together.
    let mut service = ServiceBuilder::new()
        .timeout(Duration::from_secs(2))
        .concurrency_limit(100)
        .service(hedged(Retry::new(Retries(3), channel.service::<Greet>())));
    for name in ["Ann", "Bob", "nobody"] {
        match service.ready().await?.call(name).await {
            Ok(reply) => println!("{reply}"),
            Err(error) if error.is::<Elapsed>() => println!("no reply within 2 s"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
