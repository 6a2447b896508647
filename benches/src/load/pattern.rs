//! The bytes that go out and come back, as streams that repeat.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

/// How much is read or written at a time, at most.
pub(super) const CHUNK: usize = 256 * 1024;

/// What a message travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Behind its length, as in `WIRE.md`.
    Framed,
    /// The same over TLS.
    Tls,
    /// The body of an HTTP/1.1 POST.
    Http,
    /// The argument of a Redis `ECHO`.
    Redis,
    /// Between these bytes, which then must fit the message.
    Between(&'static [u8], &'static [u8]),
}

/// A stream of bytes that repeats.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Long enough that `CHUNK` bytes follow wherever the first repetition is entered.
    bytes: Vec<u8>,
    period: usize,
    /// What may differ in each repetition: the date of an HTTP reply.
    any: Range<usize>,
}

impl Pattern {
    fn new(once: &[u8], any: Range<usize>) -> Self {
        Self {
            bytes: once.repeat(CHUNK / once.len() + 2),
            period: once.len(),
            any,
        }
    }

    pub(super) fn period(&self) -> usize {
        self.period
    }

    /// Returns at most `CHUNK` bytes of what follows after `position` bytes.
    pub(super) fn after(&self, position: usize, length: usize) -> &[u8] {
        let start = position % self.period;
        &self.bytes[start..start + length.min(CHUNK)]
    }

    /// Says whether `bytes` are what follows after `position` bytes.
    pub(super) fn follows(&self, position: usize, bytes: &mut [u8]) -> bool {
        let start = position % self.period;
        if !self.any.is_empty() {
            let mut repetition = 0;
            while repetition < start + bytes.len() {
                for at in self.any.clone() {
                    // The first repetition began before these bytes.
                    if let Some(place) = (repetition + at).checked_sub(start)
                        && let Some(byte) = bytes.get_mut(place)
                    {
                        *byte = self.bytes[at];
                    }
                }
                repetition += self.period;
            }
        }
        *bytes == self.bytes[start..start + bytes.len()]
    }
}

impl Wire {
    /// Returns what is sent and what must come back for an echo of `message`.
    pub(super) fn patterns(
        self,
        message: &[u8],
        address: SocketAddr,
    ) -> io::Result<(Pattern, Pattern)> {
        let length = message.len();
        let (request, reply, any) = match self {
            Self::Framed | Self::Tls => {
                let header = u32::try_from(length).map_err(io::Error::other)?;
                let frame = [&header.to_be_bytes(), message].concat();
                (frame.clone(), frame, 0..0)
            }
            Self::Between(head, tail) => {
                let frame = [head, message, tail].concat();
                (frame.clone(), frame, 0..0)
            }
            Self::Redis => {
                let bulk = [format!("${length}\r\n").as_bytes(), message, b"\r\n"].concat();
                ([b"*2\r\n$4\r\nECHO\r\n", &bulk[..]].concat(), bulk, 0..0)
            }
            Self::Http => {
                let head = format!(
                    "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n"
                );
                let request = [head.as_bytes(), message].concat();
                let (reply, any) = learn(&request, message, address)?;
                (request, reply, any)
            }
        };
        Ok((Pattern::new(&request, 0..0), Pattern::new(&reply, any)))
    }
}

/// Asks once, as the head of an HTTP reply is the server's to choose, and finds its date.
fn learn(
    request: &[u8],
    message: &[u8],
    address: SocketAddr,
) -> io::Result<(Vec<u8>, Range<usize>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request)?;
    let mut reply = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let body = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.extend_from_slice(&buffer[..count]);
        if let Some(body) = find(&reply, b"\r\n\r\n").map(|at| at + 4)
            && reply.len() >= body + message.len()
        {
            break body;
        }
    };
    if !reply.starts_with(b"HTTP/1.1 200 ") || reply[body..] != *message {
        return Err(io::Error::other("the HTTP reply is no echo"));
    }
    let any = find(&reply, b"date: ").map_or(0..0, |at| {
        let start = at + 6;
        start..start + find(&reply[start..], b"\r\n").unwrap_or(0)
    });
    Ok((reply, any))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_follows_wherever_it_is_entered() {
        let pattern = Pattern::new(b"abcde", 1..3);
        for (position, bytes, follows) in [
            (0, "abcdeab", true),
            (4, "ea", true),
            (4, "eaxxdeaxx", true),
            (2, "xdeaxxde", true),
            (2, "xde_xxde", false),
            (5, "abcdx", false),
        ] {
            let mut bytes = bytes.as_bytes().to_vec();
            assert_eq!(pattern.follows(position, &mut bytes), follows, "{bytes:?}");
        }
    }
}
