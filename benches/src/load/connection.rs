//! One connection of the generator.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream as StdStream},
    sync::Arc,
    time::Instant,
};

use mio::net::TcpStream;
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use super::pattern::Pattern;
use crate::tls::ClientStream;

/// A connection with a number of requests in flight.
pub(super) struct Connection {
    pub(super) stream: ClientStream<TcpStream>,
    /// How many bytes were sent, of how many that are to be.
    sent: usize,
    wanted: usize,
    received: usize,
    frame: usize,
    /// When what is in flight was asked, where somebody wants to know.
    asked: Option<VecDeque<Instant>>,
}

impl Connection {
    /// Begins to connect; `depth` requests are sent when it has.
    ///
    /// `number` chooses among 16 addresses of the loopback interface, so that connections which
    /// closed a moment ago do not use up the ports.
    pub(super) fn open(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        number: usize,
        request: &Pattern,
        depth: usize,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let last = u8::try_from(number % 16).unwrap_or_default() + 2;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self {
            stream: ClientStream::new(TcpStream::from_std(StdStream::from(socket)), tls)?,
            sent: 0,
            wanted: depth * request.period(),
            received: 0,
            frame: request.period(),
            asked: None,
        })
    }

    /// Sends what is to be sent, as far as the peer takes it.
    pub(super) fn send(&mut self, request: &Pattern) -> io::Result<()> {
        while self.sent < self.wanted {
            let bytes = request.after(self.sent, self.wanted - self.sent);
            match self.stream.write(bytes) {
                Ok(count) => self.sent += count,
                Err(error) if may_wait(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match self.stream.flush() {
            Err(error) if !may_wait(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads and checks what has arrived, and returns how many replies it completed.
    pub(super) fn receive(&mut self, reply: &Pattern, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.received / reply.period();
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if may_wait(&error) => break,
                Err(error) => return Err(error),
            };
            if !reply.follows(self.received, &mut buffer[..count]) {
                return Err(io::Error::other("a reply is not what was sent"));
            }
            self.received += count;
            // A read that leaves room has taken everything; the next event comes with more.
            if count < buffer.len() && self.stream.short_read_is_last() {
                break;
            }
        }
        Ok(self.received / reply.period() - before)
    }

    /// Wants as many more requests sent.
    pub(super) fn ask(&mut self, requests: usize) {
        self.wanted += requests * self.frame;
    }

    /// From now on remembers when it was asked; what is in flight was asked now.
    pub(super) fn remember(&mut self, requests: usize) {
        self.asked = Some(VecDeque::from(vec![Instant::now(); requests]));
    }

    /// Tells when each of as many requests was asked as were answered now, and are asked again.
    pub(super) fn answered(&mut self, replies: usize, now: Instant, mut tell: impl FnMut(Instant)) {
        let Some(asked) = &mut self.asked else {
            return;
        };
        for asked in asked.drain(..replies.min(asked.len())) {
            tell(asked);
        }
        asked.extend((0..replies).map(|_| now));
    }
}

/// What Linux calls a connection that is not yet made.
const IN_PROGRESS: i32 = 115;

/// Also for a stream that is not connected yet.
fn may_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}
