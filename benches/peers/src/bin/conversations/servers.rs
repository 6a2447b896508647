//! The servers.

use std::{error::Error, time::Duration};

use tcs::{
    ConcurrentServer, Response,
    framing::Multiplexed,
    protocol::{Push, PushError, PushGroup, Replies, ServerProtocol},
    server_protocol,
};
use tcs_peers::{
    rpc::{self, Handling},
    tonic,
};
use tokio::{net::TcpListener, time::sleep};

use crate::runtime;

#[server_protocol(framing = Multiplexed)]
pub(crate) fn echo(message: &[u8]) -> &[u8] {
    message
}

/// As many at a time as there are calls, because tarpc has no limit.
#[server_protocol(framing = Multiplexed, concurrent = 512, unordered)]
async fn nap(message: &[u8]) -> Vec<u8> {
    sleep(Duration::from_millis(1)).await;
    message.to_vec()
}

/// Replies with a message again and again.
#[server_protocol(framing = Multiplexed, replies = &[u8])]
pub(crate) async fn repeat(message: &[u8], mut out: Replies<'_, Repeat>) -> Result<(), String> {
    loop {
        out.send(message).await?;
    }
}

/// Pushes what one connection sends to all that have sent nothing but an empty message.
#[server_protocol(push = &[u8])]
pub(crate) fn room(
    message: &[u8],
    #[state] members: &PushGroup<Room>,
    push: Push<Room>,
) -> Result<Response<()>, PushError> {
    if message.is_empty() {
        members.join(&push);
    } else {
        members.send(message)?;
    }
    Ok(Response::Reply(()))
}

pub(crate) fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    match name {
        "tcs-echo" => listen(Echo),
        "tcs-nap" => listen(Nap),
        "tcs-repeat" => listen(Repeat),
        "tcs-room" => listen(Room::new(PushGroup::new())),
        _ => runtime()?.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            match name {
                "tarpc" => Ok(rpc::serve(listener, Handling::Spawned).await?),
                "tonic" => Ok(tonic::serve(listener).await?),
                other => Err(format!("no server is called {other}").into()),
            }
        }),
    }
}

fn listen(protocol: impl ServerProtocol) -> Result<(), Box<dyn Error>> {
    runtime()?.block_on(async {
        let server = ConcurrentServer::new(protocol)
            .port(0)
            .max_connections(16_384)
            .bind()
            .await?;
        println!("{}", server.local_addr());
        server.listen().await?;
        Ok(())
    })
}
