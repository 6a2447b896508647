//! Server-side TLS.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection,
    pki_types::CertificateDer,
    server::{Acceptor, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::{
    Handshake, Stream, close,
    handshake::nothing_sent,
    pem::{provider, read_identity, read_roots},
    tls_error::explain_handshake,
};
use crate::{ConnectionInfo, Error, FromContext, Peer, Rejection, Result};

/// The time in which a peer may close after its handshake has failed.
const FAILED_HANDSHAKE_LINGER: Duration = Duration::from_secs(1);

/// TLS at a server: its certificate and key, and its requirements on clients.
///
/// Needs the feature `tls`. Versions 1.2 and 1.3, with the cipher suites of `rustls`. Each [`Peer`] has a [`TlsInfo`].
///
/// # Examples
///
/// ```no_run
/// use tcs::{ConcurrentServer, server_protocol, transport::Tls};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn main() -> tcs::Result<()> {
///     ConcurrentServer::new(Greet).tls(Tls::from_pem("cert.pem", "key.pem")?).run()
/// }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    /// The files, unless the configuration was made by the user.
    files: Option<Files>,
    /// Held by a reload, so that one which began earlier does not end later, with older files.
    reloading: Mutex<()>,
    config: RwLock<Arc<ServerConfig>>,
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_roots: Option<PathBuf>,
    alpn: Vec<Vec<u8>>,
}

impl Tls {
    /// Reads the server's certificate, with the chain to its root, and its key from PEM files.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if a file cannot be read, has no certificate or key, or if
    /// the key is not that of the certificate.
    pub fn from_pem(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        Self::from_files(Files {
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
            client_roots: None,
            alpn: Vec::new(),
        })
    }

    /// Uses a configuration of `rustls` 0.23, for settings that the other methods do not offer, such as optional
    /// certificates of clients.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Inner {
            files: None,
            reloading: Mutex::default(),
            config: RwLock::new(config),
        }))
    }

    /// Requires a certificate from each client, signed by a root in this PEM file (mutual TLS).
    ///
    /// A client without a certificate is not served. With TLS 1.3, it connects successfully, and its first call fails.
    /// [`TlsInfo::peer_certificates`] returns the certificate in a protocol function.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if the file cannot be read or has no root, and on a
    /// value of [`from_config`](Self::from_config).
    pub fn require_client_certificates(self, roots: impl AsRef<Path>) -> Result<Self> {
        let client_roots = Some(roots.as_ref().to_owned());
        Self::from_files(Files {
            client_roots,
            ..self.files()?
        })
    }

    /// Sets the protocols that the server offers by ALPN (RFC 7301), the preferred one first. A client that offers
    /// others is rejected. Default: none.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) on a value of [`from_config`](Self::from_config).
    pub fn alpn<N: Into<Vec<u8>>>(self, protocols: impl IntoIterator<Item = N>) -> Result<Self> {
        let alpn = protocols.into_iter().map(Into::into).collect();
        Self::from_files(Files {
            alpn,
            ..self.files()?
        })
    }

    /// Reads all files again: the certificate, the key, and the roots of client certificates. New connections use them,
    /// and open connections keep theirs.
    ///
    /// Clones share the files, so reload a clone of the value that you passed to the server. Create the clone after you
    /// call [`alpn`](Self::alpn) and [`require_client_certificates`](Self::require_client_certificates): the values
    /// that these return share nothing with earlier clones.
    ///
    /// # Examples
    ///
    /// On SIGHUP:
    ///
    /// ```no_run
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// use tcs::{ConcurrentServer, transport::Tls};
    ///
    /// # #[cfg(unix)]
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     use tokio::signal::unix::{SignalKind, signal};
    ///
    ///     let tls = Tls::from_pem("cert.pem", "key.pem")?.require_client_certificates("clients.pem")?;
    ///     let served = tls.clone();
    ///     let mut hang_up = signal(SignalKind::hangup())?;
    ///     tokio::spawn(async move {
    ///         while hang_up.recv().await.is_some() {
    ///             if let Err(error) = tls.reload() {
    ///                 eprintln!("the earlier certificate stays in use: {error}");
    ///             }
    ///         }
    ///     });
    ///     ConcurrentServer::new(Greet).tls(served).listen_until_signal().await?;
    ///     Ok(())
    /// }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if the files are not valid, and on a value of
    /// [`from_config`](Self::from_config). The earlier certificate stays in use.
    pub fn reload(&self) -> Result<()> {
        let reloading = self.0.reloading.lock();
        let _reloading = reloading.unwrap_or_else(PoisonError::into_inner);
        // The files are read before the configuration is locked: handshakes go on meanwhile, and after an error the
        // earlier certificate stays in use.
        let read = self.files()?.read()?;
        let config = self.0.config.write();
        *config.unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn from_files(files: Files) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            config: RwLock::new(files.read()?),
            reloading: Mutex::default(),
            files: Some(files),
        })))
    }

    fn config(&self) -> Arc<ServerConfig> {
        let config = self.0.config.read();
        // This copies the pointer, so that a handshake, which takes long, does not hold the lock.
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    fn files(&self) -> Result<Files> {
        let files = self.0.files.clone();
        files.ok_or_else(|| Error::setting("tls", "was made by `from_config`; set it there"))
    }
}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>> {
        let (chain, key) = read_identity(&self.certificate, &self.key)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::tls("TLS versions", error))?;
        let config = match &self.client_roots {
            None => config.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = verifier
                    .build()
                    .map_err(|error| Error::tls(path.display(), error))?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let mut config = config
            .with_single_cert(chain, key)
            .map_err(|error| Error::tls(self.key.display(), error))?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(Arc::new(config))
    }
}

impl Handshake for Tls {
    async fn perform(&self, mut stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
        // The buffer is as short as possible: it shows that there is a first byte, and later reads bypass it. A peer
        // that sends nothing and closes is a health check of a balancer. This is not an error of TLS, and is not logged
        // as one.
        let mut hello = BufReader::with_capacity(1, &mut stream);
        if !matches!(hello.fill_buf().await, Ok([_])) {
            return Err(nothing_sent());
        }
        let accepted = LazyConfigAcceptor::new(Acceptor::default(), hello).await;
        let (error, stream) = match accepted.map(|start| start.accepted) {
            Ok(accepted) => {
                // The handshake continues without the buffer, which would cost time at each read of the connection.
                let start = StartHandshake::from_parts(accepted, stream);
                match start.into_stream(self.config()).into_fallible().await {
                    Ok(stream) => {
                        peer.insert(TlsInfo::of(stream.get_ref().1));
                        return Ok(Stream::new(stream));
                    }
                    Err(failed) => failed,
                }
            }
            Err(error) => (error, stream),
        };
        // The peer receives an alert with the problem. If sending it fails, the peer is gone.
        timeout(FAILED_HANDSHAKE_LINGER, close(stream)).await.ok();
        Err(explain_handshake(error, "client"))
    }

    fn may_change_addr(&self, _peer: &Peer) -> bool {
        false
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.0.files)
            .finish_non_exhaustive()
    }
}

/// Information about a TLS connection at a server. It is a [detail](Peer::get) of the peer, and can be a parameter of
/// protocol functions.
///
/// # Examples
///
/// ```
/// use tcs::{server_protocol, transport::TlsInfo};
///
/// #[server_protocol]
/// fn whoami(_request: &str, tls: &TlsInfo) -> String {
///     match tls.peer_certificates() {
///         [] => "you have no certificate".to_owned(),
///         [own, ..] => format!("your certificate has {} bytes", own.len()),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TlsInfo {
    peer_certificates: Vec<CertificateDer<'static>>,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
}

impl TlsInfo {
    fn of(connection: &ServerConnection) -> Self {
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            peer_certificates: certificates.to_vec(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name: connection.server_name().map(str::to_owned),
        }
    }

    /// Returns the certificates of the peer in DER, its own first. Empty if the peer has sent none: a server asks for
    /// certificates only with [`require_client_certificates`](Tls::require_client_certificates), or with a
    /// configuration that says so.
    ///
    /// To read the subject of a certificate, use a parser such as the crate `x509-parser`.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.peer_certificates
    }

    /// Returns the protocol that both ends have chosen by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Returns the name of the server that the peer asked for (SNI, RFC 6066).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

/// Rejects the request if the connection is not over TLS.
impl<'a> FromContext<'a> for &'a TlsInfo {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        info.peer()
            .get()
            .ok_or_else(|| Rejection::bad_request("this function needs a connection over TLS"))
    }
}

#[cfg(all(test, unix, feature = "self-signed"))]
mod tests {
    use std::{fs, process::Command, thread};

    use super::*;

    /// If a reload that began earlier could end later, its older files would replace newer ones.
    #[test]
    fn reload_holds_off_others_while_it_reads() {
        let name = format!("tcs-reload-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a free name");
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        super::super::create_self_signed(&certificate, &key).expect("a writable folder");
        let tls = Tls::from_pem(&certificate, &key).expect("a good pair");
        let pem = fs::read(&key).expect("it was written");
        fs::remove_file(&key).expect("it is there");
        let made = Command::new("mkfifo").arg(&key).status();
        assert!(made.expect("every Unix has mkfifo").success());
        thread::scope(|scope| {
            let reloading = scope.spawn(|| tls.reload());
            // This waits for the reader.
            let writer = fs::File::options().write(true).open(&key);
            let is_held = tls.0.reloading.try_lock().is_err();
            io::Write::write_all(&mut writer.expect("a reader"), &pem).expect("a reader");
            reloading.join().expect("no panic").expect("a good pair");
            assert!(is_held);
        });
        assert!(tls.0.reloading.try_lock().is_ok());
        fs::remove_dir_all(folder).expect("it is there");
    }
}
