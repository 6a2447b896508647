//! One exchange of an empty message.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An empty message, and its reply.
pub(crate) const FRAME: [u8; 4] = [0; 4];

pub(crate) fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its reply.
pub(crate) fn call(stream: &mut TcpStream, limit: Duration) -> io::Result<()> {
    if limit.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(&FRAME)?;
    let mut reply = [1; FRAME.len()];
    stream.read_exact(&mut reply)?;
    check(&reply)
}

/// Checks that replies, or parts of them, are empty messages.
pub(crate) fn check(replies: &[u8]) -> io::Result<()> {
    if replies.iter().any(|byte| *byte != 0) {
        return Err(io::Error::other("a reply is not empty"));
    }
    Ok(())
}

/// Says whether a call ended because of its time limit.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
