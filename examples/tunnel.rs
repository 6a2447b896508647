//! A function that takes its connection over: a tunnel to another server, as with `CONNECT` of HTTP.
//!
//! ```text
//! cargo run -p tcs-examples --example tunnel
//! ```
//!
//! It listens on 127.0.0.1:1234. Try: run `nc 127.0.0.1 1234`, and type
//!
//! ```text
//! CONNECT example.com:80
//! HEAD / HTTP/1.0
//!
//! ```
//!
//! The server says `ok`, and from then on, it is example.com that you talk to. Ctrl-C ends the tunnels.

use tcs::{
    ConcurrentServer, Response,
    framing::Lines,
    protocol::{Draining, Upgrade, Upgraded},
    server_protocol,
};
use tokio::{io::copy_bidirectional, net::TcpStream};

#[server_protocol(framing = Lines)]
async fn tunnel<'a>(
    line: &'a str,
    draining: Draining<'a>,
) -> Result<Response<&'static str, Upgrade<'a>>, String> {
    // Everyone who reaches this server reaches what it names: a real one has a list.
    let target = line
        .strip_prefix("CONNECT ")
        .ok_or("say CONNECT host:port")?;
    let mut far = TcpStream::connect(target)
        .await
        .map_err(|error| format!("cannot connect to {target}: {error}"))?;
    Ok(Response::upgrade("ok", async move |mut near: Upgraded| {
        tokio::select! {
            copied = copy_bidirectional(&mut near, &mut far) => match copied {
                Ok((up, down)) => println!("{target}: {up} bytes up, {down} bytes down"),
                Err(error) => println!("{target}: {error}"),
            },
            // Without this branch, a tunnel may last for the rest of the `drain_timeout`.
            () = draining => println!("{target}: the server stops"),
        }
    }))
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Tunnel).run()
}
