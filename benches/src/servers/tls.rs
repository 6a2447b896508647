//! `L1b` over TLS, as one writes it by hand with tokio-rustls.

use std::{io, sync::Arc};

use bytes::{Buf as _, BytesMut};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{MAX_FRAME_LEN, l1b};
use crate::tls::identity;

/// Serves until the listener fails.
pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(config()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handshake = acceptor.accept(stream);
        tokio::spawn(async move { connection(handshake.await?).await });
    }
}

/// Returns what `Tls::from_pem` sets, so that both servers do the same work.
fn config() -> io::Result<Arc<ServerConfig>> {
    let (certificate, key) = identity()?;
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

// A copy of the loop of `L1b`: a flush, which TCP does not need, would change the code of the yardstick.
async fn connection(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = BytesMut::with_capacity(8 * 1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((header, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > MAX_FRAME_LEN {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = rest.get(..length) else {
                break;
            };
            l1b::bytes(message, &mut output)?;
            input.advance(4 + length);
        }
        input.reserve(8 * 1024);
        stream.write_all(&output).await?;
        // Sends the records that the socket has not taken.
        stream.flush().await?;
        output.clear();
    }
}
