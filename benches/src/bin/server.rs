//! Serves one of the systems: `server NAME [PORT] [THREADS]`. Prints the address.

use std::{env, io};

use tcs::ConcurrentServer;
use tcs_benches::servers::{l1a, l1b, ours};
use tokio::{net::TcpListener, runtime::Builder};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "tcs".to_owned());
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let threads: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let runtime = match threads {
        1 => Builder::new_current_thread().enable_all().build()?,
        _ => Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?,
    };
    runtime.block_on(serve(&name, port))
}

async fn serve(name: &str, port: u16) -> io::Result<()> {
    let listener = async || {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("{}", listener.local_addr()?);
        io::Result::Ok(listener)
    };
    match name {
        "l1a" => l1a::serve(listener().await?).await,
        "l1b" => l1b::serve(listener().await?).await,
        "tcs" => listen(ConcurrentServer::new(ours::Echo).port(port)).await,
        "tcs-text" => listen(ConcurrentServer::new(ours::EchoText).port(port)).await,
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

async fn listen<P: tcs::ServerProtocol>(server: ConcurrentServer<P>) -> io::Result<()> {
    let server = server
        .max_connections(200_000)
        .on_listening(|addr| println!("{addr}"));
    server.listen().await.map(|_| ()).map_err(io::Error::other)
}
