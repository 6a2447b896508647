//! A server whose function never returns: `stubborn wait` waits, `stubborn block` blocks its thread.
//!
//! With a second argument, it has a lame-duck phase that does not end, and says when it begins.

use std::{env, future::pending, thread, time::Duration};

use tcs::{ConcurrentServer, protocol::ServerProtocol, server_protocol};

#[server_protocol]
async fn wait(request: &str) -> String {
    println!("got {request}");
    pending().await
}

#[server_protocol(blocking)]
fn block(request: &str) -> String {
    println!("got {request}");
    loop {
        thread::park();
    }
}

fn main() -> tcs::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("block") => serve(Block),
        _ => serve(Wait),
    }
}

fn serve<P: ServerProtocol>(protocol: P) -> tcs::Result<()> {
    let lame_duck = env::args().nth(2).map(|_| Duration::MAX);
    let server = ConcurrentServer::new(protocol)
        .port(0)
        .lame_duck(lame_duck)
        .on_listening(|server| {
            println!("{}", server.local_addr());
            let handle = server.handle();
            tokio::spawn(async move {
                handle.stopping().await;
                println!("draining");
            });
        });
    #[cfg(target_os = "linux")]
    let server = server.notify_systemd();
    server.run()
}
