//! The metrics of a server as text for Prometheus, at a second port.
//!
//! ```text
//! cargo run --example prometheus
//! ```
//!
//! It listens on 127.0.0.1:1234, and serves its metrics on 127.0.0.1:9464, or the address that you give it.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf 'hello\n' | nc -N localhost 1234
//! curl http://localhost:9464/metrics
//! ```
//!
//! This needs no other crate than `tokio`. If your program has more metrics than those of its server, use the feature
//! `metrics` of `tcs` and the crate `metrics-exporter-prometheus`, which also have the durations.

use std::{env, io, time::Duration};

use tcs::{
    ConcurrentServer,
    framing::Lines,
    server::{Report, ServerHandle},
    server_protocol,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

#[server_protocol(framing = Lines)]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9464")).await?;
    println!("numbers on http://{}/metrics", listener.local_addr()?);
    let server = ConcurrentServer::new(Shout).bind().await?;
    let handle = server.handle();
    tokio::spawn(serve_numbers(listener, handle.clone()));
    server.listen_until(tcs::server::stop_signal()).await?;
    Ok(())
}

/// Answers any HTTP request with the numbers, one after the other. It is for Prometheus, not for strangers.
async fn serve_numbers(listener: TcpListener, handle: ServerHandle) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Such as no descriptors, which come back.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // A client that is slow or gone must not delay the others for long.
        let answered = timeout(Duration::from_secs(5), answer(stream, &handle)).await;
        if let Ok(Err(error)) = answered {
            eprintln!("cannot answer: {error}");
        }
    }
}

async fn answer(mut stream: TcpStream, handle: &ServerHandle) -> io::Result<()> {
    let mut head = BufReader::new(&mut stream).take(8_192).lines();
    // An empty line ends the head of a request.
    while head.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let body = exposition(&handle.stats());
    let response = format!(
        "HTTP/1.1 200 OK\r\n\
         Content-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await
}

/// Writes the numbers in the text format of Prometheus. Several samples of a metric follow each other.
fn exposition(stats: &Report) -> String {
    let (requests, connections, bytes) = (stats.requests, stats.connections, stats.bytes);
    let samples = [
        ("gauge", "tcs_connections_open", "", connections.open),
        (
            "counter",
            "tcs_connections_accepted_total",
            "",
            connections.accepted,
        ),
        (
            "counter",
            "tcs_connections_ended_total",
            "closed",
            connections.closed,
        ),
        (
            "counter",
            "tcs_connections_ended_total",
            "aborted",
            connections.aborted,
        ),
        ("gauge", "tcs_requests_in_flight", "", requests.in_flight),
        ("counter", "tcs_requests_total", "served", requests.served),
        ("counter", "tcs_requests_total", "failed", requests.failed),
        (
            "counter",
            "tcs_requests_total",
            "rejected",
            requests.rejected,
        ),
        ("counter", "tcs_requests_total", "aborted", requests.aborted),
        ("counter", "tcs_received_bytes_total", "", bytes.received),
        ("counter", "tcs_sent_bytes_total", "", bytes.sent),
    ];
    let mut last = "";
    let lines = samples.map(|(kind, name, outcome, value)| {
        let header = match name {
            _ if name == last => String::new(),
            _ => format!("# TYPE {name} {kind}\n"),
        };
        last = name;
        match outcome {
            "" => format!("{header}{name} {value}\n"),
            _ => format!("{header}{name}{{outcome=\"{outcome}\"}} {value}\n"),
        }
    });
    lines.concat()
}
