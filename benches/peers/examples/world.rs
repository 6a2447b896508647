//! The hello world of tarpc, from its own examples: what `examples/world.rs` is compared with.

use futures::prelude::*;
use tarpc::{
    client, context,
    server::{self, Channel},
};

#[tarpc::service]
trait World {
    async fn hello(name: String) -> String;
}

#[derive(Clone)]
struct HelloServer;

impl World for HelloServer {
    async fn hello(self, _: context::Context, name: String) -> String {
        format!("Hello, {name}!")
    }
}

async fn spawn(fut: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(fut);
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (client_transport, server_transport) = tarpc::transport::channel::unbounded();

    let server = server::BaseChannel::with_defaults(server_transport);
    tokio::spawn(server.execute(HelloServer.serve()).for_each(spawn));

    let client = WorldClient::new(client::Config::default(), client_transport).spawn();
    let hello = client.hello(context::current(), "Stim".to_string()).await?;
    println!("{hello}");
    Ok(())
}
