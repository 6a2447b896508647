//! tarpc with bincode, in the two ways of its handling: a task for each request, or in place.

use std::{io, net::SocketAddr};

use futures_util::StreamExt as _;
use serde_bytes::ByteBuf;
use tarpc::{
    client, context, serde_transport,
    server::{BaseChannel, Channel as _},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use tcs_benches::own::Caller;
use tokio::net::{TcpListener, TcpStream};

mod service {
    use serde_bytes::ByteBuf;

    #[tarpc::service]
    pub trait Echo {
        async fn echo(message: ByteBuf) -> ByteBuf;
    }
}

use service::{Echo as _, EchoClient};

#[derive(Clone)]
struct Server;

impl service::Echo for Server {
    async fn echo(self, _: context::Context, message: ByteBuf) -> ByteBuf {
        message
    }
}

/// Where a request is handled.
#[derive(Clone, Copy, Debug)]
pub enum Handling {
    /// In a task of its own.
    Spawned,
    /// In the task of its connection.
    Inline,
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, handling: Handling) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let frames = Framed::new(stream, LengthDelimitedCodec::new());
        let transport = serde_transport::new(frames, Bincode::default());
        let replies = BaseChannel::with_defaults(transport).execute(Server.serve());
        tokio::spawn(async move {
            match handling {
                Handling::Inline => replies.for_each(|reply| reply).await,
                Handling::Spawned => {
                    replies
                        .for_each(async |reply| drop(tokio::spawn(reply)))
                        .await;
                }
            }
        });
    }
}

/// A client of it; its clones share the connection.
#[derive(Clone, Debug)]
pub struct Client(EchoClient);

impl Caller for Client {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let frames = Framed::new(stream, LengthDelimitedCodec::new());
        let transport = serde_transport::new(frames, Bincode::default());
        let client = EchoClient::new(client::Config::default(), transport).spawn();
        Ok(vec![Self(client); count])
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let reply = self.0.echo(context::current(), ByteBuf::from(message));
        Ok(reply.await.map_err(io::Error::other)? == message)
    }
}
