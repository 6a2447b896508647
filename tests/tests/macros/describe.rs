//! A server with the option `describe` says what it has, in each format, to peers of any language.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tcs::{
    ConcurrentServer, Connection, Peer,
    format::{Json, MessagePack, Postcard},
    protocol::{Push, Replies, Requests},
    server_protocol,
};
use tcs_tests::{Heard, RawPeer, frame, start, within};

#[derive(Debug, Deserialize, Serialize)]
struct Row<'a>(&'a str);

/// Declares the same module for a format.
macro_rules! module {
    ($name:ident, $format:ident) => {
        /// Keeps "rows",
        /// by \ name.
        #[server_protocol(format = $format, push = Row<'_>, describe)]
        mod $name {
            use super::*;

            /// Adds a row.
            pub fn r#move(
                r#to: &str,
                #[secret] pairs: Vec<(u8, [u16; 4])>,
                #[state] _state: &u8,
                #[session] _session: &mut u8,
                #[context] _info: std::net::SocketAddr,
                _push: Push<Protocol>,
                _peer: &Peer,
            ) -> Result<Option<u8>, String> {
                Ok(u8::try_from(to.len() + pairs.len()).ok())
            }

            #[replies(Row<'_>)]
            pub async fn rows(mut out: Replies<'_, Rows>) -> Result<(), String> {
                out.send(Row("one")).await?;
                Ok(())
            }

            #[requests(&[u8])]
            pub async fn store(mut more: Requests<'_, Store>) -> Result<u8, String> {
                while more.next().await?.is_some() {}
                Ok(1)
            }

            fn helper() -> u8 {
                0
            }

            #[idempotent]
            pub fn last() -> u8 {
                helper()
            }
        }
    };
}

module!(in_json, Json);
module!(in_message_pack, MessagePack);
module!(in_postcard, Postcard);

fn description(name: &str) -> Value {
    let text = |name: &str, ty: &str| json!({ "name": name, "type": ty });
    json!({
        "protocol": name,
        "docs": "Keeps \"rows\",\nby \\ name.",
        "events": "Row<'_>",
        "operations": [
            {
                "name": "move",
                "docs": "Adds a row.",
                "arguments": [text("to", "&str"), text("pairs", "Vec<(u8, [u16; 4])>")],
                "reply": "Result<Option<u8>, String>",
            },
            { "name": "rows", "docs": "", "arguments": [], "reply": "Result<(), String>", "items": "Row<'_>" },
            { "name": "store", "docs": "", "arguments": [], "reply": "Result<u8, String>", "chunks": "&[u8]" },
            { "name": "last", "docs": "", "arguments": [], "reply": "u8" },
        ],
    })
}

async fn reply(peer: &mut RawPeer, request: &[u8]) -> Vec<u8> {
    within(peer.send(frame(request))).await;
    match within(peer.hear()).await {
        Heard::Message(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn parsed(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

#[tokio::test]
async fn description_is_json_in_a_reply_of_json() {
    let server = start(ConcurrentServer::new(in_json::Protocol { _state: 0 })).await;
    let mut peer = server.peer().await;
    let reply = parsed(&reply(&mut peer, br#"{"describe":{}}"#).await);
    let text = reply["describe"].as_str().expect("a text");
    assert_eq!(parsed(text.as_bytes()), description("in_json"));
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn description_is_json_in_a_reply_of_message_pack() {
    let protocol = in_message_pack::Protocol { _state: 0 };
    let server = start(ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    let reply = reply(&mut peer, b"\x81\xa8describe\x80").await;
    // A text of more than 255 bytes has a length of two.
    let text = reply.strip_prefix(b"\x81\xa8describe\xda");
    let (length, text) = text.expect("the operation").split_at(2);
    assert_eq!(
        length,
        u16::try_from(text.len()).expect("short").to_be_bytes()
    );
    assert_eq!(parsed(text), description("in_message_pack"));
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn description_has_a_number_of_its_own_where_operations_have_no_names() {
    let server = start(ConcurrentServer::new(in_postcard::Protocol { _state: 0 })).await;
    let mut peer = server.peer().await;
    let number = b"\xff\xff\xff\xff\x0f";
    let described = reply(&mut peer, number).await;
    let (length, text) = described
        .strip_prefix(number)
        .expect("the operation")
        .split_at(2);
    assert_eq!(
        usize::from(length[0] & 0x7f) | usize::from(length[1]) << 7,
        text.len()
    );
    assert_eq!(parsed(text), description("in_postcard"));
    // The operations before it keep theirs, and the position of the description is that of none.
    assert_eq!(reply(&mut peer, b"\x03").await, b"\x03\x00");
    within(peer.send(frame(b"\x04"))).await;
    let Heard::Control(_, text) = within(peer.hear()).await else {
        panic!("a rejection");
    };
    assert!(
        text.contains("there is no operation 4, there are only 4"),
        "{text}"
    );
    drop(peer);
    server.stopped().await;
}

#[tokio::test]
async fn client_has_a_method_that_describes() {
    let (near, far) = tokio::io::duplex(4096);
    let protocol = in_postcard::Protocol { _state: 0 };
    let serving = tokio::spawn(ConcurrentServer::new(protocol).serve_stream(far, Peer::unnamed()));
    let mut client = in_postcard::Client::over(Connection::over(near));
    let text = within(client.describe()).await.expect("a reply");
    assert_eq!(parsed(text.as_bytes()), description("in_postcard"));
    assert_eq!(within(client.last()).await.expect("a reply"), 0);
    drop(client);
    let report = within(serving).await.expect("no panic").expect("it served");
    assert_eq!(report.requests.served, 2);
}

/// An operation of this name, but of the user's.
#[server_protocol(format = Postcard)]
mod own {
    pub fn describe() -> u8 {
        7
    }
}

#[tokio::test]
async fn own_operation_of_this_name_is_an_ordinary_one() {
    let server = start(ConcurrentServer::new(own::Protocol)).await;
    let mut peer = server.peer().await;
    assert_eq!(reply(&mut peer, b"\x00").await, b"\x00\x07");
    within(peer.send(frame(b"\xff\xff\xff\xff\x0f"))).await;
    assert!(matches!(within(peer.hear()).await, Heard::Control(..)));
    drop(peer);
    server.stopped().await;
}
