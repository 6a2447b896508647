//! The examples on their port, and peers that say what no client does.

use tcs_tests::{
    process::{Process, connect},
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

/// Starts an example, and waits until it listens.
pub(crate) async fn serve(name: &str) -> Process {
    let server = Process::example(name);
    drop(connect(ADDRESS).await);
    server
}

/// Stops an example, and returns what it has printed.
pub(crate) async fn stop(server: Process) -> Vec<String> {
    server.interrupt().await;
    server.finished().await.succeeded()
}

/// Sends bytes in two pieces, closes the sending half, and returns all that comes back, until the server closes.
pub(crate) async fn told(bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(ADDRESS).await;
    let mut told = Vec::new();
    within(async {
        let (first, then) = bytes.split_at(bytes.len() / 2);
        stream.write_all(first).await?;
        stream.write_all(then).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut told).await
    })
    .await
    .expect("no reset");
    told
}
