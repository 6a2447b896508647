//! A connection that floods a server.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::exchange::{check, connect};

/// How many bytes of requests a flooder has outstanding, at most.
///
/// They fit the buffers of the sockets, so a flooder that writes never waits for a server that waits for
/// the flooder to read.
const WINDOW: usize = 64 * 1024;

/// A connection that sends a request for each reply that it reads, in a thread of its own.
pub(crate) struct Flooder {
    stream: Arc<TcpStream>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flooder {
    pub(crate) fn start(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = Arc::new(connect(address, limit)?);
        let thread = thread::spawn({
            let stream = Arc::clone(&stream);
            move || flood(&stream)
        });
        Ok(Self { stream, thread })
    }

    /// Ends the connection.
    ///
    /// # Errors
    ///
    /// What ended the connection before.
    pub(crate) fn stop(self) -> io::Result<()> {
        let Self { stream, thread } = self;
        let has_failed = thread.is_finished();
        // Ends a read or a write that waits. The peer may have ended the connection already.
        drop(stream.shutdown(Shutdown::Both));
        let outcome = thread.join().map_err(|_| io::Error::other("a panic"))?;
        if has_failed { outcome } else { Ok(()) }
    }
}

/// Goes on until the connection ends.
///
/// Requests and replies are nothing but zeros, so each byte that comes back is sent again, whether or not
/// it completes a reply.
fn flood(mut stream: &TcpStream) -> io::Result<()> {
    let requests = vec![0; WINDOW];
    let mut replies = vec![0; WINDOW];
    stream.write_all(&requests)?;
    loop {
        let count = stream.read(&mut replies)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        check(&replies[..count])?;
        stream.write_all(&requests[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;
    use crate::exchange::{FRAME, is_late};

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn flooder_has_no_more_outstanding_than_its_window() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let flooder = Flooder::start(address, LIMIT).expect("it connects");
        let (mut peer, _) = listener.accept().expect("it is there");
        let limit = Duration::from_millis(100);
        peer.set_read_timeout(Some(limit)).expect("a limit");
        let mut requests = vec![1; WINDOW];
        peer.read_exact(&mut requests).expect("a window");
        assert!(is_late(&peer.read(&mut [0]).expect_err("no more")));
        peer.write_all(&FRAME).expect("it reads");
        peer.read_exact(&mut requests[..FRAME.len()])
            .expect("one more");
        assert!(is_late(&peer.read(&mut [0]).expect_err("no more")));
        flooder.stop().expect("it goes on until now");
    }

    #[test]
    fn flooder_whose_connection_ended_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let flooder = Flooder::start(address, LIMIT).expect("it connects");
        drop(listener.accept().expect("it is there"));
        let deadline = Instant::now() + LIMIT;
        while !flooder.thread.is_finished() && Instant::now() < deadline {
            thread::yield_now();
        }
        flooder.stop().expect_err("the peer closed it");
    }
}
