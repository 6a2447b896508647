//! Certificates of the tests, and clients of TLS without any of the library's code.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tcs::transport::Tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ConfigBuilder, DEFAULT_VERSIONS, RootCertStore, ServerConfig,
        SupportedProtocolVersion,
        client::WantsClientCert,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        server::WebPkiClientVerifier,
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

use crate::Scratch;

/// A root of the tests.
pub struct Root(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in files.
#[derive(Debug)]
pub struct Identity {
    pub certificate: Scratch,
    pub key: Scratch,
}

impl Root {
    /// Creates a root.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let (params, key) = Self::params();
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    /// Creates an intermediate authority, whose certificate is signed by this root.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        let (params, key) = Self::params();
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("an authority"))
    }

    fn params() -> (CertificateParams, KeyPair) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two roots with one name would be taken for each other.
        let name = format!("root {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().expect("random numbers"))
    }

    /// Returns a file with the root.
    pub fn file(&self) -> Scratch {
        Scratch::new(&self.0.pem())
    }

    /// Issues a certificate for `name`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| ())
    }

    /// Issues a certificate for `name`, changed by `change`.
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("random numbers");
        let issued = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            certificate: Scratch::new(&issued.pem()),
            key: Scratch::new(&key.serialize_pem()),
        }
    }

    /// Returns the configuration of a client that trusts this root.
    pub fn client(&self, identity: Option<&Identity>) -> ClientConfig {
        let config = self.client_of(DEFAULT_VERSIONS);
        let Some(identity) = identity else {
            return config.with_no_client_auth();
        };
        let (chain, key) = identity.read();
        config.with_client_auth_cert(chain, key).expect("a pair")
    }

    fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(self.store())
    }

    fn store(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }
}

impl Identity {
    /// Returns the configuration of a server without any of the library's code. It requires certificates of
    /// clients from `client_root`, if that is given.
    pub fn raw_server(&self, client_root: Option<&Root>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("known versions");
        let config = match client_root {
            None => config.with_no_client_auth(),
            Some(root) => {
                let roots = Arc::new(root.store());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().expect("a root"))
            }
        };
        let (chain, key) = self.read();
        config.with_single_cert(chain, key).expect("a pair")
    }

    /// Returns the configuration of a server of one version whose key need not be that of its certificate.
    pub fn raw_server_unchecked(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let (chain, key) = self.read();
        let key = ring::sign::any_supported_type(&key).expect("a key");
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("known versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver))
    }

    fn read(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(&self.certificate).expect("a file");
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        (chain, key)
    }

    /// Returns a server's TLS with this certificate. Its files are read again by its setters and by `reload`.
    pub fn server(&self) -> Tls {
        Tls::from_pem(&self.certificate, &self.key).expect("good files")
    }
}

/// The root and the server of the tests that run over each transport. A static is never dropped, so it has no files.
static SHARED: LazyLock<(Root, Tls)> = LazyLock::new(|| {
    let root = Root::new();
    let server = root.issue("localhost").server();
    (root, server)
});

/// Returns the TLS of a server that [`connect`] trusts.
pub fn server() -> Tls {
    SHARED.1.clone()
}

/// Returns the configuration of a client that trusts [`server`].
pub fn client() -> ClientConfig {
    SHARED.0.client(None)
}

/// Returns the configuration of a client that trusts [`server`] and speaks one version.
pub fn client_of(version: &'static SupportedProtocolVersion) -> ClientConfig {
    SHARED.0.client_of(&[version]).with_no_client_auth()
}

/// Connects to a server with the TLS of [`server`].
pub async fn connect(addr: SocketAddr) -> TlsStream<TcpStream> {
    let connected = try_connect(addr, client()).await;
    connected.expect("the handshake succeeds")
}

/// Performs the handshake with a server with the TLS of [`server`].
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> std::io::Result<TlsStream<S>> {
    handshake(stream, client()).await
}

/// Connects to a server of TLS at `localhost`.
pub async fn try_connect(
    addr: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    handshake(stream, config).await
}

async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: ClientConfig,
) -> std::io::Result<TlsStream<S>> {
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").finish_non_exhaustive()
    }
}
