//! Answers Prometheus and a load balancer over HTTP. It is not for strangers.

use std::{io, time::Duration};

use tcs::server::{Report, ServerHandle};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

/// Answers `/metrics` with the numbers, and any other path with whether the server is ready.
pub async fn serve(listener: TcpListener, handle: ServerHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // In a task of its own, so that one that is slow or gone does not delay the others.
                let answer = answer(stream, handle.clone());
                tokio::spawn(timeout(Duration::from_secs(5), answer));
            }
            Err(error) => {
                tracing::warn!(%error, "the monitor cannot accept a connection");
                // There may be no descriptor left, and that does not change at once.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, handle: ServerHandle) {
    if let Err(error) = respond(stream, &handle).await {
        tracing::warn!(%error, "a request for the numbers is not answered");
    }
}

async fn respond(mut stream: TcpStream, handle: &ServerHandle) -> io::Result<()> {
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
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await
}

/// Writes the numbers in the text format of Prometheus. A line with the type of a metric precedes its first number.
fn exposition(stats: &Report) -> String {
    let (connections, requests) = (stats.connections, stats.requests);
    let numbers = [
        (
            "# TYPE tcs_connections_open gauge\ntcs_connections_open",
            connections.open,
        ),
        (
            "# TYPE tcs_requests_in_flight gauge\ntcs_requests_in_flight",
            requests.in_flight,
        ),
        (
            "# TYPE tcs_requests_total counter\ntcs_requests_total{outcome=\"served\"}",
            requests.served,
        ),
        ("tcs_requests_total{outcome=\"failed\"}", requests.failed),
        (
            "tcs_requests_total{outcome=\"rejected\"}",
            requests.rejected,
        ),
        ("tcs_requests_total{outcome=\"aborted\"}", requests.aborted),
    ];
    let lines = numbers.map(|(name, value)| format!("{name} {value}\n"));
    lines.concat()
}
