//! The server. Its argument is the file of its settings, such as `{{project-name}}.toml`.

mod monitor;

use std::{
    env,
    error::Error,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tcs::{ConcurrentServer, server::ServerSettings, transport::Tls};
use tokio::net::TcpListener;

use {{crate_name}}::{Counter, operations};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    server: ServerSettings,
    /// Without it, nothing is encrypted.
    tls: Option<Certificate>,
    /// Where the numbers are, and whether the server is ready.
    monitor: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let settings = match env::args_os().nth(1) {
        Some(path) => read(Path::new(&path))?,
        None => Settings::default(),
    };
    let mut server = ConcurrentServer::new(operations::Protocol::new(Counter::default()))
        .settings(&settings.server)
        // `SERVER_PORT=7001` is preferred to the file.
        .settings(&ServerSettings::from_env("SERVER_")?);
    if let Some(Certificate { certificate, key }) = &settings.tls {
        server = server.tls(Tls::from_pem(certificate, key)?);
    }
    #[cfg(unix)]
    {
        server = server.notify_systemd();
    }
    let server = server.bind().await?;
    if let Some(address) = settings.monitor {
        let listener = TcpListener::bind(address).await?;
        tokio::spawn(monitor::serve(listener, server.handle()));
    }
    // Until Ctrl-C or SIGTERM. Then the requests in flight are answered.
    let report = server.listen_until_signal().await?;
    tracing::info!(%report, "stopped");
    Ok(())
}

fn read(path: &Path) -> Result<Settings, Box<dyn Error>> {
    let in_file = |error: &dyn Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
    Ok(toml::from_str(&text).map_err(|error| in_file(&error))?)
}
