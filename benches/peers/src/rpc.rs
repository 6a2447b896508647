//! tarpc with bincode, in the two ways of its handling: a task for each request, or in place.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::StreamExt as _;
use serde_bytes::ByteBuf;
use tarpc::{
    client, context, serde_transport,
    server::{self, BaseChannel, Channel as _},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use tcs_benches::{message::Typed, own::Caller};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

mod service {
    use serde_bytes::ByteBuf;

    /// The typed message, whose fields serde reads and writes.
    #[tarpc::derive_serde]
    #[derive(Debug)]
    #[expect(unreachable_pub, reason = "the trait that names it is as public")]
    pub struct Typed {
        pub id: u64,
        pub name: String,
        pub values: Vec<u32>,
    }

    #[tarpc::service]
    pub trait Echo {
        async fn echo(message: ByteBuf) -> ByteBuf;
        async fn echo_typed(message: Typed) -> Typed;
        async fn nap(message: ByteBuf) -> ByteBuf;
    }
}

use service::Echo as _;
pub use service::EchoClient;

/// The queues of both ends: with the 100 of the defaults, handling in place can come to a standstill
/// when more than that are in flight. Where the socket is full, it waits for room in the queue of
/// replies, which only it empties.
const QUEUE: usize = 1_024;

#[derive(Clone)]
struct Server;

impl service::Echo for Server {
    async fn echo(self, _: context::Context, message: ByteBuf) -> ByteBuf {
        message
    }

    async fn echo_typed(self, _: context::Context, message: service::Typed) -> service::Typed {
        message
    }

    async fn nap(self, _: context::Context, message: ByteBuf) -> ByteBuf {
        sleep(Duration::from_millis(1)).await;
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
        let config = server::Config {
            pending_response_buffer: QUEUE,
        };
        let replies = BaseChannel::new(config, transport).execute(Server.serve());
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

/// Connects tarpc's own client. Its clones share the connection.
pub async fn connect(address: SocketAddr) -> io::Result<EchoClient> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let frames = Framed::new(stream, LengthDelimitedCodec::new());
    let transport = serde_transport::new(frames, Bincode::default());
    let mut config = client::Config::default();
    config.pending_request_buffer = QUEUE;
    Ok(EchoClient::new(config, transport).spawn())
}

impl Caller for Client {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        Ok(vec![Self(connect(address).await?); count])
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let reply = self.0.echo(context::current(), ByteBuf::from(message));
        Ok(reply.await.map_err(io::Error::other)? == message)
    }

    async fn call_typed(&mut self, message: Typed) -> io::Result<Typed> {
        let Typed { id, name, values } = message;
        let message = service::Typed { id, name, values };
        let reply = self.0.echo_typed(context::current(), message).await;
        let service::Typed { id, name, values } = reply.map_err(io::Error::other)?;
        Ok(Typed { id, name, values })
    }
}
