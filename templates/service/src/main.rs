//! The server. Its argument is the file of its settings, such as `{{project-name}}.toml`.

use std::{env, error::Error, io, path::Path, process::ExitCode};

use tcs::{ConcurrentServer, server::ServerSettings, transport::Tls};
use tokio::net::TcpListener;

use {{crate_name}}::{
    Counter, monitor, operations,
    settings::{Certificate, Settings},
};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let settings = match env::args_os().nth(1) {
        Some(path) => Settings::read(Path::new(&path))?,
        None => Settings::default(),
    };
    let mut server = ConcurrentServer::new(operations::Protocol::new(Counter::default()))
        .settings(&settings.server)
        // `SERVER__PORT=7001` overrides the file. With one underscore, `SERVER_PORT` is a variable that Kubernetes
        // sets if a Service is named `server`.
        .settings(&ServerSettings::from_env("SERVER__")?);
    if let Some(Certificate { certificate, key }) = &settings.tls {
        let tls = Tls::from_pem(certificate, key)?;
        #[cfg(unix)]
        reload_on_hangup(tls.clone())?;
        server = server.tls(tls);
    }
    #[cfg(unix)]
    {
        server = server.notify_systemd();
    }
    let server = server.bind().await?;
    if let Some(address) = settings.monitor {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| format!("`monitor` of {address}: {error}"))?;
        tokio::spawn(monitor::serve(listener, server.handle()));
    }
    // Until Ctrl-C or SIGTERM. Then the requests in flight are answered.
    let report = server.listen_until_signal().await?;
    tracing::info!(%report, "stopped");
    Ok(())
}

/// Reads the certificate again at each SIGHUP, for when it has been renewed. New connections get it.
#[cfg(unix)]
fn reload_on_hangup(tls: Tls) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate is reloaded"),
                Err(error) => tracing::warn!(%error, "the earlier certificate stays in use"),
            }
        }
    });
    Ok(())
}
