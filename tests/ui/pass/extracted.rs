//! What a function may take from the context.

use std::net::SocketAddr;

use tcs::{Facts, FromContext, Peer, Refusal, server_protocol};

struct Id(u64);

impl FromContext<'_> for Id {
    fn from_context(facts: &Facts) -> Result<Self, Refusal> {
        Ok(Self(facts.id()))
    }
}

struct Who<'a>(&'a Peer);

impl<'a> FromContext<'a> for Who<'a> {
    fn from_context(facts: &'a Facts) -> Result<Self, Refusal> {
        Ok(Self(facts.peer()))
    }
}

/// It is said, so it may stand in front.
#[server_protocol]
fn marked(#[context] peer: &Peer, request: &str, #[context] Id(id): Id) -> String {
    format!("{request} {peer} {id}")
}

#[server_protocol]
async fn all(
    request: &str,
    peer: &Peer,
    facts: &Facts,
    addr: SocketAddr,
    Id(id): Id,
    who: Who<'_>,
    #[state] more: &u64,
    #[session] seen: &mut u64,
) -> String {
    tokio::task::yield_now().await;
    *seen += more;
    format!("{request} {peer} {} {addr} {id} {}", facts.id(), who.0)
}

#[server_protocol]
fn reply_of_peer<'p>(_: (), who: Who<'p>) -> String {
    who.0.to_string()
}

fn main() {
    let _ = tcs::ConcurrentServer::new(Marked);
    let _ = (All::new(1), ReplyOfPeer);
}
