//! What connects the library with the simulated network: its public traits are enough.

use std::{io, net::Ipv4Addr, time::Duration};

use tcs::{
    Peer,
    transport::{Incoming, Listener},
};
use tokio::{io::copy_bidirectional, time::timeout};
use turmoil::net::{TcpListener, TcpStream};

/// Where servers and the balancer listen.
pub(crate) const PORT: u16 = 7_000;

/// Listens on the host that runs.
pub(crate) struct NetListener {
    listener: TcpListener,
    on_accept: Box<dyn Fn() + Send>,
}

impl NetListener {
    pub(crate) async fn bind(on_accept: impl Fn() + Send + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        Ok(Self {
            listener,
            on_accept: Box::new(on_accept),
        })
    }
}

impl Listener for NetListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let (stream, addr) = self.listener.accept().await?;
        (self.on_accept)();
        let mut peer = Peer::unnamed();
        peer.set_addr(addr);
        Ok(Some(Incoming::new(stream, peer)))
    }

    fn name(&self) -> String {
        "the simulated network".to_owned()
    }
}

/// Forwards connections to the servers in turn, or to the next one that answers.
pub(crate) async fn balance(servers: Vec<String>) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    for first in 0.. {
        let (mut near, _) = listener.accept().await?;
        let mut servers = servers.clone();
        let count = servers.len();
        servers.rotate_left(first % count);
        tokio::spawn(async move {
            for server in servers {
                let connecting = TcpStream::connect((server, PORT));
                if let Ok(Ok(mut far)) = timeout(Duration::from_millis(200), connecting).await {
                    // Whatever ends it, both connections end with it.
                    return copy_bidirectional(&mut near, &mut far).await.map(drop);
                }
            }
            Ok(())
        });
    }
    Ok(())
}
