//! Code around every request, whatever the protocol: it logs the peer and the time.
//!
//! ```text
//! cargo run --example middleware
//! ```
//!
//! It listens on 127.0.0.1:1234. Each line is a request.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf 'Ann\n' | nc -N localhost 1234
//! ```
//!
//! The first terminal then shows a line such as `127.0.0.1:50132 waited for 1.2µs`.

use std::time::Instant;

use tcs::{
    ConcurrentServer, Rejection,
    framing::Lines,
    protocol::{Context, Middleware, ServerProtocol, wrap},
    server_protocol,
};

struct Log;

impl<P: ServerProtocol> Middleware<P> for Log {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        let (peer, began) = (context.peer(), Instant::now());
        let reply = inner.process_request(context, request).await;
        println!("{peer} waited for {:?}", began.elapsed());
        reply
    }
}

#[server_protocol(framing = Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(wrap(Greet, Log)).run()
}
