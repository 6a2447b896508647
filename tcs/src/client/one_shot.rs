//! A client for one exchange.

use tokio::{runtime::Builder, time::timeout};

use super::{
    connection::Connection,
    options::{CLOSE_TIMEOUT, ConnectOptions},
};
use crate::{
    Result,
    framing::Framing,
    protocol::ClientProtocol,
    runtime::{block_on, inside_runtime},
    transport::Address,
};

/// A client for one exchange: it connects, sends a request, processes the reply, and closes the
/// connection.
///
/// To keep the connection, use [`Connection`](crate::Connection). To share it among tasks, use
/// [`Channel`](crate::Channel).
///
/// # Examples
///
/// ```no_run
/// use tcs::{Client, client_protocol};
///
/// #[client_protocol(request = "Ann")]
/// fn print_reply(reply: &str) {
///     println!("Response: {reply}");
/// }
///
/// fn main() -> tcs::Result<()> {
///     Client::new(PrintReply).run()
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a client does nothing until it runs: call `run()`, or `open().await`"]
pub struct Client<P> {
    protocol: P,
    address: Address,
    options: ConnectOptions,
}

impl<P: ClientProtocol> Client<P> {
    /// Creates a client for the server at 127.0.0.1:1234, with the default [`ConnectOptions`].
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            address: Address::localhost(),
            options: ConnectOptions::new(),
        }
    }

    /// Sets the name or IP address of the server, without a port: [`address`](Self::address) sets both. A client
    /// of an address `tls://…` still uses TLS. Default: 127.0.0.1.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.address.set_host(host.into());
        self
    }

    /// Sets the port. Default: 1234.
    pub fn port(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// Sets the host and the port, such as `"localhost:7000"`. Default: 127.0.0.1:1234.
    pub fn address(mut self, address: impl Into<Address>) -> Self {
        self.address.replace(address.into());
        self
    }

    /// Sets the timeouts and the limits. Default: [`ConnectOptions::new`](crate::client::ConnectOptions::new).
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs the exchange on the current runtime, and returns the output of the protocol's `process_reply`.
    ///
    /// Closing the connection takes at most another second.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ConnectOptions::connect`](crate::client::ConnectOptions::connect), such as
    /// [`Runtime`](crate::ErrorKind::Runtime) outside of a tokio runtime, and of
    /// [`Connection::exchange`](crate::Connection::exchange).
    ///
    /// # Panics
    ///
    /// Panics as [`ConnectOptions::connect`](crate::client::ConnectOptions::connect) does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. Whether the request is executed is then unknown.
    pub async fn open(self) -> Result<P::Output> {
        inside_runtime("open()")?;
        let mut connection = self.options.connect(self.address).await?;
        let output = connection.exchange(self.protocol).await?;
        close(connection).await;
        Ok(output)
    }

    /// Runs the exchange on a new current-thread runtime.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open), and [`Runtime`](crate::ErrorKind::Runtime) inside a tokio runtime.
    pub fn run(self) -> Result<P::Output> {
        block_on("open()", Builder::new_current_thread, self.open())
    }
}

/// Closes the connection, or drops it after [`CLOSE_TIMEOUT`].
async fn close<F: Framing>(connection: Connection<F>) {
    drop(timeout(CLOSE_TIMEOUT, connection.close()).await);
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::{
        io::{AsyncRead, AsyncWrite, ReadBuf},
        time::Instant,
    };

    use super::*;
    use crate::framing::Lines;

    /// A stream to a peer that neither sends nor reads.
    struct Stuck;

    impl AsyncRead for Stuck {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn output_does_not_wait_for_a_peer_that_does_not_read() {
        let options = ConnectOptions::new().reply_timeout(None);
        let connection = options.over::<Lines>(Stuck).expect("valid options");
        let began = Instant::now();
        let limit = 2 * CLOSE_TIMEOUT;
        timeout(limit, close(connection)).await.expect("it ends");
        assert_eq!(began.elapsed(), CLOSE_TIMEOUT);
    }
}
