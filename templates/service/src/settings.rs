//! The settings of the server, from a file.

use std::{error::Error, fs, net::SocketAddr, path::Path, path::PathBuf};

use serde::Deserialize;
use tcs::server::ServerSettings;

/// What the file may have. A name that is no setting is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub server: ServerSettings,
    /// Without it, nothing is encrypted.
    pub tls: Option<Certificate>,
    /// Where the numbers are, and whether the server is ready.
    pub monitor: Option<SocketAddr>,
}

/// The files of a certificate and its key, in PEM.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Settings {
    /// Reads a file. Its errors show its path.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let in_file = |error: &dyn Error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
        Ok(toml::from_str(&text).map_err(|error| in_file(&error))?)
    }
}
