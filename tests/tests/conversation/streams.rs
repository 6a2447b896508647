//! Replies of many messages.

use tcs::{
    ConcurrentServer,
    framing::Lines,
    protocol::{Replies, Streams},
    server_protocol,
};
use tcs_tests::{serve_in_memory, within};

#[server_protocol(framing = Lines)]
async fn count_lines(to: u32, mut out: Replies<'_, CountLines>) -> Result<String, String> {
    for number in 1..=to {
        out.send(number).await?;
    }
    Ok("end".to_owned())
}

impl Streams for CountLines {
    type Format = tcs::format::Plain;
    type Item<'a> = u32;
}

#[tokio::test]
async fn items_are_lines_before_the_reply() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(CountLines), 64);
    peer.send(b"3\n0\n").await;
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"1\n2\n3\nend\nend\n");
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 2);
}
