//! What a session may be, and what it starts with.

use tcs::{Peer, server_protocol};

#[derive(Default)]
struct Login(Option<String>);

struct Seat(u32);

#[server_protocol(Login2)]
fn login(name: &str, #[session] login: &mut Login) -> bool {
    login.0.replace(name.to_owned()).is_none()
}

#[server_protocol]
async fn look(_: &str, #[session] count: &u32) -> u32 {
    tokio::task::yield_now().await;
    *count
}

#[server_protocol(session = Seat(first + peer.addr().map_or(0, |addr| u32::from(addr.port()))))]
fn sit(_: (), #[state] first: &u32, #[session] seat: &mut Seat, _peer: &Peer) -> u32 {
    seat.0 + first
}

#[server_protocol(session = format!("{text} {}", list.len()))]
async fn title(
    _: (),
    #[state] text: &str,
    #[state] list: &[u8],
    #[state] shown: &(dyn std::fmt::Display + Send + Sync),
    #[session] title: &mut String,
) -> String {
    tokio::task::yield_now().await;
    format!("{title} {text} {list:?} {shown}")
}

#[server_protocol]
fn unused(_: (), #[session] _: &mut Login) {}

fn main() {
    let _ = (Login2, Look, Sit::new(7), Unused);
    let _ = Title::new("text".to_owned(), vec![1], Box::new(1));
}
