//! Serves one of the peers: `peer NAME [PORT] [THREADS]`. Prints the address.

use std::{env, io};

use tcs_peers::{
    http,
    rpc::{self, Handling},
    tonic,
};
use tokio::{net::TcpListener, runtime::Builder};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let mut number = |default| {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse::<u16>())
            .map_err(io::Error::other)
    };
    let (port, threads) = (number(0)?, number(1)?);
    let mut builder = if threads > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = builder
        .worker_threads(usize::from(threads.max(1)))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("{}", listener.local_addr()?);
        match &*name {
            "axum" => http::serve(listener).await,
            "tarpc-spawn" => rpc::serve(listener, Handling::Spawned).await,
            "tarpc-inline" => rpc::serve(listener, Handling::Inline).await,
            "tonic" => tonic::serve(listener).await,
            other => Err(io::Error::other(format!("no peer is called {other}"))),
        }
    })
}
