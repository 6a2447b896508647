//! How a channel makes its connections.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use tokio::time::timeout;

use super::{addresses::AddressStats, backoff::Backoff};
use crate::{
    Error, Result,
    client::{connection::Connection, options::ConnectOptions},
    framing::Framing,
    panics::{lock, panic_text, poll_caught},
    sync::Mutex,
    transport::{Address, Stream},
};

/// An asynchronous function of the user's.
type BoxAsyncFn<A, T> = Box<dyn Fn(A) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync>;

/// Where the connections of a channel go.
pub(super) enum Target {
    Address(Address),
    /// A stream of the user's.
    Stream(BoxAsyncFn<(), io::Result<Stream>>),
}

/// Makes the connections of a channel.
pub(super) struct Connector<F: Framing> {
    /// Where the connections go. If there are none, the channel ends with its connection.
    pub(super) targets: Vec<Target>,
    /// Prepares a new connection, for example with a login.
    pub(super) on_connect: Option<BoxAsyncFn<Connection<F>, Result<Connection<F>>>>,
    pub(super) backoff: Backoff,
    /// When a connection is closed, pinged and replaced.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) ping_interval: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    pub(super) address_stats: Mutex<AddressStats>,
}

impl<F: Framing> Connector<F> {
    /// Creates a connector with the default settings.
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self {
            targets,
            on_connect: None,
            backoff: Backoff {
                min: Duration::from_millis(100),
                max: Duration::from_secs(10),
            },
            // A minute less than the idle timeout of a server.
            idle_timeout: Some(Duration::from_mins(4)),
            ping_interval: None,
            max_age: None,
            address_stats: Mutex::default(),
        }
    }

    /// Returns `true` if another connection follows one that has ended.
    pub(super) const fn reconnects(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Returns `true` if these connections of the channel are to the same address.
    pub(super) fn have_same_address(&self, indices: [usize; 2]) -> bool {
        let [one, other] = indices.map(|index| index.checked_rem(self.targets.len()));
        one == other
    }

    /// Returns the name of the server of the connection `index`, for logs.
    pub(super) fn server(&self, index: usize) -> String {
        match self.target(index) {
            Some(Target::Address(address)) => address.text(),
            Some(Target::Stream(_)) | None => "a stream".to_owned(),
        }
    }

    fn target(&self, index: usize) -> Option<&Target> {
        self.targets.get(index.checked_rem(self.targets.len())?)
    }

    /// Makes a connection, for the channel's connection `index`. A panic of the user's code is an error.
    ///
    /// An address that fails, also after it has accepted, or that another one overtakes, comes last in the next attempts.
    pub(super) async fn connect(
        &self,
        options: &ConnectOptions,
        index: usize,
    ) -> Result<Connection<F>> {
        let mut attempt = pin!(self.try_connect(options, index));
        let connected = poll_fn(|cx| poll_caught(attempt.as_mut(), cx)).await;
        connected
            .unwrap_or_else(|payload| Err(Error::connect_panicked(&panic_text(payload))))
            .inspect_err(|error| lock(&self.address_stats).record(error.peer_addr(), false))
    }

    async fn try_connect(&self, options: &ConnectOptions, index: usize) -> Result<Connection<F>> {
        let connection = match self.target(index) {
            Some(Target::Address(address)) => {
                // Several attempts may begin at the same time, so each connection has another first address.
                let place = index.checked_div(self.targets.len()).unwrap_or(0);
                let mut first = None;
                let order = |addrs: &mut [SocketAddr]| {
                    addrs.rotate_left(place.checked_rem(addrs.len()).unwrap_or(0));
                    lock(&self.address_stats).sort(addrs);
                    first = addrs.first().copied();
                };
                let connected = options.connect_in_order(address.clone(), order);
                let connection = connected.await?;
                if first != connection.peer().addr() {
                    // It would delay the next connection as well.
                    lock(&self.address_stats).record(first, false);
                }
                connection
            }
            Some(Target::Stream(open)) => {
                let limit = options.connect_limit();
                let opened = timeout(limit, open(())).await;
                let opened = opened.map_err(|_| Error::connect_timed_out("the server", limit))?;
                options.over(opened.map_err(Error::open)?)?
            }
            None => return Err(Error::setting("addresses", "has none")),
        };
        let Some(on_connect) = &self.on_connect else {
            return Ok(connection);
        };
        let (peer, limit) = (connection.peer().clone(), options.connect_limit());
        let connected = timeout(limit, on_connect(connection)).await;
        connected
            .unwrap_or_else(|_| Err(Error::on_connect_timed_out(&peer, limit)))
            .and_then(|mut connection| {
                // A reply that is still to come would be taken for the reply to a call.
                connection.checked_exchanges().ensure_idle()?;
                Ok(connection)
            })
            .map_err(|source| Error::on_connect(&peer, source))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    #[cfg(target_os = "linux")]
    use tokio::net::TcpSocket;

    use super::*;
    #[cfg(target_os = "linux")]
    use crate::transport::TWO_ADDRESSES;
    use crate::{Channel, client::ChannelOptions, framing::LengthPrefixed};

    /// Connects to an address that accepts, with options that make the attempt fail. Checks that the address is then the last
    /// one, and returns the error.
    async fn fail(
        with: impl FnOnce(ChannelOptions<LengthPrefixed>) -> ChannelOptions<LengthPrefixed>,
    ) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let channel: Channel = with(ChannelOptions::new(addr))
            .connect_lazily()
            .expect("good options");
        let first = channel.pool.subchannels.first().expect("one");
        let error = first.connect().await.map(drop).expect_err("it fails");
        let other = SocketAddr::from(([127, 0, 0, 2], addr.port()));
        let mut addrs = [addr, other];
        lock(&first.shared.connector.address_stats).sort(&mut addrs);
        assert_eq!(addrs, [other, addr], "{error:?}");
        error
    }

    #[tokio::test]
    async fn address_where_on_connect_fails_comes_last() {
        let not_ready = |_| async { Err(Error::other("not ready")) };
        let error = fail(|options| options.on_connect(not_ready)).await;
        assert_eq!(error.kind(), crate::ErrorKind::Other);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn address_that_another_one_has_overtaken_comes_last() {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a free port");
        let dead = socket.local_addr().expect("it is bound");
        let alive = SocketAddr::from(([127, 0, 0, 2], dead.port()));
        let _listener = TcpListener::bind(alive).await.expect("a free port");
        let channel: Channel = ChannelOptions::new((TWO_ADDRESSES, dead.port()))
            .connect_lazily()
            .expect("good options");
        let first = channel.pool.subchannels.first().expect("one");
        let connection = first.connect().await.expect("one listens");
        assert_eq!(connection.peer().addr(), Some(alive));
        let mut addrs = [dead, alive];
        lock(&first.shared.connector.address_stats).sort(&mut addrs);
        assert_eq!(addrs, [alive, dead]);
    }
}
