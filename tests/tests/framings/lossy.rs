//! Texts that are not UTF-8, as servers receive them.

use tcs::{
    ConcurrentServer,
    framing::Lines,
    protocol::{Lossy, ServerProtocol},
    server_protocol,
};
use tcs_tests::{serve_in_memory, within};

#[server_protocol(framing = Lines)]
fn plain(line: Lossy<'_>) -> String {
    format!("{} {line}", line.chars().count())
}

/// The text borrows from the frame while the function waits.
#[server_protocol(framing = Lines)]
async fn waiting(line: Lossy<'_>) -> String {
    tokio::task::yield_now().await;
    plain(line)
}

#[server_protocol(framing = Lines, concurrent = 4)]
async fn side_by_side(line: Lossy<'_>) -> String {
    waiting(line).await
}

#[server_protocol(framing = Lines, blocking)]
fn blocks(line: Lossy<'_>) -> String {
    plain(line)
}

/// The same bytes are a *bad request* for this one.
#[server_protocol(framing = Lines)]
fn strict(line: &str) -> String {
    format!("{} {line}", line.chars().count())
}

/// Returns the replies, and how many requests were rejected.
async fn replies<P: ServerProtocol>(protocol: P, requests: &[u8]) -> (String, u64) {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol), 1 << 16);
    peer.send(requests).await;
    peer.finish().await;
    let replies = within(peer.rest()).await;
    drop(peer);
    let report = within(serving).await.expect("no panic");
    let replies = String::from_utf8(replies).expect("a reply is UTF-8");
    (replies, report.requests.rejected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_text_is_a_request_and_harms_no_other() {
    // Latin-1, UTF-8, a character that is cut at the end and one in the middle, a surrogate, and one that is too long.
    let requests = b"gr\xfc\xdfe\ngr\xc3\xbc\xc3\x9fe\ncut \xe2\x82\n\xe2\x82mid\n\xed\xa0\x80\n\xc0\xaf\nplain\n";
    let expected = "5 gr\u{fc}\u{df}e\n5 gr\u{fc}\u{df}e\n6 cut \u{e2}\u{82}\n5 \u{e2}\u{82}mid\n\
        3 \u{ed}\u{a0}\u{80}\n2 \u{c0}\u{af}\n5 plain\n";
    assert_eq!(replies(Plain, requests).await, (expected.to_owned(), 0));
    assert_eq!(replies(Waiting, requests).await, (expected.to_owned(), 0));
    assert_eq!(
        replies(SideBySide, requests).await,
        (expected.to_owned(), 0)
    );
    assert_eq!(replies(Blocks, requests).await, (expected.to_owned(), 0));
    // The first rejection closes the connection, because `Lines` has no bytes for it.
    assert_eq!(replies(Strict, requests).await, (String::new(), 1));
}
