//! Models of whole connections.

use std::{future::pending, marker::PhantomData};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};

use super::{
    super::config::{Concurrent, Settings},
    *,
};
use crate::{
    Rejection,
    format::Plain,
    framing::{Framing, LengthPrefixed, Multiplexed},
    models::{block_on, explore, scope},
    protocol::Context as Received,
};

pub(super) struct Echo<F = LengthPrefixed>(PhantomData<fn() -> F>);

impl<F: Framing> ServerProtocol for Echo<F> {
    type Framing = F;
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
    settings.memory = Some(1 << 20);
    settings
}

fn open<F: Framing>(
    registry: &Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Connection<Echo<F>> {
    let new = NewConnection::register(registry, Stream::new(stream), Peer::unnamed(), None);
    Connection::open(
        Arc::new(Shared::new(Echo(PhantomData), &settings(), false)),
        new,
    )
}

#[test]
fn connection_ends_with_a_drain_and_a_request_is_answered_or_never_begun() {
    for request in [&b""[..], b"\0\0\0\0"] {
        explore(move || {
            let registry = settings().registry();
            let (near, mut peer) = duplex(1 << 10);
            let mut connection = open::<LengthPrefixed>(&registry, near);
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

/// Splits what a server of `Multiplexed` has sent into ids with the kinds of their control frames, or `None` for replies.
fn frames(mut told: &[u8]) -> Vec<(u32, Option<u8>)> {
    let mut frames = Vec::new();
    while let [control, a, b, c, d, e, f, g, rest @ ..] = told {
        let length = u32::from_be_bytes([control & 0x7f, *a, *b, *c]);
        let length = usize::try_from(length).expect("short");
        let kind = (*control > 0x7f).then(|| *rest.first().expect("a kind"));
        frames.push((u32::from_be_bytes([*d, *e, *f, *g]), kind));
        told = rest.get(length..).expect("a whole frame");
    }
    assert!(told.is_empty(), "{told:?}");
    frames
}

#[test]
fn requests_with_ids_that_arrive_during_a_drain_are_answered_or_never_begun() {
    explore(|| {
        let registry = settings().registry();
        let (near, mut peer) = duplex(1 << 10);
        let mut connection = open::<Multiplexed>(&registry, near);
        let mut told = Vec::new();
        scope(|threads| {
            threads.spawn(move || block_on(connection.serve()));
            threads.spawn(|| block_on(registry.drain(pending::<()>())));
            block_on(async {
                for id in [1, 2] {
                    // The server may have closed.
                    drop(peer.write_all(&[0, 0, 0, 0, 0, 0, 0, id]).await);
                    yield_now().await;
                }
                peer.read_to_end(&mut told).await.expect("a pipe in memory");
            });
            drop(peer);
        });
        let frames = frames(&told);
        let (last, answers) = frames.split_last().expect("it says that it goes away");
        assert_eq!(*last, (0, Some(0x40)));
        // None has two, and those behind the first without one have none.
        assert!([(1, None), (2, None)].starts_with(answers), "{frames:?}");
        let (report, count) = (registry.report(), answers.len() as u64);
        let requests = (report.requests.received, report.requests.served);
        assert_eq!(requests, (count, count), "{frames:?}");
        assert_eq!(report.connections.closed, 1);
    });
}
