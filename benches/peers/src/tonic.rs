//! tonic: a unary call of a message with one field of bytes.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use tcs_benches::own::Caller;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
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
        let channel = Endpoint::try_from(format!("http://{address}"))
            .map_err(io::Error::other)?
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(io::Error::other)?;
        Ok(vec![Self(EchoClient::new(channel)); count])
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let payload = Bytes::copy_from_slice(message);
        let reply = self.0.echo(Message { payload });
        let reply = reply.await.map_err(io::Error::other)?.into_inner();
        Ok(reply.payload == message)
    }
}
