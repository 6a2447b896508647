//! A reply that panics as it is encoded has failed, and the rest of its response still holds.

use tcs::{
    ConcurrentServer, Response,
    format::{Encode, EncodeError, Plain, Writer},
    server_protocol,
};
use tcs_tests::{Heard, start, within};

struct Bomb;

impl Encode<Plain> for Bomb {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"half of");
        panic!("on purpose")
    }
}

#[server_protocol]
fn goes_on(_: &str) -> Response<Bomb> {
    Response::Reply(Bomb)
}

#[server_protocol]
fn closes(_: &str) -> Response<Bomb> {
    Response::ReplyAndClose(Bomb)
}

#[server_protocol]
async fn waits_and_closes(_: &str) -> Response<Bomb> {
    tokio::task::yield_now().await;
    Response::ReplyAndClose(Bomb)
}

/// Sends two requests at once. Returns the kinds of the frames that a server sends.
macro_rules! kinds {
    ($protocol:expr, $count:literal) => {{
        let server = start(ConcurrentServer::new($protocol)).await;
        let mut peer = server.peer().await;
        within(peer.send(b"\0\0\0\x01a\0\0\0\x01b")).await;
        let mut kinds = Vec::new();
        for _ in 0..$count {
            let heard = within(peer.hear()).await;
            assert!(matches!(heard, Heard::Control(..)), "{heard:?}");
            kinds.push(heard.kind());
        }
        within(peer.finish()).await;
        let rest = within(peer.rest()).await;
        assert_eq!(rest, b"");
        let requests = server.stopped().await.requests;
        (kinds, requests.received, requests.failed)
    }};
}

#[tokio::test]
async fn connection_closes_after_a_failed_last_reply() {
    assert_eq!(kinds!(Closes, 2), (vec![0x06, 0x40], 1, 1));
    assert_eq!(kinds!(WaitsAndCloses, 2), (vec![0x06, 0x40], 1, 1));
}

#[tokio::test]
async fn connection_goes_on_after_another_failed_reply() {
    assert_eq!(kinds!(GoesOn, 2), (vec![0x06, 0x06], 2, 2));
}
