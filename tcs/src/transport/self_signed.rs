//! A certificate for development.

use std::{fs, io::Write as _, path::Path};

use crate::{Error, Result};

/// Creates a self-signed certificate and its key in PEM files, unless both exist already. For development.
///
/// Needs the feature `self-signed`. The certificate is for `localhost`, `127.0.0.1` and `::1`. The key is readable by its
/// owner alone. A server reads both with [`Tls::from_pem`](super::Tls::from_pem); a client trusts the certificate with
/// [`ClientTls::pinned`](super::ClientTls::pinned). The folder must exist; in tests, make one for each. Let one process
/// create the files before others start: two processes that create them at the same time do not wait for each other.
///
/// # Errors
///
/// Returns [`Setting`](crate::ErrorKind::Setting) if one of the files exists without the other, or cannot be
/// written.
pub fn create_self_signed(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<()> {
    let (certificate, key) = (certificate.as_ref(), key.as_ref());
    let missing = match (certificate.exists(), key.exists()) {
        (true, true) => return Ok(()),
        (false, false) => None,
        (true, false) => Some(key),
        (false, true) => Some(certificate),
    };
    if let Some(path) = missing {
        // A new file would not belong to the other one, and the next call would not notice that.
        let reason = "is missing, and the other file of the pair is not";
        return Err(Error::tls(path.display(), reason));
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names);
    let made = made.map_err(|error| Error::tls("a self-signed certificate", error))?;
    write_new(key, &made.signing_key.serialize_pem(), 0o600)?;
    write_new(certificate, &made.cert.pem(), 0o644).inspect_err(|_| drop(fs::remove_file(key)))
}

/// Writes a file that does not exist yet, with these permissions from the start.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let failed = |error| Error::tls(path.display(), error);
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes());
    // The next call would take a partial file, such as after a full disk, for a complete one.
    written.map_err(|error| {
        drop(fs::remove_file(path));
        failed(error)
    })
}
