//! Text with escapes arrives wherever JSON is borrowed, on servers and on clients.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tcs::{
    ConcurrentServer, Peer, Response, blocking,
    client::ReplyOrEvent,
    client_protocol,
    format::Json,
    framing::{LengthPrefixed, Lines, Multiplexed},
    protocol::{Contract, Pushes, Requests, ServerProtocol, Streams, tower::ProtocolService},
    server_protocol,
};
use tcs_tests::{
    Heard, RawPeer,
    client::{connected, events, items, uploaded},
    frame,
    ids::{message_of, receive_frame},
    memory,
    script::{expects, sends, serve},
    start, within,
};
use tokio::task::{spawn_blocking, yield_now};
use tower::{Service as _, ServiceExt as _};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Everywhere<'a> {
    name: &'a str,
    list: Vec<&'a str>,
    maybe: Option<&'a str>,
    pair: (&'a str, u8),
    #[serde(borrow)]
    note: Cow<'a, str>,
    owned: String,
    letter: char,
    #[serde(borrow)]
    map: BTreeMap<&'a str, &'a str>,
    choice: Choice<'a>,
    untagged: Untagged<'a>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
enum Choice<'a> {
    Name(&'a str),
    Named { name: &'a str },
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
enum Untagged<'a> {
    Number(u8),
    Name(&'a str),
}

#[server_protocol(format = Json)]
fn plain(name: &str) -> &str {
    name
}

#[server_protocol(format = Json, framing = Lines)]
fn plain_lines(name: &str) -> &str {
    name
}

#[server_protocol(format = Json)]
async fn waiting(name: &str) -> &str {
    yield_now().await;
    name
}

#[server_protocol(format = Json, blocking)]
fn on_a_thread(name: &str) -> &str {
    name
}

#[server_protocol(format = Json)]
fn everywhere_now(message: Everywhere<'_>) -> Everywhere<'_> {
    message
}

#[server_protocol(format = Json)]
async fn everywhere_waiting(message: Everywhere<'_>) -> Everywhere<'_> {
    yield_now().await;
    message
}

#[server_protocol(format = Json)]
mod shop {
    use tokio::task::yield_now;

    pub fn greet<'a>(name: &'a str, others: Vec<&'a str>) -> Vec<&'a str> {
        [vec![name], others].concat()
    }

    pub async fn find(name: &str) -> &str {
        yield_now().await;
        name
    }
}

/// Texts as JSON, as Python and JavaScript write them, and what they are.
const NAMES: [(&str, &str); 5] = [
    (r#""Zo\u00eb""#, "\"Zoë\""),
    (r#""O\"Brien""#, r#""O\"Brien""#),
    (r#""\ud83d\ude00 \/ \n""#, "\"😀 / \\n\""),
    (r#""""#, r#""""#),
    (r#""Ann""#, r#""Ann""#),
];

/// `Everywhere` with an escape in each text, and without those that need not be.
const EVERYWHERE: [&str; 2] = [
    concat!(
        r#"{"n\u0061me":"Zo\u00eb","list":["\u0061","b","\u0063c"],"maybe":"\u0064","pair":["\u0065",1],"#,
        r#""note":"\u0066","owned":"\u0067","letter":"\u0068","map":{"\u0069":"\u006a","k":"\u006c"},"#,
        r#""choice":{"\u004eamed":{"name":"\u006d"}},"untagged":"\u006e"}"#
    ),
    concat!(
        r#"{"name":"Zoë","list":["a","b","cc"],"maybe":"d","pair":["e",1],"#,
        r#""note":"f","owned":"g","letter":"h","map":{"i":"j","k":"l"},"#,
        r#""choice":{"Named":{"name":"m"}},"untagged":"n"}"#
    ),
];

async fn hears(peer: &mut RawPeer, reply: &str) {
    assert_eq!(within(peer.hear()).await, Heard::message(reply));
}

/// Asks one by one, and then all at once.
async fn served<P: ServerProtocol>(protocol: P, exchanges: &[(&str, &str)]) {
    let server = start(ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    let frames: Vec<_> = exchanges
        .iter()
        .map(|(request, _)| frame(request.as_bytes()))
        .collect();
    for (request, (_, reply)) in frames.iter().zip(exchanges) {
        within(peer.send(request)).await;
        hears(&mut peer, reply).await;
    }
    within(peer.send(frames.concat())).await;
    for (_, reply) in exchanges {
        hears(&mut peer, reply).await;
    }
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn functions_of_each_kind_take_text_with_escapes() {
    served(Plain, &NAMES).await;
    served(Waiting, &NAMES).await;
    served(OnAThread, &NAMES).await;
}

#[tokio::test]
async fn json_lines_take_text_with_escapes() {
    let server = start(ConcurrentServer::new(PlainLines)).await;
    let mut peer = server.peer().await;
    let (requests, replies): (Vec<_>, Vec<_>) = NAMES.into_iter().unzip();
    within(peer.send(requests.join("\n") + "\n")).await;
    within(peer.finish()).await;
    let replies = replies.join("\n") + "\n";
    assert_eq!(within(peer.rest()).await, replies.as_bytes());
    server.stopped().await;
}

#[tokio::test]
async fn text_with_escapes_is_borrowed_in_every_place() {
    let [sent, written] = EVERYWHERE;
    served(EverywhereNow, &[(sent, written)]).await;
    served(EverywhereWaiting, &[(sent, written), (written, written)]).await;
}

#[tokio::test]
async fn operations_take_text_with_escapes() {
    served(
        shop::Protocol {},
        &[
            (
                r#"{"greet":{"name":"O\"Brien","others":["Zo\u00eb","Ann"]}}"#,
                r#"{"greet":["O\"Brien","Zoë","Ann"]}"#,
            ),
            (r#"{"find":{"n\u0061me":"\u0041nn"}}"#, r#"{"find":"Ann"}"#),
        ],
    )
    .await;
}

#[client_protocol(server = Plain, request = || "Ann")]
fn length(reply: &str) -> usize {
    reply.len()
}

#[client_protocol(server = Plain, request = || "Ann")]
async fn waiting_length(reply: &str) -> usize {
    yield_now().await;
    reply.len()
}

#[tokio::test]
async fn clients_take_replies_with_escapes() {
    let exchange = [expects(frame(r#""Ann""#)), sends(frame(r#""Zo\u00eb""#))];
    let (mut connection, server) = connected(std::iter::repeat_n(exchange, 8).flatten()).await;
    let reply = within(connection.call::<Plain>("Ann")).await;
    assert_eq!(reply.expect("a reply"), "Zoë");
    let length = within(connection.exchange(Length {})).await;
    assert_eq!(length.expect("a reply"), 4);
    let length = within(connection.exchange(WaitingLength {})).await;
    assert_eq!(length.expect("a reply"), 4);

    let mut pipeline = connection.pipeline::<Plain>();
    for _ in 0..2 {
        within(pipeline.send("Ann")).await.expect("it is open");
    }
    for _ in 0..2 {
        let reply = within(pipeline.receive()).await;
        assert_eq!(reply.expect("it is open"), Some("Zoë"));
    }

    let channel = connection.into_channel().expect("it is open");
    let reply = within(channel.call_with::<Plain, _>("Ann", str::to_owned)).await;
    assert_eq!(reply.expect("a reply"), "Zoë");
    for _ in 0..2 {
        let length = within(channel.exchange(WaitingLength {})).await;
        assert_eq!(length.expect("a reply"), 4);
    }
    server.finished().await;
}

#[tokio::test]
async fn client_of_operations_takes_replies_with_escapes() {
    let exchange = [
        expects(frame(r#"{"find":{"name":"Zoë"}}"#)),
        sends(frame(r#"{"find":"Zo\u00eb"}"#)),
    ];
    let (addr, server) = serve(std::iter::repeat_n(exchange, 2).flatten()).await;
    let mut client = within(shop::Client::connect(addr))
        .await
        .expect("it listens");
    let found = within(client.find("Zoë")).await;
    assert_eq!(found.expect("a reply"), "Zoë");
    let client = client.into_channel().expect("it is open");
    let found = within(client.find("Zoë", str::len)).await;
    assert_eq!(found.expect("a reply"), 4);
    server.finished().await;
}

/// Texts in both directions, and in what belongs to a conversation.
enum Spoken {}

impl Contract for Spoken {
    type Framing = LengthPrefixed;
    type Format = Json;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
}

impl Streams for Spoken {
    type Format = Json;
    type Item<'a> = &'a str;
}

impl Pushes for Spoken {
    type Format = Json;
    type Event<'a> = &'a str;
}

/// Replies with its chunks, which it has read as text.
#[server_protocol(format = Json, requests = &str)]
async fn join(name: &str, mut more: Requests<'_, Join>) -> Result<String, String> {
    let mut joined = name.to_owned();
    while let Some(chunk) = more.next().await? {
        joined += chunk;
    }
    Ok(joined)
}

#[server_protocol(format = Json, framing = Multiplexed)]
fn with_ids(name: &str) -> &str {
    name
}

#[server_protocol(format = Json, framing = Multiplexed)]
async fn waiting_with_ids(name: &str) -> String {
    yield_now().await;
    name.to_owned()
}

/// `NAMES` as text.
fn texts() -> impl Iterator<Item = (&'static str, String)> {
    NAMES.into_iter().map(|(escaped, json)| {
        let text = serde_json::from_str(json).expect("it is JSON");
        (escaped, text)
    })
}

#[tokio::test]
async fn items_and_events_with_escapes_are_borrowed() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    for (escaped, text) in texts() {
        within(peer.send(events(&[escaped]))).await;
        let event = within(connection.next_event::<Spoken>()).await;
        assert_eq!(event.expect("an event"), text);

        let stream = within(connection.stream::<Spoken>("go")).await;
        let mut stream = stream.expect("it is open");
        hears(&mut peer, r#""go""#).await;
        within(peer.send([items(&[escaped]), frame(escaped)].concat())).await;
        let item = within(stream.next()).await.expect("an item");
        assert_eq!(item, Some(&*text));
        let end = within(stream.finish()).await;
        assert_eq!(end.expect("a reply"), text);
    }
    let (mut sender, mut receiver) = connection.split::<Spoken>();
    for (escaped, text) in texts() {
        within(sender.send("go")).await.expect("it is open");
        hears(&mut peer, r#""go""#).await;
        within(peer.send([events(&[escaped]), frame(escaped)].concat())).await;
        for expected in [ReplyOrEvent::Event(&*text), ReplyOrEvent::Reply(&*text)] {
            let next = within(receiver.next()).await;
            assert_eq!(next.expect("it is open"), expected);
        }
    }
}

#[tokio::test]
async fn blocking_clients_take_replies_with_escapes() {
    let exchanges = NAMES.map(|(escaped, _)| [expects(frame(r#""go""#)), sends(frame(escaped))]);
    let (addr, server) = serve(exchanges.into_iter().flatten()).await;
    let calls = spawn_blocking(move || {
        let mut connection = blocking::Connection::connect(addr).expect("it listens");
        for (_, text) in texts() {
            let reply = connection.call::<Spoken>("go");
            assert_eq!(reply.expect("a reply"), text);
        }
    });
    within(calls).await.expect("no panic");
    server.finished().await;
}

#[tokio::test]
async fn chunks_with_escapes_are_borrowed() {
    let server = start(ConcurrentServer::new(Join)).await;
    let mut peer = server.peer().await;
    for (escaped, text) in texts() {
        within(peer.send(uploaded(escaped, &[escaped, escaped]))).await;
        let joined = serde_json::to_string(&Ok::<_, ()>(text.repeat(3))).expect("it is text");
        hears(&mut peer, &joined).await;
    }
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn requests_with_ids_and_escapes_are_borrowed() {
    async fn served<P: ServerProtocol>(protocol: P) {
        let server = start(ConcurrentServer::new(protocol)).await;
        let mut peer = server.peer().await;
        for (id, (escaped, json)) in (1..).zip(NAMES) {
            within(peer.send(message_of(id, escaped))).await;
            let reply = within(receive_frame(&mut peer)).await;
            assert_eq!(reply, (id, None, json.as_bytes().to_vec()));
        }
        drop(peer);
        server.stopped().await;
    }
    served(WithIds).await;
    served(WaitingWithIds).await;
}

#[tokio::test]
async fn protocol_as_a_service_takes_text_with_escapes() {
    let mut service = ProtocolService::new(Plain, Peer::unnamed());
    for (escaped, json) in NAMES {
        let ready = within(service.ready()).await.expect("ready");
        let response = within(ready.call(Bytes::from(escaped))).await;
        assert_eq!(response, Ok(Response::Reply(Bytes::from(json))));
    }
}
