//! Values of which serde leaves out a field: Postcard has no way to say so.

use serde::{Deserialize, Serialize};
use tcs::{ConcurrentServer, ErrorKind, Execution, format::Postcard, server_protocol};
use tcs_tests::{
    client::{chain, connected, told},
    code, control, frame,
    script::{expects, sends, serve},
    start, within,
};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<u8>,
    number: u8,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
enum Event {
    Noted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<u8>,
        number: u8,
    },
}

/// Leaves out the text of a note for 0.
fn note_of(number: u8) -> Note {
    let text = (number > 0).then_some(7);
    Note { text, number }
}

#[server_protocol(format = Postcard)]
fn find(number: u8) -> Note {
    note_of(number)
}

#[server_protocol(format = Postcard)]
fn noted(number: u8) -> Result<Vec<Event>, String> {
    let Note { text, number } = note_of(number);
    Ok(vec![Event::Noted { text, number }])
}

#[server_protocol(format = Postcard)]
fn keep(note: Note) -> Note {
    note
}

#[server_protocol(format = Postcard)]
mod notes {
    use super::{Note, note_of};

    pub fn find(number: u8) -> Note {
        note_of(number)
    }

    pub fn keep(note: Note) -> Note {
        note
    }
}

#[tokio::test]
async fn reply_with_a_field_left_out_fails_and_the_next_is_sent() {
    for (server, requests, reply) in [
        (
            start(ConcurrentServer::new(Find)).await,
            [&[0][..], &[1]],
            &[1, 7, 1][..],
        ),
        (
            start(ConcurrentServer::new(Noted)).await,
            [&[0], &[1]],
            // `Ok`, one event, its variant and its fields.
            &[0, 1, 0, 1, 7, 1],
        ),
        (
            start(ConcurrentServer::new(notes::Protocol {})).await,
            [&[0, 0], &[0, 1]],
            &[0, 1, 7, 1],
        ),
    ] {
        let mut peer = server.peer().await;
        within(peer.send(requests.map(frame).concat())).await;
        within(peer.finish()).await;
        let failed = control(code::FAILED, "the reply cannot be encoded");
        let said = [failed, frame(reply)].concat();
        assert_eq!(within(peer.rest()).await, said);
        let requests = server.stopped().await.requests;
        assert_eq!((requests.failed, requests.served), (1, 1));
    }
}

/// What every client says, and of which nothing was sent.
const LEFT_OUT: &str = "it leaves out the field `text`";

#[tokio::test]
async fn request_with_a_field_left_out_is_not_sent_and_the_next_is() {
    // The server sees the second request only.
    let exchange = [expects(frame([1, 7, 1])), sends(frame([1, 7, 1]))];
    let (mut connection, server) = connected(exchange).await;
    let error = within(connection.call::<Keep>(note_of(0))).await;
    let error = error.expect_err("it cannot be encoded");
    assert_eq!(told(&error), (ErrorKind::Request, Execution::NotSent));
    let reasons = chain(&error).join(": ");
    assert!(reasons.contains(LEFT_OUT), "{reasons}");
    let reply = within(connection.call::<Keep>(note_of(1))).await;
    assert_eq!(reply.expect("a reply"), note_of(1));
    server.finished().await;
}

#[tokio::test]
async fn argument_with_a_field_left_out_is_not_sent_and_the_next_is() {
    let exchange = [expects(frame([1, 1, 7, 1])), sends(frame([1, 1, 7, 1]))];
    let (addr, server) = serve(exchange).await;
    let client = within(notes::Client::connect(addr)).await;
    let mut client = client.expect("it listens");
    let error = within(client.keep(note_of(0))).await;
    let error = error.expect_err("it cannot be encoded");
    assert_eq!(told(&error), (ErrorKind::Request, Execution::NotSent));
    let reasons = chain(&error).join(": ");
    assert!(reasons.contains(LEFT_OUT), "{reasons}");
    let reply = within(client.keep(note_of(1))).await;
    assert_eq!(reply.expect("a reply"), note_of(1));
    server.finished().await;
}
