//! Each format says what it promises: servers are asked by raw bytes, clients by a raw server.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tcs::{
    ConcurrentServer, Connection, ErrorKind, RejectionKind, Response, client_protocol,
    format::{Json, MessagePack, Postcard, Protobuf},
    framing::{LengthPrefixed, Lines},
    protocol::{CallContract, Contract, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Heard,
    client::{chain, connect, connected},
    frame,
    script::{Script, expects, sends},
    start, within,
};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Order<'a> {
    item: &'a str,
    #[serde(borrow)]
    note: Cow<'a, str>,
    count: u8,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Receipt<'a> {
    item: &'a str,
    cents: u16,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
enum Rejected {
    SoldOut { left: u8 },
}

fn order<'a>(order: &Order<'a>) -> Result<Receipt<'a>, Rejected> {
    match order.count {
        0..10 => Ok(Receipt {
            item: order.item,
            cents: 250 * u16::from(order.count),
        }),
        _ => Err(Rejected::SoldOut { left: 9 }),
    }
}

#[server_protocol(format = Json)]
fn json_order(message: Order<'_>) -> Result<Receipt<'_>, Rejected> {
    order(&message)
}

#[server_protocol(format = Json, framing = Lines)]
fn json_lines(message: Order<'_>) -> Result<Receipt<'_>, Rejected> {
    order(&message)
}

#[server_protocol(format = Postcard)]
fn lean(message: Order<'_>) -> Result<Receipt<'_>, Rejected> {
    order(&message)
}

#[server_protocol(format = MessagePack)]
fn packed(message: Order<'_>) -> Result<Receipt<'_>, Rejected> {
    order(&message)
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProtoOrder {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Outcome {
    #[prost(oneof = "Is", tags = "1, 2")]
    is: Option<Is>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Is {
    #[prost(uint64, tag = "1")]
    Cents(u64),
    #[prost(string, tag = "2")]
    Rejected(String),
}

#[server_protocol(format = Protobuf)]
async fn proto(order: ProtoOrder) -> Outcome {
    let is = match order.count {
        0..10 => Is::Cents(250 * u64::from(order.count)),
        _ => Is::Rejected(format!("{} is sold out", order.item)),
    };
    Outcome { is: Some(is) }
}

/// Two requests, what answers them, and one that is wrong with the reason; in bytes of one format.
struct Exchanges {
    good: [&'static [u8]; 2],
    rejected: [&'static [u8]; 2],
    wrong: (&'static [u8], &'static str),
}

const JSON: Exchanges = Exchanges {
    good: [
        br#"{"item":"tea","note":"\n","count":2}"#,
        br#"{"Ok":{"item":"tea","cents":500}}"#,
    ],
    rejected: [
        br#"{"count": 10, "more": [1], "note": "", "item": "tea"}"#,
        br#"{"Err":{"SoldOut":{"left":9}}}"#,
    ],
    wrong: (
        b"{\"item\":\"tea\",\n\"not\x1be\":1}",
        "invalid JSON at line 2, column 5: control character (\\u0000-\\u001F) found while parsing a string",
    ),
};

const POSTCARD: Exchanges = Exchanges {
    good: [b"\x03tea\x01\n\x02", b"\x00\x03tea\xf4\x03"],
    rejected: [b"\x03tea\x00\x0a", b"\x01\x00\x09"],
    wrong: (
        b"\x03tea\x09\n",
        "invalid Postcard at byte 5: it ends too early",
    ),
};

const MESSAGE_PACK: Exchanges = Exchanges {
    good: [
        b"\x83\xa4item\xa3tea\xa4note\xa1\n\xa5count\x02",
        b"\x81\xa2Ok\x82\xa4item\xa3tea\xa5cents\xcd\x01\xf4",
    ],
    rejected: [
        b"\x84\xa5count\xcc\x0a\xa4more\x91\x01\xa4note\xa0\xa4item\xa3tea",
        b"\x81\xa3Err\x81\xa7SoldOut\x81\xa4left\x09",
    ],
    wrong: (
        b"\x83\xa4item\xa3tea\xa4note\x91\x01\xa5count\x02",
        "invalid MessagePack at /1: invalid type: sequence, expected a string",
    ),
};

const PROTOBUF: Exchanges = Exchanges {
    good: [b"\x0a\x03tea\x10\x02", b"\x08\xf4\x03"],
    rejected: [b"\x1a\x01x\x10\x0a\x0a\x03tea", b"\x12\x0ftea is sold out"],
    wrong: (
        b"\x0a\x03te\xff",
        "invalid Protobuf: ProtoOrder.item: invalid string value: data is not UTF-8 encoded",
    ),
};

async fn server_says<P: ServerProtocol>(protocol: P, exchanges: &Exchanges) {
    let server = start(ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    let [good, reply] = exchanges.good;
    let (wrong, reason) = exchanges.wrong;
    let [rejected, rejection] = exchanges.rejected;
    within(peer.send([frame(good), frame(wrong), frame(rejected)].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::Message(reply.to_vec()));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(0x02, reason.to_owned())
    );
    assert_eq!(
        within(peer.hear()).await,
        Heard::Message(rejection.to_vec())
    );
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

#[tokio::test]
async fn server_reads_and_writes_each_format() {
    server_says(JsonOrder, &JSON).await;
    server_says(Lean, &POSTCARD).await;
    server_says(Packed, &MESSAGE_PACK).await;
    server_says(Proto, &PROTOBUF).await;
}

#[tokio::test]
async fn json_is_lines_without_more_ado() {
    let server = start(ConcurrentServer::new(JsonLines)).await;
    let mut peer = server.peer().await;
    let [good, reply] = JSON.good;
    within(peer.send([good, b"\r\n", good, b"\n"].concat())).await;
    within(peer.finish()).await;
    assert_eq!(
        within(peer.rest()).await,
        [reply, b"\n", reply, b"\n"].concat()
    );
    server.stopped().await;
}

/// Connects to a raw server that gives these replies, each to this request.
async fn replying(request: &[u8], replies: [&[u8]; 3]) -> (Connection<LengthPrefixed>, Script) {
    let exchange = |reply| [expects(frame(request)), sends(frame(reply))];
    connected(replies.into_iter().flat_map(exchange)).await
}

fn tea() -> Order<'static> {
    Order {
        item: "tea",
        note: "\n".into(),
        count: 2,
    }
}

/// Calls a server of a serde format for both replies, and for one that is wrong.
async fn client_hears<P>(exchanges: &Exchanges, wrong: &'static [u8], reason: &str)
where
    P: Contract<Framing = LengthPrefixed>,
    for<'a> P:
        Contract<Request<'a> = Order<'a>> + CallContract<Value<'a> = Result<Receipt<'a>, Rejected>>,
{
    let [request, reply] = exchanges.good;
    let rejection = exchanges.rejected[1];
    let (mut connection, server) = replying(request, [reply, rejection, wrong]).await;
    let reply = within(connection.call::<P>(tea())).await.expect("a reply");
    assert_eq!(
        reply,
        Ok(Receipt {
            item: "tea",
            cents: 500
        })
    );
    let reply = within(connection.call::<P>(tea())).await.expect("a reply");
    assert_eq!(reply, Err(Rejected::SoldOut { left: 9 }));
    let error = within(connection.call::<P>(tea()))
        .await
        .expect_err("a wrong reply");
    assert_eq!(
        (error.kind(), &*chain(&error)[1]),
        (ErrorKind::Reply, reason)
    );
    server.finished().await;
}

#[tokio::test]
async fn client_writes_and_reads_each_format() {
    client_hears::<JsonOrder>(
        &JSON,
        br#"{"Ok":{"item":"tea"}}"#,
        "invalid JSON at line 1, column 20: missing field `cents`",
    )
    .await;
    client_hears::<Lean>(
        &POSTCARD,
        b"\x02",
        "invalid Postcard at byte 1: invalid value: integer `2`, expected `Ok` or `Err`",
    )
    .await;
    client_hears::<Packed>(
        &MESSAGE_PACK,
        b"\x81\xa2Ok\x90",
        "invalid MessagePack at /: invalid length 0, expected struct Receipt with 2 elements",
    )
    .await;

    let [request, reply] = PROTOBUF.good;
    let replies = [reply, PROTOBUF.rejected[1], b"\x09"];
    let (mut connection, server) = replying(request, replies).await;
    let order = || ProtoOrder {
        item: "tea".to_owned(),
        count: 2,
    };
    for expected in [Is::Cents(500), Is::Rejected("tea is sold out".to_owned())] {
        let reply = within(connection.call::<Proto>(order()))
            .await
            .expect("a reply");
        assert_eq!(reply.is, Some(expected));
    }
    let error = within(connection.call::<Proto>(order()))
        .await
        .expect_err("a wrong reply");
    assert_eq!(
        chain(&error)[1],
        "invalid Protobuf: Outcome.is: invalid wire type: SixtyFourBit (expected Varint)"
    );
    server.finished().await;
}

#[client_protocol(server = JsonOrder, request = |count: u8| Order { item: "tea", note: "".into(), count })]
fn buy(reply: Result<Receipt<'_>, Rejected>) -> Result<u16, Rejected> {
    reply.map(|receipt| receipt.cents)
}

#[server_protocol(format = Json)]
fn last(left: u8) -> Response<Result<u8, Rejected>> {
    Response::ReplyAndClose(left.checked_sub(1).ok_or(Rejected::SoldOut { left }))
}

#[tokio::test]
async fn results_are_values_on_both_ends() {
    let server = start(ConcurrentServer::new(JsonOrder)).await;
    let mut connection = connect(server.addr()).await;
    let bought = within(connection.exchange(Buy { count: 3 }))
        .await
        .expect("a reply");
    assert_eq!(bought, Ok(750));
    let bought = within(connection.exchange(Buy { count: 10 }))
        .await
        .expect("a reply");
    assert_eq!(bought, Err(Rejected::SoldOut { left: 9 }));
    drop(connection);
    server.stopped().await;
}

#[server_protocol(format = Postcard)]
fn total(numbers: Vec<u32>) -> Result<u64, String> {
    match &*numbers {
        [] => Err("there are none".to_owned()),
        numbers => Ok(numbers.iter().copied().map(u64::from).sum()),
    }
}

#[tokio::test]
async fn channel_and_pipeline_speak_a_format() {
    let server = start(ConcurrentServer::new(Total)).await;
    let mut connection = connect(server.addr()).await;
    let mut pipeline = connection.pipeline::<Total>();
    for numbers in [vec![1, 2], Vec::new()] {
        within(pipeline.send(numbers)).await.expect("it is open");
    }
    for expected in [Ok(3), Err("there are none".to_owned())] {
        let reply = within(pipeline.receive()).await.expect("it is open");
        assert_eq!(reply, Some(expected));
    }
    let channel = connection.into_channel().expect("it is open");
    let (some, none) = tokio::join!(
        within(channel.call::<Total>(vec![u32::MAX, 1])),
        within(channel.call::<Total>(Vec::new()))
    );
    assert_eq!(some.expect("a reply"), Ok(1 << 32));
    assert_eq!(none.expect("a reply"), Err("there are none".to_owned()));
    drop(channel);
    server.stopped().await;
}

#[tokio::test]
async fn last_answer_is_what_it_holds() {
    let server = start(ConcurrentServer::new(Last)).await;
    for (left, expected) in [(1, Ok(0)), (0, Err(Rejected::SoldOut { left: 0 }))] {
        let mut connection = connect(server.addr()).await;
        let reply = within(connection.call::<Last>(left))
            .await
            .expect("a reply");
        assert_eq!(reply, expected);
        let again = within(connection.call::<Last>(left)).await;
        again.expect_err("it was the last");
    }
    server.stopped().await;
}

#[tokio::test]
async fn message_without_a_form_is_a_failure_whose_reason_stays_here() {
    #[server_protocol(format = Json)]
    fn keys(_: u8) -> std::collections::BTreeMap<(u8, u8), u8> {
        [((1, 2), 3)].into()
    }
    let server = start(ConcurrentServer::new(Keys)).await;
    let mut peer = server.peer().await;
    let heard = within(peer.ask("1")).await;
    assert_eq!(heard.kind(), RejectionKind::Failed.code());
    assert!(!format!("{heard:?}").contains("key"), "{heard:?}");
    drop(peer);
    server.stopped().await;
}
