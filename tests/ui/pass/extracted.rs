//! What a function may take from the context.

use std::net::SocketAddr;

use tcs::{ConnectionInfo, Peer, Rejection, protocol::FromContext, server_protocol};

struct Id(u64);

impl FromContext<'_> for Id {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(Self(info.id()))
    }
}

struct Who<'a>(&'a Peer);

impl<'a> FromContext<'a> for Who<'a> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(Self(info.peer()))
    }
}

/// It is said, so it may stand in front.
#[server_protocol]
fn marked(#[context] peer: &Peer, request: &str, #[context] Id(id): Id) -> String {
    format!("{request} {peer} {id}")
}

/// No request is of this type.
#[server_protocol]
fn known(peer: &Peer, request: &str, info: &ConnectionInfo) -> String {
    format!("{request} {peer} {info:?}")
}

#[server_protocol]
async fn all(
    request: &str,
    peer: &Peer,
    info: &ConnectionInfo,
    addr: SocketAddr,
    Id(id): Id,
    who: Who<'_>,
    #[state] more: &u64,
    #[session] seen: &mut u64,
) -> String {
    tokio::task::yield_now().await;
    *seen += more;
    format!("{request} {peer} {} {addr} {id} {}", info.id(), who.0)
}

#[server_protocol]
fn reply_of_peer<'p>(_: (), who: Who<'p>) -> String {
    who.0.to_string()
}

fn main() {
    let _ = tcs::ConcurrentServer::new(Marked);
    let _ = tcs::ConcurrentServer::new(Known);
    let _ = (All::new(1), ReplyOfPeer);
}
