//! A peer that sends bytes and sees what comes back.

use std::{io, net::SocketAddr};

use tcs::{Connection, framing::Framing};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// One end of a connection, without any of the library's code.
#[derive(Debug)]
pub struct RawPeer {
    pub(crate) stream: Stream,
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Other(Box<dyn Io>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(stream) => stream.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// What was heard over `LengthPrefixed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Message(Vec<u8>),
    Control(u8, String),
    End,
}

impl Heard {
    /// A message of this text.
    pub fn message(text: &str) -> Self {
        Self::Message(text.as_bytes().to_vec())
    }

    /// Returns the [`code`] of a control frame; 0 for anything else.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Control(kind, _) => *kind,
            _ => 0,
        }
    }
}

/// The codes of control frames, as `WIRE.md` has them; the tests do not take them from the library.
pub mod code {
    pub const ERROR: u8 = 0x01;
    pub const BAD_REQUEST: u8 = 0x02;
    pub const TOO_LARGE: u8 = 0x03;
    pub const BUSY: u8 = 0x04;
    pub const TIMED_OUT: u8 = 0x05;
    pub const FAILED: u8 = 0x06;
    pub const GOING_AWAY: u8 = 0x40;
    pub const IDLE: u8 = 0x41;
    pub const TOO_MANY_CONNECTIONS: u8 = 0x42;
    pub const PROTOCOL_ERROR: u8 = 0x43;
}

/// A `LengthPrefixed` message.
pub fn frame(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let length = u32::try_from(message.len()).expect("tests are small");
    [&length.to_be_bytes(), message].concat()
}

/// A `LengthPrefixed` control frame.
pub fn control(kind: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(1 + text.len()).expect("tests are small") | 1 << 31;
    [&length.to_be_bytes()[..], &[kind], text.as_bytes()].concat()
}

/// Any stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl RawPeer {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        Self::of(stream)
    }

    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP has it");
        Self {
            stream: Stream::Tcp(stream),
        }
    }

    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            stream: Stream::Other(Box::new(stream)),
        }
    }

    /// Makes it a client of the library.
    pub fn into_connection<F: Framing>(self) -> Connection<F> {
        match self.stream {
            Stream::Tcp(stream) => Connection::over(stream),
            Stream::Other(stream) => Connection::over(stream),
        }
    }

    fn io(&mut self) -> &mut dyn Io {
        match &mut self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Other(stream) => stream,
        }
    }

    /// Continues over TLS, with a server that has the TLS of [`crate::tls::server`].
    #[cfg(target_os = "linux")]
    pub async fn start_tls(self) -> Self {
        let shaken = "the handshake succeeds";
        match self.stream {
            Stream::Tcp(stream) => {
                Self::over(crate::tls::connect_over(stream).await.expect(shaken))
            }
            Stream::Other(stream) => {
                Self::over(crate::tls::connect_over(stream).await.expect(shaken))
            }
        }
    }

    /// Returns the server's address.
    pub fn addr(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Other(_) => None,
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server reads");
    }

    /// Sends as long as the server takes it.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.io().write_all(bytes.as_ref()).await?;
        // TLS keeps what the socket has not taken.
        self.io().flush().await
    }

    /// Closes the sending half.
    pub async fn finish(&mut self) {
        self.io().shutdown().await.expect("it is open");
    }

    /// Closes the sending half, unless the connection was reset.
    pub async fn try_finish(&mut self) -> io::Result<()> {
        self.io().shutdown().await
    }

    /// Receives all that comes until the server closes or resets.
    pub async fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.io().read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    /// Resets the connection.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = self.stream {
            stream.set_zero_linger().expect("TCP has it");
        }
    }

    /// Receives exactly this many bytes.
    pub async fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.io().read_exact(&mut bytes).await.expect("that many");
        bytes
    }

    /// Receives this number of bytes, or what comes before the end.
    pub async fn receive_up_to(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut limited = self.io().take(count as u64);
        limited.read_to_end(&mut bytes).await.expect("no reset");
        bytes
    }

    /// Receives whatever comes in one read; nothing at the end.
    pub async fn receive_some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let count = self.io().read(&mut bytes).await.expect("no reset");
        bytes.truncate(count);
        bytes
    }

    /// Receives all that comes until the server closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.io().read_to_end(&mut bytes).await.expect("no reset");
        bytes
    }

    /// Waits until the server drops the connection, which says nothing more. Over TLS, such an end is not announced.
    pub async fn dropped(&mut self) {
        let mut bytes = Vec::new();
        if let Err(error) = self.io().read_to_end(&mut bytes).await {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
        assert_eq!(bytes, b"");
    }

    /// Sends all bytes, and receives exactly this many meanwhile.
    pub async fn send_and_receive(&mut self, bytes: impl AsRef<[u8]>, count: usize) -> Vec<u8> {
        let (mut reading, mut writing) = tokio::io::split(self.io());
        let mut received = vec![0; count];
        let sending = async {
            writing.write_all(bytes.as_ref()).await?;
            writing.flush().await
        };
        let (sent, read) = tokio::join!(sending, reading.read_exact(&mut received));
        sent.expect("the server reads");
        read.expect("that many");
        received
    }

    /// Receives one `LengthPrefixed` frame.
    pub async fn hear(&mut self) -> Heard {
        let mut header = [0; 4];
        if let Err(error) = self.io().read_exact(&mut header).await {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
            return Heard::End;
        }
        let header = u32::from_be_bytes(header);
        let length = usize::try_from(header & 0x7fff_ffff).expect("64 bits");
        let mut bytes = self.receive(length).await;
        if header >> 31 == 0 {
            return Heard::Message(bytes);
        }
        let kind = bytes.remove(0);
        Heard::Control(kind, String::from_utf8(bytes).expect("text"))
    }

    /// Sends a `LengthPrefixed` request and receives what is said to it.
    pub async fn ask(&mut self, request: &str) -> Heard {
        self.send(frame(request.as_bytes())).await;
        self.hear().await
    }

    /// Fails unless a request is answered with its own text.
    pub async fn is_served(&mut self) {
        assert_eq!(self.ask("a").await, Heard::message("a"));
    }

    /// Fails unless this control frame comes next.
    pub async fn is_told(&mut self, kind: u8, text: &str) {
        assert_eq!(self.hear().await, Heard::Control(kind, text.to_owned()));
    }

    /// Receives one `LengthPrefixed` request, says the same, and returns it.
    pub async fn ask_back(&mut self) -> String {
        let Heard::Message(request) = self.hear().await else {
            panic!("no request");
        };
        self.send(frame(&request)).await;
        String::from_utf8(request).expect("text")
    }
}
