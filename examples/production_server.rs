//! A server for production: TLS, limits, a stop that a load balancer sees, its metrics for Prometheus, and its log as
//! JSON.
//!
//! ```text
//! cargo run -p tcs-examples --features logs,tls --example production_server
//! ```
//!
//! It listens on 127.0.0.1:1234 with the certificate of the example `tls`. It serves its metrics and whether it is ready
//! on 127.0.0.1:9464, or the address that you give it.
//!
//! Try: start the example `tls_client`. Then, in a second terminal, run
//!
//! ```text
//! curl http://localhost:9464/metrics
//! curl -i http://localhost:9464/ready
//! ```
//!
//! and the last line again within two seconds after Ctrl-C in the first terminal. `docs/deploy.md` shows how to
//! run such a program: under systemd, behind a load balancer, in a container.

use std::{env, error::Error, fs, io, panic, time::Duration};

use tcs::{
    ConcurrentServer,
    framing::Lines,
    server::{AtCapacity, Report, ServerHandle},
    server_protocol,
    transport::{Tls, create_self_signed},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

#[server_protocol(framing = Lines)]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    log_as_json();
    let address = env::args().nth(1);
    let monitor = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9464")).await?;
    tracing::info!(address = %monitor.local_addr()?, "monitored");
    let server = ConcurrentServer::new(Greet)
        .tls(certificate()?)
        // All other limits have defaults that suit most servers: docs/limits.md lists them.
        .max_connections(500)
        .at_capacity(AtCapacity::EvictIdle)
        .max_request_rate_per_address(1_000)
        .max_frame_len(1_024)
        // How long a function may take, and how long a request may wait before it is called.
        .request_timeout(Duration::from_secs(5))
        .max_queue_time(Duration::from_millis(500))
        // So that clients find new servers behind a load balancer.
        .max_connection_age(Duration::from_hours(1))
        // Longer than a load balancer takes to notice, and together shorter than the service manager waits.
        .lame_duck(Duration::from_secs(2))
        .drain_timeout(Duration::from_secs(20))
        .bind()
        .await?;
    tokio::spawn(serve_monitor(monitor, server.handle()));
    server.listen_until_signal().await?;
    Ok(())
}

fn log_as_json() {
    tracing_subscriber::fmt().json().init();
    // The default hook would write lines that are not JSON.
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "panic");
    }));
}

/// Makes a certificate for development. In production, give the paths of yours to `Tls::from_pem`.
fn certificate() -> Result<Tls, Box<dyn Error>> {
    let folder = env::temp_dir().join("tcs-example-tls");
    fs::create_dir_all(&folder)?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    create_self_signed(&cert, &key)?;
    Ok(Tls::from_pem(&cert, &key)?)
}

/// Answers HTTP requests of a load balancer and of Prometheus, one after the other. It is not for strangers.
async fn serve_monitor(listener: TcpListener, handle: ServerHandle) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Such as no descriptors, which come back.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a request for the numbers");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // One that is slow or gone must not delay the others for long.
        let answered = timeout(Duration::from_secs(1), answer(stream, &handle)).await;
        if let Ok(Err(error)) = answered {
            tracing::warn!(%error, "a request for the numbers is not answered");
        }
    }
}

async fn answer(mut stream: TcpStream, handle: &ServerHandle) -> io::Result<()> {
    let mut head = BufReader::new(&mut stream).take(8_192).lines();
    let request = head.next_line().await?.unwrap_or_default();
    // An empty line ends the head.
    while head.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = if request.starts_with("GET /metrics ") {
        ("200 OK", exposition(&handle.stats()))
    } else if handle.is_stopping() {
        ("503 Service Unavailable", "stopping\n".to_owned())
    } else {
        ("200 OK", "ready\n".to_owned())
    };
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await
}

/// Writes some numbers in the text format of Prometheus. The example `prometheus` has all of them.
fn exposition(stats: &Report) -> String {
    let (connections, requests) = (stats.connections, stats.requests);
    [
        ("tcs_connections_open", connections.open),
        ("tcs_requests_in_flight", requests.in_flight),
        ("tcs_requests_total{outcome=\"served\"}", requests.served),
        ("tcs_requests_total{outcome=\"failed\"}", requests.failed),
        (
            "tcs_requests_total{outcome=\"rejected\"}",
            requests.rejected,
        ),
        ("tcs_requests_total{outcome=\"aborted\"}", requests.aborted),
    ]
    .map(|(name, value)| format!("{name} {value}\n"))
    .concat()
}
