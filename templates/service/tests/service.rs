//! The service, called by its client.

use std::{error::Error, fs};

use tcs::{
    ConcurrentServer, Connection, Peer,
    client::ConnectOptions,
    transport::{ClientTls, Tls, create_self_signed},
};

use {{crate_name}}::{Counter, GreetError, operations};

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

/// What a tool sees of it: `tcs describe`.
#[test]
fn service_describes_itself() {
    let text = operations::describe();
    let greet = r#""name":"greet","docs":"Greets somebody by name.""#;
    assert!(text.contains(greet), "{text}");
}
