//! The service, called by its client.

use std::{error::Error, fs, path::Path, process::Command, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Peer,
    client::ConnectOptions,
    transport::{ClientTls, Tls, create_self_signed},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use {{crate_name}}::{Counter, GreetError, monitor, operations, settings::Settings};

/// In memory: no port, and nothing to wait for.
#[tokio::test]
async fn greeted_are_counted() -> Result<(), Box<dyn Error>> {
    let (near, far) = tokio::io::duplex(1024);
    let server = ConcurrentServer::new(operations::Protocol::new(Counter::default()));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));

    let mut client = operations::Client::over(Connection::over(near));
    assert_eq!(client.greet("Ann").await?, Ok("Hello, Ann!".to_owned()));
    assert_eq!(client.greet("").await?, Err(GreetError::NoName));
    assert_eq!(client.count().await?, 1);

    drop(client);
    assert_eq!(serving.await??.requests.served, 3);
    Ok(())
}

/// With a certificate, at a free port.
#[tokio::test]
async fn service_is_reached_over_tls() -> Result<(), Box<dyn Error>> {
    let folder = env!("CARGO_TARGET_TMPDIR");
    fs::create_dir_all(folder)?;
    let (certificate, key) = (format!("{folder}/cert.pem"), format!("{folder}/key.pem"));
    create_self_signed(&certificate, &key)?;
    let server = ConcurrentServer::new(operations::Protocol::new(Counter::default()))
        .port(0)
        .tls(Tls::from_pem(&certificate, &key)?)
        .bind()
        .await?;
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.listen());

    let options = ConnectOptions::new().tls(ClientTls::pinned(&certificate)?);
    let connection = options.connect(format!("tls://localhost:{}", address.port()));
    let mut client = operations::Client::over(connection.await?);
    assert_eq!(client.greet("Bob").await?, Ok("Hello, Bob!".to_owned()));

    drop(client);
    handle.stop();
    assert_eq!(serving.await??.requests.served, 1);
    Ok(())
}

/// Prometheus reads the numbers, and a balancer sees the stop while the server still serves.
#[tokio::test]
async fn monitor_has_the_numbers_and_the_stop() -> Result<(), Box<dyn Error>> {
    let server = ConcurrentServer::new(operations::Protocol::new(Counter::default()))
        .port(0)
        .lame_duck(Duration::from_secs(60))
        .bind()
        .await?;
    let (address, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.listen());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let monitor = listener.local_addr()?.to_string();
    tokio::spawn(monitor::serve(listener, handle.clone()));

    let mut client = operations::Client::over(Connection::connect(address).await?);
    assert_eq!(client.count().await?, 0);
    // One that says nothing does not delay the next.
    let _silent = TcpStream::connect(&monitor).await?;
    let numbers = timeout(Duration::from_secs(3), get(&monitor, "/metrics")).await??;
    assert!(numbers.contains("\ntcs_connections_open 1\n"), "{numbers}");
    let requests = "# TYPE tcs_requests_total counter\ntcs_requests_total{outcome=\"served\"} 1\n";
    assert!(numbers.contains(requests), "{numbers}");
    let ready = get(&monitor, "/").await?;
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n"), "{ready}");

    handle.stop();
    let stopping = get(&monitor, "/").await?;
    assert!(stopping.starts_with("HTTP/1.1 503 "), "{stopping}");
    assert_eq!(client.count().await?, 0);

    handle.abort();
    assert!(serving.await?.is_err());
    Ok(())
}

async fn get(monitor: &str, path: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(monitor).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {monitor}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/{{project-name}}.toml");

/// The file as it is, and with the lines for TLS.
#[test]
fn file_has_valid_settings() -> Result<(), Box<dyn Error>> {
    let settings = Settings::read(Path::new(FILE))?;
    assert!(settings.monitor.is_some());
    assert!(settings.tls.is_none());

    let mut text = fs::read_to_string(FILE)?;
    for line in ["[tls]", "certificate =", "key ="] {
        text = text.replace(&format!("\n# {line}"), &format!("\n{line}"));
    }
    let settings: Settings = toml::from_str(&text)?;
    let tls = settings.tls.ok_or("there is no `tls`")?;
    assert!(tls.certificate.is_absolute() && tls.key.is_absolute());
    Ok(())
}

/// The process ends with a message for people.
#[test]
fn error_at_the_start_is_readable() -> Result<(), Box<dyn Error>> {
    let misspelt = concat!(env!("CARGO_TARGET_TMPDIR"), "/misspelt.toml");
    fs::write(misspelt, "[servr]\n")?;
    let printed = fails_to_start(misspelt, "PORT")?;
    assert!(printed.contains("\n1 | [servr]\n"), "{printed}");

    let printed = fails_to_start(FILE, "PROT")?;
    let variable = "environment variables SERVER__…: unknown field `prot`";
    assert!(printed.contains(variable), "{printed}");
    Ok(())
}

/// Returns what is printed.
fn fails_to_start(file: &str, variable: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new(env!("CARGO_BIN_EXE_{{project-name}}"))
        .arg(file)
        .env(format!("SERVER__{variable}"), "0")
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    Ok(String::from_utf8(output.stderr)?)
}

/// What a tool sees of it: `tcs describe`.
#[test]
fn service_describes_itself() {
    let text = operations::describe();
    let greet = r#""name":"greet","docs":"Greets somebody by name.""#;
    assert!(text.contains(greet), "{text}");
}
