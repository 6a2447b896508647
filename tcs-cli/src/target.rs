//! Where to connect, and how.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tcs::{
    Connection, ErrorKind,
    client::ConnectOptions,
    framing::Raw,
    transport::{ClientTls, Stream},
};
use tokio::{io::AsyncWriteExt as _, time};

use crate::{
    failure::{Exit, Failure},
    options::duration,
    socket::Socket,
};

/// The server, and how to reach it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Target {
    /// The server: HOST:PORT, tls://HOST:PORT or unix:PATH
    #[arg(value_name = "HOST:PORT", help_heading = None::<&str>)]
    pub(crate) address: String,
    /// Use TLS, with the roots of the system
    #[arg(long)]
    tls: bool,
    /// Trust the roots in this PEM file instead
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// The name that the certificate must have [default: HOST]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    server_name: Option<String>,
    /// The certificate of this client, a PEM file
    #[arg(long, value_name = "FILE", requires = "key", hide_short_help = true)]
    cert: Option<PathBuf>,
    /// The key of this client, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert", hide_short_help = true)]
    key: Option<PathBuf>,
    /// Send a PROXY header first, with this address as that of the client
    #[arg(long, value_name = "IP:PORT", hide_short_help = true)]
    proxy: Option<SocketAddr>,
    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, hide_short_help = true)]
    pub(crate) connect_timeout: Duration,
}

/// A target whose files were read, which connects any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// As it was written.
    pub(crate) address: String,
    endpoint: String,
    tls: Option<ClientTls>,
    proxy: Option<SocketAddr>,
    connect_timeout: Duration,
}

impl Target {
    /// Connects, and returns the stream.
    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        self.prepare()?.connect().await
    }

    /// Reads the certificates.
    pub(crate) fn prepare(&self) -> Result<Connector, Failure> {
        let of_tls = self.address.strip_prefix("tls://");
        let has_tls = self.tls || of_tls.is_some();
        let endpoint = of_tls.unwrap_or(&self.address).to_owned();
        if endpoint.starts_with("unix:") && (has_tls || self.proxy.is_some()) {
            let message =
                "--tls and --proxy are for HOST:PORT, and not for the path of a Unix socket";
            return Err(Failure::usage(message));
        }
        Ok(Connector {
            address: self.address.clone(),
            endpoint,
            tls: self.tls(has_tls)?,
            proxy: self.proxy,
            connect_timeout: self.connect_timeout,
        })
    }

    /// Returns what TLS needs, or `None` without TLS.
    fn tls(&self, has_tls: bool) -> Result<Option<ClientTls>, Failure> {
        if !has_tls {
            let needs_tls = self.insecure
                || [&self.ca, &self.cert].iter().any(|it| it.is_some())
                || self.server_name.is_some();
            if needs_tls {
                let message = "--ca, --insecure, --cert and --server-name need --tls";
                return Err(Failure::usage(message));
            }
            return Ok(None);
        }
        let mut tls = match &self.ca {
            Some(path) => ClientTls::with_roots(path)?,
            None if self.insecure => ClientTls::from_config(trusting()?),
            None => ClientTls::new()?,
        };
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(certificate, key)?;
        }
        Ok(Some(tls))
    }
}

impl Connector {
    /// Connects, and returns the stream.
    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        let socket = self.open().await?;
        let peer = socket.peer_addr();
        self.handshake(socket.into(), peer).await
    }

    /// Connects, and returns the stream and the socket below it.
    pub(crate) async fn connect_socket(&self) -> Result<(Stream, Socket), Failure> {
        let socket = self.open().await?;
        let peer = socket.peer_addr();
        let (stream, socket) = socket.into_stream().map_err(|it| self.not_open(&it))?;
        Ok((self.handshake(stream, peer).await?, socket))
    }

    async fn open(&self) -> Result<Socket, Failure> {
        let opened = time::timeout(self.connect_timeout, Socket::connect(&self.endpoint)).await;
        let opened = opened.unwrap_or_else(|_| {
            let message = format!("no answer within {:?}", self.connect_timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        });
        opened.map_err(|error| self.not_open(&error))
    }

    fn not_open(&self, error: &io::Error) -> Failure {
        let address = &self.address;
        let failure = Failure::new(
            Exit::Connect,
            format_args!("cannot connect to {address}: {error}"),
        );
        match error.kind() {
            io::ErrorKind::InvalidInput => {
                failure.hint("write the address as HOST:PORT, tls://HOST:PORT or unix:PATH")
            }
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                failure.hint("nothing listens there: start the server, or check the address")
            }
            io::ErrorKind::TimedOut => failure.hint("check the host, or raise --connect-timeout"),
            // The standard library has no kind for it.
            _ if failure.message.contains("failed to lookup") => {
                failure.hint("check the name of the host")
            }
            _ => failure,
        }
    }

    /// Sends the PROXY header, and performs the handshake of TLS, as the options say.
    async fn handshake(
        &self,
        mut stream: Stream,
        peer: Option<SocketAddr>,
    ) -> Result<Stream, Failure> {
        let address = &self.endpoint;
        if let Some(client) = self.proxy {
            let header = proxy_header(client, peer);
            stream.write_all(header.as_bytes()).await.map_err(|error| {
                Failure::new(
                    Exit::Connect,
                    format_args!("cannot send the PROXY header: {error}"),
                )
            })?;
        }
        let Some(tls) = &self.tls else {
            return Ok(stream);
        };
        let host = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let options = ConnectOptions::new().connect_timeout(self.connect_timeout);
        let connection: Connection<Raw> = options.over(stream)?;
        let secured = connection.start_tls(tls, host).await;
        let connection = secured.map_err(not_secured)?;
        Ok(connection.into_parts()?.stream)
    }
}

/// Tells why TLS has failed.
fn not_secured(error: tcs::Error) -> Failure {
    let kind = error.kind();
    let mut failure = Failure::from(error);
    if kind == ErrorKind::Setting {
        return failure;
    }
    failure.exit = Exit::Connect;
    let has = |part: &str| failure.message.contains(part);
    let hint = if kind == ErrorKind::TimedOut {
        "check the host, or raise --connect-timeout"
    } else if has("certificate") || has("UnknownIssuer") {
        "trust its issuer with --ca FILE, set --server-name NAME, or use --insecure"
    } else {
        "the server may not speak TLS at this port: leave out --tls"
    };
    failure.hint(hint)
}

/// Returns a PROXY header of version 1.
fn proxy_header(client: SocketAddr, server: Option<SocketAddr>) -> String {
    let server = server.unwrap_or(client);
    let (from, to) = (client.ip(), server.ip());
    let ports = format!("{} {}", client.port(), server.port());
    if from.is_ipv4() && to.is_ipv4() {
        return format!("PROXY TCP4 {from} {to} {ports}\r\n");
    }
    let v6 = |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    format!("PROXY TCP6 {} {} {ports}\r\n", v6(from), v6(to))
}

/// Returns a configuration that trusts any certificate.
fn trusting() -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::usage(format_args!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts any certificate. That the server has its key is verified by the signature of the handshake.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_both_addresses_of_one_family() {
        let address = |text: &str| text.parse().expect("an address");
        let header = proxy_header(address("192.0.2.1:5"), Some(address("127.0.0.1:80")));
        assert_eq!(header, "PROXY TCP4 192.0.2.1 127.0.0.1 5 80\r\n");
        let header = proxy_header(address("192.0.2.1:5"), Some(address("[::1]:80")));
        assert_eq!(header, "PROXY TCP6 ::ffff:192.0.2.1 ::1 5 80\r\n");
    }
}
