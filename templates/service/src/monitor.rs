//! Answers Prometheus and a balancer over HTTP. It is not for strangers.

use std::{io, time::Duration};

use tcs::server::{Report, ServerHandle};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

pub(crate) async fn serve(listener: TcpListener, handle: ServerHandle) {
    while let Ok((stream, _)) = listener.accept().await {
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
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await
}

/// Writes the numbers in the text format of Prometheus.
fn exposition(stats: &Report) -> String {
    let (connections, requests) = (stats.connections, stats.requests);
    let numbers = [
        ("tcs_connections_open", connections.open),
        ("tcs_requests_in_flight", requests.in_flight),
        ("tcs_requests_total{outcome=\"served\"}", requests.served),
        ("tcs_requests_total{outcome=\"failed\"}", requests.failed),
        ("tcs_requests_total{outcome=\"aborted\"}", requests.aborted),
    ];
    let lines = numbers.map(|(name, value)| format!("{name} {value}\n"));
    lines.concat()
}
