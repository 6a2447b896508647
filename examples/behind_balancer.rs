//! A server behind a load balancer: PROXY headers, a readiness port, and a stop that the load balancer sees before it
//! comes.
//!
//! ```text
//! cargo run -p tcs-examples --features proxy --example behind_balancer
//! ```
//!
//! It listens on 127.0.0.1:1234 for a load balancer on the same machine, and accepts connections on 127.0.0.1:1235 as long
//! as it is ready. You can give other addresses as arguments. `docs/deploy.md` has the configuration of the load
//! balancer.
//!
//! Press Ctrl-C: port 1235 closes at once, and the server drains two seconds later.

use std::{env, time::Duration};

use tcs::{ConcurrentServer, Peer, server_protocol, transport::ProxyHeader};

#[server_protocol]
fn greet(name: &str, peer: &Peer) -> String {
    println!("{name} from {peer}");
    format!("Hello, {name} at {peer}!")
}

/// Never called: a check connects, and that is all.
#[server_protocol]
fn ready(_request: &str) {}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let mut addresses = env::args().skip(1);
    let mut next = |default: &str| addresses.next().unwrap_or_else(|| default.to_owned());
    let server = ConcurrentServer::new(Greet)
        .address(next("127.0.0.1:1234"))
        .handshake(ProxyHeader::from_networks(&["127.0.0.0/8"])?)
        // The interval of the checks, times the number of checks that must fail, and some more.
        .lame_duck(Duration::from_secs(2))
        .bind()
        .await?;
    let readiness = ConcurrentServer::new(Ready)
        .address(next("127.0.0.1:1235"))
        .on_listening(|readiness| println!("ready at {}", readiness.local_addr()));

    let handle = server.handle();
    let (report, _) = tokio::try_join!(
        server.listen_until_signal(),
        readiness.listen_until(handle.stopping()),
    )?;
    println!("{report}");
    Ok(())
}
