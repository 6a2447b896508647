//! The yardstick: a hand-written tokio loop with one read buffer, in which all complete frames are
//! handled, and one write for each batch.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
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
            // A peer that goes away ends its connection and nothing else.
            drop(connection(stream).await);
        });
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = BytesMut::with_capacity(8 * 1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((header, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header);
            if length > 8 << 20 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let length = length as usize;
            let Some(message) = rest.get(..length) else {
                break;
            };
            output.put_slice(header);
            output.put_slice(message);
            input.advance(4 + length);
        }
        input.reserve(8 * 1024);
        stream.write_all(&output).await?;
        output.clear();
    }
}
