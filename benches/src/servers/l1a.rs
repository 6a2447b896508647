//! What people write first: `read_exact` and `write_all` for each frame.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            drop(connection(stream).await);
        });
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = stream.read_u32().await?;
        if length as usize > super::MAX_FRAME_LEN {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = vec![0; length as usize];
        stream.read_exact(&mut message).await?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&message).await?;
    }
}
