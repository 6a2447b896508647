//! What a protocol can say of a request that its function has not seen.

use tcs::{
    ConcurrentServer, Rejection, Response,
    framing::{Lines, Netstrings},
    protocol::ServerProtocol,
    server_protocol,
};
use tcs_tests::{serve_in_memory, within};

#[server_protocol(framing = Lines, reject_with = quoted)]
fn plain(number: u8) -> Result<u8, String> {
    number.checked_mul(2).ok_or_else(|| "too much".to_owned())
}

#[server_protocol(framing = Lines, reject_with = quoted)]
async fn waiting(number: u8) -> Result<u8, String> {
    tokio::task::yield_now().await;
    plain(number)
}

#[server_protocol(framing = Lines, reject_with = quoted, blocking)]
fn blocks(number: u8) -> Result<u8, String> {
    plain(number)
}

#[server_protocol(framing = Lines, reject_with = quoted, concurrent = 4)]
async fn side_by_side(number: u8) -> Result<u8, String> {
    plain(number)
}

/// Quotes the request, unless it asks for no reply.
fn quoted(rejection: &Rejection) -> Response<String> {
    let kind = rejection.kind();
    let Some(request) = rejection.request() else {
        return Response::Reply(format!("{kind}"));
    };
    if request.ends_with(b"noreply") {
        return Response::NoReply;
    }
    let shown = String::from_utf8_lossy(request.get(..20).unwrap_or(request));
    Response::Reply(format!("{kind}: {}: {shown}", request.len()))
}

/// Returns what a server sends to a peer that sends these bytes.
async fn replies<P: ServerProtocol>(protocol: P, requests: impl AsRef<[u8]>) -> String {
    let server = ConcurrentServer::new(protocol)
        .max_frame_len(70_000)
        .max_pipelined_requests(5);
    let (mut peer, serving) = serve_in_memory(server, 1 << 20);
    peer.send(requests).await;
    peer.finish().await;
    let replies = within(peer.rest()).await;
    drop(peer);
    within(serving).await.expect("no panic");
    String::from_utf8(replies).expect("it is text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_the_function_has_not_seen_is_known() {
    // The sixth is one more than may wait.
    let requests = "7\nseven\n200\nset noreply\n8\n9\n";
    let expected = "14\nbad request: 5: seven\nerror\n16\nbusy: 1: 9\n";
    assert_eq!(replies(Plain, requests).await, expected);
    assert_eq!(replies(Waiting, requests).await, expected);
    assert_eq!(replies(Blocks, requests).await, expected);
    let requests = "7\nseven\n200\nset noreply\n8\n";
    let expected = "14\nbad request: 5: seven\nerror\n16\n";
    assert_eq!(replies(SideBySide, requests).await, expected);
}

#[tokio::test]
async fn request_that_is_no_frame_is_known_as_far_as_it_has_arrived() {
    let requests = format!("7\n{}", "x".repeat(70_001));
    let expected = format!("14\nprotocol error: 65536: {}\n", "x".repeat(20));
    assert_eq!(replies(Plain, &requests).await, expected);
    assert_eq!(replies(SideBySide, &requests).await, expected);
    assert_eq!(replies(Plain, "7\n8").await, "14\nprotocol error: 1: 8\n");
}

#[server_protocol(framing = Netstrings, reject_with = quoted)]
fn counted(number: u8) -> u8 {
    number
}

#[server_protocol(framing = Netstrings, reject_with = quoted, concurrent = 4)]
async fn counted_side_by_side(number: u8) -> u8 {
    number
}

#[tokio::test]
async fn request_that_is_skipped_is_known_with_its_header() {
    let skipped = "x".repeat(70_001);
    let requests = format!("1:7,70001:{skipped},1:8,");
    // What has arrived of it depends on the reads.
    for replies in [
        replies(Counted, &requests).await,
        replies(CountedSideBySide, &requests).await,
    ] {
        let replies = replies.strip_prefix("1:7,").expect("the first reply");
        let (_, told) = replies.split_once(':').expect("a length");
        assert!(told.starts_with("too large: "), "{replies}");
        assert!(told.ends_with(": 70001:xxxxxxxxxxxxxx,1:8,"), "{replies}");
    }
}
