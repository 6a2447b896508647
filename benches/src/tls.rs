//! The certificate of the servers over TLS, and the stream of a client, with TLS or without.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tcs::transport::create_self_signed;

/// Returns the files of the certificate and its key, which are beside the program. Makes them if there are none.
pub fn identity() -> io::Result<(PathBuf, PathBuf)> {
    let program = env::current_exe()?;
    let files = (
        program.with_file_name("tls.pem"),
        program.with_file_name("tls.key"),
    );
    // Programs that start at the same time would make one each.
    let lock = File::create(program.with_file_name("tls.lock"))?;
    lock.lock()?;
    create_self_signed(&files.0, &files.1).map_err(io::Error::other)?;
    Ok(files)
}

/// Returns the configuration of a client, which trusts that certificate.
pub fn client_config() -> io::Result<Arc<ClientConfig>> {
    let (certificate, _) = identity()?;
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The stream of a client, blocking or not.
pub enum ClientStream<S: Read + Write> {
    /// Without TLS.
    Plain(S),
    /// With TLS. The first write or flush performs the handshake.
    Tls(Box<StreamOwned<ClientConnection, S>>),
}

impl<S: Read + Write> ClientStream<S> {
    /// Begins TLS if there is a configuration.
    pub fn new(stream: S, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else {
            return Ok(Self::Plain(stream));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let connection = connection.map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Returns the socket.
    pub fn socket(&mut self) -> &mut S {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Returns `true` if a read that leaves room in its buffer has taken all bytes of the socket. With TLS, it has
    /// taken a record.
    pub fn short_read_is_last(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl<S: Read + Write> Read for ClientStream<S> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl<S: Read + Write> Write for ClientStream<S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    /// Sends the records that a socket has not taken.
    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
