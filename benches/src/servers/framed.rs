//! `Framed` of tokio-util, in the two ways in which it is usually written.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

/// Serves until the listener fails.
pub async fn serve<F>(
    listener: TcpListener,
    answer: impl Fn(Frames) -> F + Copy + Send + 'static,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            drop(answer(Framed::new(stream, LengthDelimitedCodec::new())).await);
        });
    }
}

/// Sends each reply.
pub async fn send(mut frames: Frames) -> io::Result<()> {
    while let Some(message) = frames.next().await {
        frames.send(message?.freeze()).await?;
    }
    Ok(())
}

/// Forwards the requests as replies, which sends when no request is left.
pub async fn forward(frames: Frames) -> io::Result<()> {
    let (replies, requests) = frames.split();
    requests
        .map_ok(bytes::BytesMut::freeze)
        .forward(replies)
        .await
}
