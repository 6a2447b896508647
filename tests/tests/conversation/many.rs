//! Streamed replies whose items are those of an iterator that the function returns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, Connection, ConnectionInfo, Peer, Rejection, Response,
    format::Plain,
    framing::{LengthPrefixed, Multiplexed},
    protocol::{Context, Many, ServerProtocol, Streams},
    server_protocol,
};
use tcs_tests::{Heard, code, control, patiently, serve_in_memory, within};
use tokio::{task::yield_now, time::sleep};

use crate::hub::{Wire, expect};

/// How many items were taken from the iterators.
type Taken = Arc<AtomicUsize>;

type Counted<'a, P> = Result<Response<&'a str, Many<'a, P>>, String>;

/// Counts up to the request, or does what else it says.
fn count<'a, P>(request: &'a str, taken: &'a Taken) -> Counted<'a, P>
where
    P: Streams<Format = Plain, Item<'a> = String> + 'a,
{
    let text = |text: &str| text.to_owned();
    Ok(match request {
        "fail" => return Err(text("at once")),
        "last" => Response::ReplyAndClose("bye"),
        "broken" => Response::try_many([Ok(text("1")), Ok(text("2")), Err("no more")], "end"),
        "long" => Response::many([text("1"), "x".repeat(101)], "end"),
        _ => {
            let to: usize = request.parse().expect("a number");
            let held = Arc::clone(taken);
            let numbers = (0..to).map(move |number| {
                held.store(number + 1, Ordering::Relaxed);
                number.to_string()
            });
            Response::many(numbers, "end")
        }
    })
}

#[server_protocol(replies = String)]
fn at_once<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, AtOnce> {
    count(request, taken)
}

#[server_protocol(replies = String)]
async fn ready<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, Ready> {
    count(request, taken)
}

#[server_protocol(replies = String)]
async fn waiting<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, Waiting> {
    yield_now().await;
    count(request, taken)
}

#[server_protocol(replies = String, blocking)]
fn blocking<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, Blocking> {
    count(request, taken)
}

#[server_protocol(replies = String, framing = Multiplexed)]
fn beside<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, Beside> {
    count(request, taken)
}

#[server_protocol(replies = String, concurrent = 4)]
async fn in_order<'a>(request: &'a str, #[state] taken: &'a Taken) -> Counted<'a, InOrder> {
    yield_now().await;
    count(request, taken)
}

fn message(text: &str) -> Vec<u8> {
    <LengthPrefixed as Wire>::message(text)
}

async fn items_come_before_the_reply(protocol: impl ServerProtocol) {
    let server = ConcurrentServer::new(protocol).max_reply_len(100);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    let requests = ["2", "0", "broken", "long", "fail", "1", "last"];
    let expected = [
        LengthPrefixed::items(&["0", "1"]),
        message("end"),
        message("end"),
        LengthPrefixed::items(&["1", "2"]),
        control(code::ERROR, "no more"),
        LengthPrefixed::items(&["1"]),
        control(
            code::FAILED,
            "an item cannot be sent: a message of 101 bytes exceeds `max_reply_len` of 100 bytes",
        ),
        control(code::ERROR, "at once"),
        LengthPrefixed::items(&["0"]),
        message("end"),
        message("bye"),
    ];
    expect(
        &mut peer,
        &requests.map(message).concat(),
        &expected.concat(),
    )
    .await;
    drop(peer);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.received, requests.served), (7, 6));
    assert_eq!(requests.failed, 1);
}

#[tokio::test]
async fn items_of_a_returned_iterator_come_before_the_reply() {
    items_come_before_the_reply(AtOnce::new(Taken::default())).await;
    items_come_before_the_reply(Ready::new(Taken::default())).await;
    items_come_before_the_reply(Waiting::new(Taken::default())).await;
    items_come_before_the_reply(InOrder::new(Taken::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_an_iterator_of_a_blocking_function_come_before_the_reply() {
    items_come_before_the_reply(Blocking::new(Taken::default())).await;
}

async fn taken_as_the_peer_reads<P: ServerProtocol>(protocol: impl FnOnce(Taken) -> P) {
    let taken = Taken::default();
    let server = ConcurrentServer::new(protocol(Arc::clone(&taken)));
    let (mut peer, serving) = serve_in_memory(server, 1_000);
    patiently(peer.send(message(&usize::MAX.to_string()))).await;
    let mut before = 0;
    for _ in 0..3 {
        // Until nothing moves any more.
        sleep(Duration::from_secs(1)).await;
        let now = taken.load(Ordering::Relaxed);
        // Each has 5 bytes or more, and twice 64 KiB have room.
        assert!((1_000..before + 40_000).contains(&now), "{before} {now}");
        before = now;
        patiently(peer.receive(100_000)).await;
    }
    assert!(before > 20_000, "{before}");
    drop(peer);
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!((requests.served, requests.aborted), (0, 1));
    // The iterator is dropped.
    assert_eq!(Arc::strong_count(&taken), 1);
}

#[tokio::test(start_paused = true)]
async fn returned_iterator_is_taken_as_the_peer_reads_and_dropped_when_it_leaves() {
    taken_as_the_peer_reads(AtOnce::new).await;
    taken_as_the_peer_reads(Ready::new).await;
    taken_as_the_peer_reads(Waiting::new).await;
    taken_as_the_peer_reads(InOrder::new).await;
    taken_as_the_peer_reads(Blocking::new).await;
}

#[tokio::test]
async fn client_with_ids_receives_the_items_of_an_iterator() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let server = ConcurrentServer::new(Beside::new(Taken::default()));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut connection = Connection::<Multiplexed>::over(near);
    let stream = connection.stream::<Beside>("100000");
    let mut stream = within(stream).await.expect("it is open");
    for number in 0..100_000_u32 {
        let item = within(stream.next()).await.expect("an item");
        assert_eq!(item, Some(number.to_string()));
    }
    assert_eq!(within(stream.next()).await.expect("the end"), None);
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
    drop(connection);
    within(serving).await.expect("no panic").expect("served");
}

#[test]
fn test_of_a_function_takes_the_items_from_its_response() {
    let taken = Taken::default();
    let response = at_once("3", &taken).expect("a response");
    let Response::Many(reply, items) = response else {
        panic!("{response:?}");
    };
    assert!(items.map(|item| item.expect("an item")).eq(["0", "1", "2"]));
    assert_eq!(reply, "end");
}

/// Has no option, because it is written by hand.
struct Unsent;

impl Streams for Unsent {
    type Format = Plain;
    type Item<'a> = u32;
}

impl ServerProtocol for Unsent {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = u32;
    type Reply<'a> = Response<(), Many<'a, Self>>;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        to: u32,
    ) -> Result<Self::Reply<'_>, Rejection> {
        Ok(Response::many(0..to, ()))
    }
}

#[tokio::test]
async fn items_that_nobody_sends_fail_the_request() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Unsent), 1_000);
    match within(peer.ask("3")).await {
        Heard::Control(code::FAILED, text) => assert!(text.contains("cannot be"), "{text}"),
        other => panic!("{other:?}"),
    }
}
