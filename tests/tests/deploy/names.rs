//! A channel to a name whose address changes, with a file of names for it alone, in a mount namespace.

use std::{fs::write, net::SocketAddr};

use tcs::{ConcurrentServer, server_protocol};
use tcs_tests::{Scratch, process::Process, start, within};

use super::keepalive::can_unshare;

#[server_protocol]
fn who(_: &str, #[state] name: &&'static str) -> &'static str {
    name
}

#[tokio::test]
async fn channel_resolves_its_name_for_each_connection() {
    let namespaces = ["--map-root-user", "--mount"];
    if !can_unshare(&namespaces).await {
        return;
    }
    let one = start(ConcurrentServer::new(Who::new("one"))).await;
    let port = one.addr().port();
    let addr = SocketAddr::from(([127, 0, 0, 2], port));
    let two = ConcurrentServer::new(Who::new("two")).address(addr);
    let two = within(two.bind()).await.expect("a free port");
    tokio::spawn(two.listen());
    let names = Scratch::new("127.0.0.1 moves.test\n");
    let address = format!("moves.test:{port}");
    let script = [
        "sh",
        "-c",
        r#"mount --bind "$0" /etc/hosts && exec "$@""#,
        names.path(),
        env!("CARGO_BIN_EXE_asks"),
        &address,
    ];
    let mut client = Process::start("unshare", [&namespaces[..], &script].concat());
    assert_eq!(client.line().await, "one");
    write(names.path(), "127.0.0.2 moves.test\n").expect("it is there");
    within(one.stopped()).await;
    assert_eq!(client.line().await, "two");
}
