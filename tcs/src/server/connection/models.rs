//! Models of whole connections.

use std::future::pending;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};

use super::{super::mode::Concurrent, super::settings::Settings, *};
use crate::{
    Peer, Rejection,
    format::Plain,
    framing::LengthPrefixed,
    models::{block_on, explore, scope},
    protocol::Context as Received,
    server::registry::Registry,
    transport::Stream,
};

pub(super) struct Echo;

impl ServerProtocol for Echo {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = ();
    type Reply<'a> = ();

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(&self, _: Received<'_, ()>, (): ()) -> Result<(), Rejection> {
        yield_now().await;
        Ok(())
    }
}

pub(super) fn settings() -> Settings {
    let mut settings = Settings::new::<Concurrent>();
    settings.memory_budget = Some(1 << 20);
    settings
}

fn open(
    registry: &Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Connection<Echo> {
    let new = NewConnection::register(registry, Stream::new(stream), Peer::unnamed(), None);
    Connection::open(Arc::new(Shared::new(Echo, &settings(), false)), new)
}

#[test]
fn connection_ends_with_a_drain_and_a_request_is_answered_or_never_begun() {
    for request in [&b""[..], b"\0\0\0\0"] {
        explore(move || {
            let registry = settings().registry();
            let (near, mut peer) = duplex(1 << 10);
            let mut connection = open(&registry, near);
            let mut told = Vec::new();
            scope(|threads| {
                threads.spawn(move || block_on(connection.serve()));
                threads.spawn(|| block_on(registry.drain(pending::<()>())));
                block_on(async {
                    // The server may have closed.
                    drop(peer.write_all(request).await);
                    peer.read_to_end(&mut told).await.expect("a pipe in memory");
                });
                drop(peer);
            });
            let report = registry.report();
            let answers = u64::from(told.starts_with(b"\0\0\0\0"));
            let requests = (report.requests.received, report.requests.served);
            assert_eq!(requests, (answers, answers), "{told:?}");
            assert!(told.ends_with(b"the server is stopping"), "{told:?}");
            assert_eq!(report.connections.closed, 1);
        });
    }
}
