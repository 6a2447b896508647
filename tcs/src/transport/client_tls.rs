//! Client-side TLS.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::TlsConnector;

use super::{
    Stream,
    pem::{provider, read_certificates, read_identity, read_roots},
    tls_error::{NotPinned, explain_handshake},
};
use crate::{Error, Result};

/// The most bytes of a record, and the header, which the setting of `rustls` includes.
const MAX_RECORD_LEN: u16 = 1 << 14;
const HEADER_LEN: usize = 5;

/// TLS at a client: which servers it trusts, and its own certificate.
///
/// Needs the feature `tls`. An address `tls://host:port` uses [`new`](Self::new). To use another value, set it with
/// [`ConnectOptions::tls`](crate::client::ConnectOptions::tls).
///
/// # Examples
///
/// ```no_run
/// # #[tcs::server_protocol]
/// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
/// # async fn example() -> tcs::Result<()> {
/// use tcs::{client::ConnectOptions, transport::ClientTls};
///
/// let options = ConnectOptions::new().tls(ClientTls::with_roots("root.pem")?);
/// let mut connection = options.connect("localhost:1234").await?;
/// let reply = connection.call::<Greet>("Ann").await?;
/// # assert_eq!(reply, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Trusts the roots of the operating system.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if they cannot be read.
    pub fn new() -> Result<Self> {
        let verifier = rustls_platform_verifier::Verifier::new(provider());
        let verifier = verifier.map_err(|error| Error::tls("the platform's roots", error))?;
        Self::of(Arc::new(verifier))
    }

    /// Trusts the roots in a PEM file, and no others.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if the file cannot be read or has no root.
    pub fn with_roots(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let roots = Arc::new(read_roots(path)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        Self::of(verifier.map_err(|error| Error::tls(path.display(), error))?)
    }

    /// Trusts exactly the server that has the first certificate of a PEM file, whatever its name, its issuer and
    /// its dates are. The certificate must be of X.509 version 3.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if the file cannot be read or has no certificate.
    pub fn pinned(path: impl AsRef<Path>) -> Result<Self> {
        // The first certificate is the server's own. The certificates of its issuers follow. Pinning an issuer's
        // certificate would trust all certificates that it has issued.
        let certificate = read_certificates(path.as_ref())?.swap_remove(0);
        Self::of(Arc::new(Pinned {
            certificate,
            provider: provider(),
        }))
    }

    /// Uses a configuration of `rustls` 0.23, for settings that the other methods do not offer.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            server_name: None,
        }
    }

    /// Sets the client's own certificate and key, in PEM files, for servers that require one (mutual TLS).
    ///
    /// The files are read once, here. When they are renewed, create another `ClientTls`, and another channel or
    /// connection with it.
    ///
    /// With TLS 1.3, a server rejects the certificate only after the client has connected: the first call fails.
    ///
    /// # Errors
    ///
    /// Returns [`Setting`](crate::ErrorKind::Setting) if the files are not valid.
    pub fn identity(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self> {
        let (chain, der) = read_identity(certificate.as_ref(), key.as_ref())?;
        let certified = CertifiedKey::from_der(chain, der, &provider());
        let certified = certified.map_err(|error| Error::tls(key.as_ref().display(), error))?;
        let resolver = SingleCertAndKey::from(certified);
        // A clone of the client keeps the identity that it had.
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = Arc::new(resolver);
        Ok(self)
    }

    /// Sets the protocols that the client offers by ALPN (RFC 7301), the preferred one first. Default: none.
    #[must_use]
    pub fn alpn<N: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = N>) -> Self {
        let protocols = protocols.into_iter().map(Into::into);
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Sets the name that the server's certificate must have. Connecting returns an error for a name that no
    /// certificate can have. Default: the host of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    fn of(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::tls("TLS versions", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self::from_config(Arc::new(config)))
    }

    /// Returns an error for an invalid name.
    pub(crate) fn check(&self) -> Result<()> {
        match self.server_name.as_deref().map(server_name) {
            Some(Err(error)) => Err(Error::tls("`server_name`", error)),
            _ => Ok(()),
        }
    }

    /// Performs the handshake with the server at `host`.
    pub(crate) async fn connect(&self, host: &str, stream: Stream) -> io::Result<Stream> {
        let name = server_name(self.server_name.as_deref().unwrap_or(host))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| explain_handshake(error, "server"))?;
        let max_fragment_size = self.config.max_fragment_size;
        let max_record_len =
            max_fragment_size.and_then(|it| u16::try_from(it.saturating_sub(HEADER_LEN)).ok());
        Ok(Stream::client_tls(
            stream,
            max_record_len.unwrap_or(MAX_RECORD_LEN),
        ))
    }
}

/// Returns the name that the certificate of a server must have.
fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    // The interface of a link-local address is that of this machine (RFC 4007), so no certificate has it.
    let without_interface = name.split_once('%').map_or(name, |(addr, _)| addr);
    ServerName::try_from(without_interface.to_owned()).map_err(|error| {
        let reason = format!("no certificate has the name `{name}`: {error}");
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    })
}

/// Accepts one certificate. The signature in the handshake proves that the server has its key.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Neither the name nor the time is compared: the user has chosen the pinned certificate, even if it has
        // expired.
        if *certificate == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The signature is still checked: the certificate is public, and only the signature shows that the peer has its
        // key.
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_has_the_address_without_its_interface() {
        for (name, expected) in [
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%2", "fe80::1"),
        ] {
            let name = server_name(name).expect(name);
            assert_eq!(name.to_str(), expected);
        }
        let error = server_name("a b").expect_err("no name").to_string();
        assert!(error.contains("`a b`"), "{error}");
    }
}
