//! The floor: epoll without a runtime, and bytes that go back as they came.
//!
//! It does not look for frames, so nothing that has frames can be below it.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// What the peer has not yet taken; nothing is read before it has.
    unsent: Vec<u8>,
}

/// Serves until the listener fails.
pub fn serve(port: u16, announce: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            let Token(place) = event.token();
            if event.token() == LISTENER {
                accept_all(&poll, &listener, &mut connections, &mut free)?;
            } else if let Some(connection) = &mut connections[place]
                && !echo(connection, &mut buffer).unwrap_or(false)
            {
                connections[place] = None;
                free.push(place);
            }
        }
    }
}

fn accept_all(
    poll: &Poll,
    listener: &TcpListener,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let place = free.pop().unwrap_or_else(|| {
            connections.push(None);
            connections.len() - 1
        });
        poll.registry().register(
            &mut stream,
            Token(place),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        connections[place] = Some(Connection {
            stream,
            unsent: Vec::new(),
        });
    }
}

/// Sends back what has arrived, and says whether the connection goes on.
fn echo(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<bool> {
    let Connection { stream, unsent } = connection;
    while !unsent.is_empty() {
        let sent = send(stream, unsent)?;
        if sent == 0 {
            return Ok(true);
        }
        unsent.drain(..sent);
    }
    loop {
        let count = match stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            match send(stream, rest)? {
                0 => {
                    unsent.extend_from_slice(rest);
                    return Ok(true);
                }
                sent => rest = &rest[sent..],
            }
        }
        // A read that leaves room has taken everything; the next event comes with the next bytes.
        if count < buffer.len() {
            return Ok(true);
        }
    }
}

/// Returns how many bytes the peer took: none where it takes no more for now.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}
