//! What connects the library with the simulated network: its public traits are enough.

use std::{
    io,
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tcs::{
    Peer,
    transport::{Incoming, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::timeout,
};
use turmoil::net::{TcpListener, TcpStream};

/// Where servers and the balancer listen.
pub(crate) const PORT: u16 = 7_000;

/// Listens on the host that runs.
pub(crate) struct NetListener {
    listener: TcpListener,
    /// Makes what is told of the calls that arrive over a new connection, and of the replies.
    on_accept: Box<dyn Fn() -> [OnCall; 2] + Send>,
}

impl NetListener {
    pub(crate) async fn bind(
        on_accept: impl Fn() -> [OnCall; 2] + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        Ok(Self {
            listener,
            on_accept: Box::new(on_accept),
        })
    }
}

impl Listener for NetListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let (stream, addr) = self.listener.accept().await?;
        let mut peer = Peer::unnamed();
        peer.set_addr(addr);
        Ok(Some(Incoming::new(
            Tap::of_server(stream, (self.on_accept)()),
            peer,
        )))
    }

    fn name(&self) -> String {
        "the simulated network".to_owned()
    }
}

/// Forwards connections to the servers in turn, or to the next one that answers.
pub(crate) async fn balance(servers: Vec<String>) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    for first in 0.. {
        let (mut near, _) = listener.accept().await?;
        let mut servers = servers.clone();
        let count = servers.len();
        servers.rotate_left(first % count);
        tokio::spawn(async move {
            for server in servers {
                let connecting = TcpStream::connect((server, PORT));
                if let Ok(Ok(mut far)) = timeout(Duration::from_millis(200), connecting).await {
                    // Whatever ends it, both connections end with it.
                    return copy_bidirectional(&mut near, &mut far).await.map(drop);
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// Is told the number of a call in the bytes of a connection.
pub(crate) type OnCall = Box<dyn Fn(u64) + Send + Sync>;

/// A connection with a count of the calls that come over it, which the library has no part in.
pub(crate) struct Tap {
    stream: TcpStream,
    reads: Option<Scanner>,
    writes: Scanner,
}

impl Tap {
    /// Tells of the calls that are read, and of the replies that are written.
    fn of_server(stream: TcpStream, [on_call, on_reply]: [OnCall; 2]) -> Self {
        Self {
            stream,
            reads: Some(Scanner::new(on_call)),
            writes: Scanner::new(on_reply),
        }
    }

    /// Tells of the calls that are written.
    pub(crate) fn of_client(stream: TcpStream, on_call: OnCall) -> Self {
        Self {
            stream,
            reads: None,
            writes: Scanner::new(on_call),
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(reads) = &mut this.reads {
            reads.scan(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.writes.scan(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Finds `<NUMBER>` in a stream of bytes.
struct Scanner {
    /// What stands behind `<`. The bytes of a length may be `<>` (seed 216).
    digits: Option<String>,
    on_call: OnCall,
}

impl Scanner {
    fn new(on_call: OnCall) -> Self {
        Self {
            digits: None,
            on_call,
        }
    }

    fn scan(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.digits = match (byte, self.digits.take()) {
                (b'<', _) => Some(String::new()),
                (b'0'..=b'9', Some(digits)) => {
                    Some(digits + char::from(*byte).encode_utf8(&mut [0]))
                }
                (b'>', Some(digits)) => {
                    if let Ok(number) = digits.parse() {
                        (self.on_call)(number);
                    }
                    None
                }
                _ => None,
            };
        }
    }
}

#[test]
fn calls_are_found_by_their_numbers() {
    let found = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&found);
    let mut scanner = Scanner::new(Box::new(move |id| noted.lock().expect("no panic").push(id)));
    scanner.scan(b"\0\0<><0> x\0\0\0<1");
    scanner.scan(b"2><a<3>");
    assert_eq!(*found.lock().expect("no panic"), [0, 12, 3]);
}
