//! A client for one exchange.

use tokio::runtime::Builder;

use super::ConnectOptions;
use crate::{
    Address, Result,
    protocol::ClientProtocol,
    runtime::{Instead, block_on, inside_runtime},
};

/// A client for one exchange: it connects, sends a request, processes the reply, and closes the
/// connection.
///
/// To keep the connection, use [`Connection`](crate::Connection). To share it among tasks, use [`Channel`](crate::Channel).
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
    /// Creates a client of the server at 127.0.0.1:1234, with the default [`ConnectOptions`].
    pub fn new(protocol: P) -> Self {
        Self {
            protocol,
            address: Address::localhost(),
            options: ConnectOptions::new(),
        }
    }

    /// Sets the name or IP address of the server. Default: 127.0.0.1.
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

    /// Sets the timeouts and the limits. Default: those of [`ConnectOptions::new`](crate::client::ConnectOptions::new).
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs the exchange on the current runtime. Returns the output of the protocol's `process_reply`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectOptions::connect`](crate::client::ConnectOptions::connect) and of [`Connection::exchange`](crate::Connection::exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. Whether the request is executed is then unknown.
    pub async fn open(self) -> Result<P::Output> {
        inside_runtime("open()", Instead::Run)?;
        let mut connection = self.options.connect(self.address).await?;
        let output = connection.exchange(self.protocol).await?;
        connection.close().await;
        Ok(output)
    }

    /// Runs the exchange on a new current-thread runtime.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`Runtime`](crate::ErrorKind::Runtime) inside of a tokio
    /// runtime.
    pub fn run(self) -> Result<P::Output> {
        block_on("open()", Builder::new_current_thread, self.open())
    }
}
