//! What one writes by hand for a server with length-prefixed messages.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{BufMut as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Caller, multiplexed::Shared};

/// A stream of its own for one caller, a multiplexed one for several.
#[derive(Debug)]
pub enum Hand {
    /// The stream, and a buffer for a frame.
    Alone(TcpStream, BytesMut),
    /// What the callers share with the task that reads and writes.
    Shared(Arc<Shared>),
}

impl Caller for Hand {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if count == 1 {
            return Ok(vec![Self::Alone(stream, BytesMut::new())]);
        }
        let shared = Shared::over(stream);
        Ok((0..count)
            .map(|_| Self::Shared(Arc::clone(&shared)))
            .collect())
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let (stream, buffer) = match self {
            Self::Alone(stream, buffer) => (stream, buffer),
            Self::Shared(shared) => return shared.call(message).await,
        };
        buffer.clear();
        buffer.put_u32(u32::try_from(message.len()).map_err(io::Error::other)?);
        buffer.put_slice(message);
        stream.write_all(buffer).await?;
        buffer.clear();
        loop {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((header, reply)) = buffer.split_first_chunk()
                && reply.len() >= u32::from_be_bytes(*header) as usize
            {
                return Ok(reply == message);
            }
        }
    }
}
