//! Answers that close the connection beside other requests, and cannot be sent.

use std::time::Duration;

use tcs::{
    ConcurrentServer, Response,
    format::{Encode, EncodeError, Plain, Writer},
    framing::Lines,
    protocol::ServerProtocol,
    server_protocol,
};
use tcs_tests::{Heard, code, frame, patiently, serve_in_memory, within};
use tokio::time::sleep;

use crate::concurrent::{Gates, outcomes};

const MIB: usize = 1 << 20;

/// A reply whose encoding may panic.
struct Text(String);

impl Encode<Plain> for Text {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        assert_ne!(self.0, "panic", "on purpose");
        Encode::<Plain>::encode(self.0, out)
    }
}

/// Waits at the gate of its name, and returns what the request says.
async fn act(request: &str, gates: &Gates) -> Response<Text> {
    let (what, name) = request.split_once(' ').unwrap_or((request, ""));
    gates.of(name).pass().await;
    match what {
        "panic" => Response::ReplyAndClose(Text("panic".to_owned())),
        "large" => Response::Reply(Text("x".repeat(MIB))),
        "last" => Response::ReplyAndClose(Text("x".repeat(MIB))),
        _ => Response::Reply(Text(name.to_owned())),
    }
}

#[server_protocol(concurrent = 4)]
async fn ordered(request: &str, #[state] gates: &Gates) -> Response<Text> {
    act(request, gates).await
}

#[server_protocol(concurrent = 4, unordered)]
async fn unordered(request: &str, #[state] gates: &Gates) -> Response<Text> {
    act(request, gates).await
}

/// What a peer is told in place of a reply whose encoding panics.
const UNENCODABLE: &str = "the reply cannot be encoded";

/// Sends requests, opens the gates of those that are to end, and returns what the peer hears.
async fn heard<P: ServerProtocol>(
    protocol: P,
    gates: &Gates,
    requests: &[&str],
    open: &[&str],
) -> (Vec<Heard>, [u64; 4]) {
    let server = ConcurrentServer::new(protocol).memory_budget(MIB);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    for request in requests {
        within(peer.send(frame(request))).await;
        let (_, name) = request.split_once(' ').expect("a name");
        gates.reached(&[name]).await;
    }
    for name in open {
        gates.open(name);
    }
    let mut all = Vec::new();
    loop {
        match within(peer.hear()).await {
            Heard::End => break,
            Heard::Message(message) if message.len() == MIB => all.push(Heard::message("large")),
            heard => all.push(heard),
        }
    }
    drop(peer);
    let report = within(serving).await.expect("no panic");
    (all, outcomes(&report))
}

fn failed(text: &str) -> Heard {
    Heard::Control(code::FAILED, text.to_owned())
}

fn last_reply() -> Heard {
    Heard::Control(code::GOING_AWAY, "this was the last reply".to_owned())
}

#[tokio::test]
async fn last_reply_that_cannot_be_encoded_closes_after_those_before_it() {
    let gates = Gates::default();
    let requests = ["reply a", "panic b", "reply c"];
    let heard = heard(Ordered::new(gates.clone()), &gates, &requests, &["b", "a"]).await;
    let expected = vec![
        Heard::message("a"),
        failed(UNENCODABLE),
        failed("the connection closed before the reply"),
        last_reply(),
    ];
    assert_eq!(heard, (expected, [1, 1, 0, 1]));
}

#[tokio::test]
async fn last_reply_without_an_order_that_cannot_be_encoded_closes_after_all_others() {
    let gates = Gates::default();
    let requests = ["reply a", "panic b", "reply c"];
    let protocol = Unordered::new(gates.clone());
    let heard = heard(protocol, &gates, &requests, &["b", "c", "a"]).await;
    let [a, c] = ["a", "c"].map(Heard::message);
    let expected = vec![c, a, failed(UNENCODABLE), last_reply()];
    assert_eq!(heard, (expected, [2, 1, 0, 0]));
}

#[tokio::test]
async fn last_reply_that_cannot_be_encoded_closes_when_it_is_alone() {
    let gates = Gates::default();
    let heard = heard(Ordered::new(gates.clone()), &gates, &["panic a"], &["a"]).await;
    let expected = vec![failed(UNENCODABLE), last_reply()];
    assert_eq!(heard, (expected, [0, 1, 0, 0]));
}

#[tokio::test]
async fn last_reply_without_memory_closes_after_those_before_it() {
    let gates = Gates::default();
    // The budget has room for one of them.
    let requests = ["reply a", "large b", "last c", "reply d"];
    let open = ["b", "c", "a"];
    let heard = heard(Ordered::new(gates.clone()), &gates, &requests, &open).await;
    let text = "the reply cannot be sent: the memory for large replies is in use (`memory_budget`)";
    let expected = vec![
        Heard::message("a"),
        Heard::message("large"),
        failed(text),
        failed("the connection closed before the reply"),
        last_reply(),
    ];
    assert_eq!(heard, (expected, [2, 1, 0, 1]));
}

/// Waits at the gate of its name, and panics if that is its name.
#[server_protocol(framing = Lines, concurrent = 4, unordered)]
async fn in_lines(name: &str, #[state] gates: &Gates) -> String {
    gates.of(name).pass().await;
    assert_ne!(name, "panic", "on purpose");
    name.to_owned()
}

#[tokio::test(start_paused = true)]
async fn rejection_without_an_order_that_cannot_be_sent_closes_after_all_others() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(InLines::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    patiently(peer.send("a\npanic\nb\n")).await;
    gates.reached(&["a", "panic", "b"]).await;
    gates.open("panic");
    // The panic is seen before the next request is sent.
    sleep(Duration::from_secs(1)).await;
    patiently(peer.send("c\n")).await;
    sleep(Duration::from_secs(1)).await;
    gates.open("b");
    gates.open("a");
    let mut replies = patiently(peer.rest()).await;
    replies.sort_unstable();
    assert_eq!(replies, b"\n\nab");
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 1, 0, 0]);
}
