//! Old clients and new servers understand each other, and new clients and old servers, as far as
//! the format lets them.
//!
//! The ends of one version never vouch for each other: messages are raw bytes as well.

use serde::{Deserialize, Serialize};
use tcs::{
    ConcurrentServer, Error, ErrorKind, Execution, RejectionKind, client_protocol,
    format::{Json, MessagePack, Postcard},
    server_protocol,
};
use tcs_tests::{
    Heard, Running,
    client::{chain, told},
    control, frame,
    script::{Script, expects, expects_end, sends, serve},
    start, within,
};

#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct Item {
    name: String,
}

/// The same with a field that was added.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
struct NewItem {
    name: String,
    note: Option<String>,
}

/// Both versions in one format, the clients of both, and how often a new thing is said.
macro_rules! versions {
    ($format:ty, $old:ident, $new:ident, $contract:ident) => {
        #[server_protocol(format = $format)]
        mod $old {
            use super::*;

            pub fn add(item: Item, count: u8) -> String {
                format!("{count} {}", item.name)
            }

            pub fn list() -> Vec<String> {
                Vec::new()
            }
        }

        /// With an optional field of an argument, an optional argument, and an operation at the end.
        #[server_protocol(format = $format)]
        mod $new {
            use super::*;

            pub fn add(item: NewItem, count: u8, shelf: Option<u8>) -> String {
                format!("{count} {} {:?} {shelf:?}", item.name, item.note)
            }

            pub fn list(most: Option<u8>) -> Vec<String> {
                most.map(|most| most.to_string()).into_iter().collect()
            }

            pub async fn remove(name: &str) -> bool {
                name == "tea"
            }
        }

        /// What a client has that was built of the source of the old version, without its code.
        #[client_protocol(format = $format)]
        mod $contract {
            use super::*;
            use std::collections::HashMap;

            pub fn add(item: Item, count: u8, #[state] _missing: &NoSuchType) -> String {
                this_is_not_compiled(item, count)
            }

            pub fn list() -> Vec<String>;

            fn helper(map: NoSuchType) {}
        }
    };
}

versions!(Json, json_old, json_new, json_contract);
versions!(MessagePack, packed_old, packed_new, packed_contract);
versions!(Postcard, lean_old, lean_new, lean_contract);

/// Rejected by the server as a bad request that says this.
fn rejected(error: &Error) -> String {
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
    let rejection = error.rejection().expect("it was rejected");
    assert_eq!(rejection.kind(), RejectionKind::BadRequest);
    rejection.text().to_owned()
}

fn tea() -> Item {
    Item {
        name: "tea".to_owned(),
    }
}

fn new_tea() -> NewItem {
    NewItem {
        name: "tea".to_owned(),
        note: Some("green".to_owned()),
    }
}

macro_rules! self_describing {
    ($test:ident, $old:ident, $new:ident, $contract:ident) => {
        #[tokio::test]
        async fn $test() {
            let server = start(ConcurrentServer::new($new::Protocol)).await;
            let mut old = within($old::Client::connect(server.addr()))
                .await
                .expect("it listens");
            let added = within(old.add(tea(), 2)).await.expect("a reply");
            assert_eq!(added, "2 tea None None");
            assert_eq!(within(old.list()).await.expect("a reply"), [""; 0]);
            let mut old = $contract::Client::over(old.into_inner());
            let added = within(old.add(tea(), 2)).await.expect("a reply");
            assert_eq!(added, "2 tea None None");
            drop(old);
            server.stopped().await;

            let server = start(ConcurrentServer::new($old::Protocol)).await;
            let mut new = within($new::Client::connect(server.addr()))
                .await
                .expect("it listens");
            let added = within(new.add(new_tea(), 2, Some(7)))
                .await
                .expect("a reply");
            assert_eq!(added, "2 tea");
            assert_eq!(within(new.list(Some(1))).await.expect("a reply"), [""; 0]);
            let error = within(new.remove("tea"))
                .await
                .expect_err("it is not there");
            assert!(
                rejected(&error).ends_with("there is no operation `remove`"),
                "{error:?}"
            );
            assert_eq!(within(new.list(None)).await.expect("a reply"), [""; 0]);
            drop(new);
            server.stopped().await;
        }
    };
}

self_describing!(json_operations_evolve, json_old, json_new, json_contract);
self_describing!(
    messagepack_operations_evolve,
    packed_old,
    packed_new,
    packed_contract
);

#[tokio::test]
async fn postcard_operations_are_added_at_the_end() {
    let server = start(ConcurrentServer::new(lean_new::Protocol)).await;
    let mut old = within(lean_contract::Client::connect(server.addr()))
        .await
        .expect("it listens");
    // A field that was added is missed.
    let error = within(old.add(tea(), 2))
        .await
        .expect_err("it is another message");
    assert!(
        rejected(&error).starts_with("invalid Postcard at byte "),
        "{error:?}"
    );
    drop(old);
    server.stopped().await;

    let server = start(ConcurrentServer::new(lean_old::Protocol)).await;
    let mut new = within(lean_new::Client::connect(server.addr()))
        .await
        .expect("it listens");
    let error = within(new.remove("tea"))
        .await
        .expect_err("it is not there");
    let text = rejected(&error);
    assert!(
        text.ends_with("there is no operation 2, there are only 2"),
        "{text}"
    );
    // An argument that was added is too much.
    let error = within(new.list(None))
        .await
        .expect_err("it is another message");
    assert!(
        rejected(&error).ends_with("trailing bytes after the value"),
        "{error:?}"
    );
    drop(new);
    server.stopped().await;

    // What was not changed is understood, with an operation behind it or not.
    let server = start(ConcurrentServer::new(lean_new::Protocol)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"\x02\x03tea"))).await;
    assert_eq!(
        within(peer.hear()).await,
        Heard::Message(b"\x02\x01".to_vec())
    );
    drop(peer);
    server.stopped().await;
}

async fn server_says(server: Running, exchanges: &[(&[u8], Heard)]) {
    let mut peer = server.peer().await;
    for (request, reply) in exchanges {
        within(peer.send(frame(request))).await;
        assert_eq!(&within(peer.hear()).await, reply);
    }
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn server_reads_arguments_by_name_or_in_order() {
    let said = |text: &str| Heard::Message(format!(r#"{{"add":"{text}"}}"#).into_bytes());
    let wrong = |text: &str| Heard::Control(0x02, format!("invalid JSON at line 1, {text}"));
    let server = start(ConcurrentServer::new(json_new::Protocol)).await;
    server_says(
        server,
        &[
            (
                br#"{"add":{"item":{"name":"tea"},"count":2}}"#,
                said("2 tea None None"),
            ),
            (
                br#" {"add": {"more": [1], "shelf": 7, "count": 2, "item": {"name": "tea"}}}"#,
                said("2 tea None Some(7)"),
            ),
            (
                br#"{"add":[{"name":"tea"},2,null]}"#,
                said("2 tea None None"),
            ),
            (
                br#"{"list":{}}"#,
                Heard::Message(br#"{"list":[]}"#.to_vec()),
            ),
            (
                br#"{"add":{"count":2}}"#,
                wrong("column 18: the argument `item` is missing"),
            ),
            (
                br#"{"add":[{"name":"tea"}]}"#,
                wrong("column 23: the argument `count` is missing"),
            ),
            (
                br#"{"list":{"most":1,"most":2}}"#,
                wrong("column 24: the argument `most` is given twice"),
            ),
            (
                b"{\"\x7fadd\":{}}",
                wrong("column 7: there is no operation `\\u{7f}add`"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn client_writes_arguments_by_name_and_knows_its_reply() {
    let (addr, server) = serve([
        expects(frame(r#"{"add":{"item":{"name":"tea"},"count":2}}"#)),
        sends(frame(r#"{"add":"done"}"#)),
        expects(frame(r#"{"list":{}}"#)),
        sends(control(0x02, "no")),
        expects(frame(r#"{"list":{}}"#)),
        sends(frame(r#"{"list":["tea"]}"#)),
    ])
    .await;
    let mut client = within(json_contract::Client::connect(addr))
        .await
        .expect("it listens");
    assert_eq!(within(client.add(tea(), 2)).await.expect("a reply"), "done");
    let error = within(client.list()).await.expect_err("it is rejected");
    assert_eq!(rejected(&error), "no");
    assert_eq!(within(client.list()).await.expect("a reply"), ["tea"]);
    server.finished().await;
}

/// Returns a client of a server that gives this reply to `list`, and then expects the end.
async fn replying(reply: &str) -> (json_contract::Client, Script) {
    let steps = [
        expects(frame(r#"{"list":{}}"#)),
        sends(frame(reply)),
        expects_end(),
    ];
    let (addr, server) = serve(steps).await;
    let client = within(json_contract::Client::connect(addr)).await;
    (client.expect("it listens"), server)
}

/// What cannot be the reply of `list`, and the error.
const OF_NO_LIST: &[(&str, &str)] = &[
    (
        r#"{"add":"done"}"#,
        "the reply is that of another operation",
    ),
    (
        r#""hello""#,
        "invalid JSON at line 1, column 7: there is no operation `hello`",
    ),
];

#[tokio::test]
async fn connection_closes_after_a_message_that_is_no_reply_of_its_operation() {
    for (reply, text) in OF_NO_LIST {
        let (mut client, server) = replying(reply).await;
        let error = within(client.list()).await.expect_err("no reply of this");
        let cause = &*chain(&error)[1];
        assert_eq!((error.kind(), cause), (ErrorKind::Reply, *text));
        let error = within(client.list()).await.expect_err("it is closed");
        assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
        server.finished().await;
    }
}

#[tokio::test]
async fn channel_closes_after_a_message_that_is_no_reply_of_its_operation() {
    for (reply, text) in OF_NO_LIST {
        let (client, server) = replying(reply).await;
        let client = client.into_channel().expect("it is usable");
        let error = within(client.list()).await.expect_err("no reply of this");
        let cause = &*chain(&error)[1];
        assert_eq!((error.kind(), cause), (ErrorKind::Reply, *text));
        server.finished().await;
        let error = within(client.list()).await.expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::Broken, "{error:?}");
    }
}
