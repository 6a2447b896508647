//! What one writes by hand for a server with length-prefixed messages.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{BufMut as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Caller, multiplexed::Shared};
use crate::message::Typed;

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
            // Larger than a frame: a read that fills it would be followed by one in vain.
            let buffer = BytesMut::with_capacity(8 * 1024);
            return Ok(vec![Self::Alone(stream, buffer)]);
        }
        let shared = Shared::over(stream);
        Ok((0..count)
            .map(|_| Self::Shared(Arc::clone(&shared)))
            .collect())
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let write = |output: &mut BytesMut| output.put_slice(message);
        self.exchange(write, |reply| reply == message).await
    }

    async fn call_typed(&mut self, message: Typed) -> io::Result<Typed> {
        let write = |output: &mut BytesMut| message.write(|part| output.put_slice(part));
        let reply = self.exchange(write, Typed::read).await?;
        reply.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Hand {
    async fn exchange<T>(
        &mut self,
        write: impl FnOnce(&mut BytesMut),
        read: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let (stream, buffer) = match self {
            Self::Alone(stream, buffer) => (stream, buffer),
            Self::Shared(shared) => return shared.call(write, read).await,
        };
        buffer.clear();
        put_frame(buffer, write)?;
        stream.write_all(buffer).await?;
        buffer.clear();
        loop {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((header, reply)) = buffer.split_first_chunk()
                && reply.len() >= u32::from_be_bytes(*header) as usize
            {
                return Ok(read(reply));
            }
        }
    }
}

/// Appends a length and the message that `write` appends.
#[inline]
pub(super) fn put_frame(
    output: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
) -> io::Result<()> {
    let start = output.len();
    output.put_u32(0);
    write(output);
    let length = u32::try_from(output.len() - start - 4).map_err(io::Error::other)?;
    output[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
