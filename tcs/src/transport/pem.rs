//! The cryptography of both ends of TLS, and the certificates and keys in PEM files.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{Error, Result};

/// Returns the cryptography in use. The provider is explicit, because rustls panics if two are compiled in and none is
/// chosen.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a certificate with its chain, and its key.
pub(super) fn read_identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = read_certificates(certificate)?;
    let parsed = PrivateKeyDer::from_pem_file(key);
    let key = parsed.map_err(|error| Error::tls(key.display(), error))?;
    Ok((chain, key))
}

/// Reads the certificates of a PEM file, at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |error| Error::tls(path.display(), error);
    let certificates = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() {
        let reason = "it has no certificate in PEM";
        return Err(Error::tls(path.display(), reason));
    }
    Ok(certificates)
}

/// Reads the root certificates of a PEM file, at least one.
pub(super) fn read_roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| Error::tls(path.display(), error))?;
    }
    Ok(roots)
}
