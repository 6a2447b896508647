//! The yardstick: a hand-written tokio loop with one read buffer, in which all complete frames are
//! handled, and one write for each batch.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::MAX_FRAME_LEN;
use crate::message::Typed;

/// Answers a message with a frame.
trait Answer: Fn(&[u8], &mut BytesMut) -> io::Result<()> + Copy + Send + 'static {}
impl<F: Fn(&[u8], &mut BytesMut) -> io::Result<()> + Copy + Send + 'static> Answer for F {}

/// Answers with the same bytes.
#[inline]
pub fn bytes(message: &[u8], output: &mut BytesMut) -> io::Result<()> {
    output.put_u32(length(message)?);
    output.put_slice(message);
    Ok(())
}

/// Answers with a `String` of its own, as a function from text to text does.
#[inline]
pub fn text(message: &[u8], output: &mut BytesMut) -> io::Result<()> {
    let text = str::from_utf8(message).map_err(|_| io::ErrorKind::InvalidData)?;
    let reply = text.to_owned();
    bytes(reply.as_bytes(), output)
}

/// Answers with the same message, read and written.
#[inline]
pub fn typed(message: &[u8], output: &mut BytesMut) -> io::Result<()> {
    let message = Typed::read(message).ok_or(io::ErrorKind::InvalidData)?;
    framed(output, |output| {
        message.write(|part| output.put_slice(part));
        Ok(())
    })
}

/// Does so in JSON.
#[inline]
pub fn json(message: &[u8], output: &mut BytesMut) -> io::Result<()> {
    let message: Typed = serde_json::from_slice(message)?;
    framed(output, |output| {
        Ok(serde_json::to_writer(output.writer(), &message)?)
    })
}

/// Does so in Postcard.
#[inline]
pub fn postcard(message: &[u8], output: &mut BytesMut) -> io::Result<()> {
    let message: Typed = postcard::from_bytes(message).map_err(io::Error::other)?;
    framed(output, |output| {
        postcard::serialize_with_flavor(&message, Output(output)).map_err(io::Error::other)
    })
}

struct Output<'a>(&'a mut BytesMut);

impl postcard::ser_flavors::Flavor for Output<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Writes a message, and its length before it.
#[inline]
fn framed(
    output: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
) -> io::Result<()> {
    let start = output.len();
    output.put_u32(0);
    write(output)?;
    let length = length(&output[start + 4..])?;
    output[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn length(message: &[u8]) -> io::Result<u32> {
    u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Serves until the listener fails.
#[expect(private_bounds, reason = "a shorter name for a bound")]
pub async fn serve(listener: TcpListener, answer: impl Answer) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A peer that goes away ends its connection and nothing else.
            drop(connection(stream, answer).await);
        });
    }
}

async fn connection(mut stream: TcpStream, answer: impl Answer) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = BytesMut::with_capacity(8 * 1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((header, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > MAX_FRAME_LEN {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = rest.get(..length) else {
                break;
            };
            answer(message, &mut output)?;
            input.advance(4 + length);
        }
        input.reserve(8 * 1024);
        stream.write_all(&output).await?;
        output.clear();
    }
}
