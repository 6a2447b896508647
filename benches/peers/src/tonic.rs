//! tonic: a unary call of a message with one field of bytes, and a stream of them.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use tcs_benches::own::Caller;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use service::{
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};

mod service {
    #![expect(
        clippy::pedantic,
        unreachable_pub,
        unused_qualifications,
        reason = "tonic writes it"
    )]
    include!(concat!(env!("OUT_DIR"), "/benches.Echo.rs"));
}

/// What is called with, and returned.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Message {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
}

struct Service;

#[tonic::async_trait]
impl Echo for Service {
    async fn echo(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type RepeatStream = Repeated;

    async fn repeat(&self, request: Request<Message>) -> Result<Response<Repeated>, Status> {
        Ok(Response::new(Repeated(request.into_inner())))
    }
}

/// A message again and again.
#[derive(Debug)]
pub struct Repeated(Message);

impl Stream for Repeated {
    type Item = Result<Message, Status>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(self.0.clone())))
    }
}

/// Connects, and requests `message` again and again.
pub async fn stream(address: SocketAddr, message: &[u8]) -> io::Result<Streaming<Message>> {
    let payload = Bytes::copy_from_slice(message);
    let mut client = connect(address).await?;
    let messages = client.repeat(Message { payload }).await;
    Ok(messages.map_err(io::Error::other)?.into_inner())
}

async fn connect(address: SocketAddr) -> io::Result<EchoClient<Channel>> {
    let endpoint = Endpoint::try_from(format!("http://{address}")).map_err(io::Error::other)?;
    let channel = endpoint.tcp_nodelay(true).connect().await;
    Ok(EchoClient::new(channel.map_err(io::Error::other)?))
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .add_service(EchoServer::new(Service))
        .serve_with_incoming(incoming)
        .await
        .map_err(io::Error::other)
}

/// A client of it; its clones share the connection.
#[derive(Clone, Debug)]
pub struct Client(EchoClient<Channel>);

impl Caller for Client {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        Ok(vec![Self(connect(address).await?); count])
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let payload = Bytes::copy_from_slice(message);
        let reply = self.0.echo(Message { payload });
        let reply = reply.await.map_err(io::Error::other)?.into_inner();
        Ok(reply.payload == message)
    }
}
