//! A connection returns its stream, and the bytes that were read after the last message.

use tcs::{
    ErrorKind, Execution,
    client::{ConnectOptions, ConnectionParts},
    framing::LengthPrefixed,
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, connected, hears, told},
    frame, memory,
    pipeline::{receive, send},
    script::{closes, expects, finishes, play, receives, sends},
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Returns the text of the error in place of parts, which says that the connection is broken.
fn reason(parts: tcs::Result<ConnectionParts>) -> String {
    let error = parts.expect_err("something is missing");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    error.to_string()
}

#[tokio::test]
async fn stream_is_returned_with_the_bytes_after_the_last_message() {
    let (mut connection, server) = connected::<LengthPrefixed>([
        expects(frame("upgrade")),
        sends([frame("yes"), b"raw".to_vec()].concat()),
        expects("hello"),
        sends(" bytes"),
        closes(),
    ])
    .await;
    let reply = within(connection.call::<Prefixed>("upgrade")).await;
    assert_eq!(reply.expect("a reply"), "yes");
    let mut parts = connection.into_parts().expect("nothing is missing");
    assert_eq!(parts.read_buf, b"raw");
    let mut rest = Vec::new();
    within(parts.stream.write_all(b"hello"))
        .await
        .expect("open");
    let read = within(parts.stream.read_to_end(&mut rest)).await;
    read.expect("no reset");
    assert_eq!(rest, b" bytes");
    server.finished().await;
}

/// While a request is sent, the client reads on after its reply.
#[tokio::test]
async fn bytes_that_were_read_while_a_request_was_sent_are_returned() {
    let (mut connection, peer) = memory::connection(64);
    let large = "x".repeat(1_000);
    let early = [frame("early"), b"raw".to_vec()].concat();
    let server = play(
        peer,
        [
            receives(4),
            sends(&early[..11]),
            sends(&early[11..]),
            receives(1_000),
        ],
    );
    let reply = within(connection.call::<Prefixed>(&large)).await;
    assert_eq!(reply.expect("a reply"), "early");
    let parts = connection.into_parts().expect("nothing is missing");
    assert_eq!(parts.read_buf, b"raw");
    server.finished().await;
}

#[tokio::test]
async fn pipeline_leaves_parts_only_after_all_its_replies() {
    let missing =
        "the connection to unnamed peer is closed: replies to earlier requests are missing";
    for is_received in [true, false] {
        let (mut connection, mut peer) = memory::connection(64);
        let mut pipeline = connection.pipeline::<Prefixed>();
        send(&mut pipeline, &["one"]).await;
        within(pipeline.flush()).await;
        hears(&mut peer, "one").await;
        within(peer.send(frame("1"))).await;
        if is_received {
            assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
        }
        match connection.into_parts() {
            Ok(parts) => assert!(is_received && parts.read_buf.is_empty()),
            parts => {
                assert_eq!(reason(parts), missing);
                assert_eq!(within(peer.hear()).await, Heard::End);
            }
        }
    }
}

#[tokio::test]
async fn connection_in_the_middle_of_a_message_has_no_parts() {
    let within_message = "the connection to unnamed peer is closed: an earlier message was not sent \
                          or received to its end";

    let (near, far) = tokio::io::duplex(64);
    let options = ConnectOptions::new().max_frame_len(10);
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let _server = play(
        RawPeer::over(far),
        [expects(frame("x")), sends([0, 0, 0, 11, b'y'])],
    );
    let reply = within(connection.call::<Prefixed>("x")).await;
    reply.expect_err("it is too large");
    assert_eq!(reason(connection.into_parts()), within_message);

    let (mut connection, peer) = memory::connection(64);
    let server = play(peer, [receives(4), sends(frame("early")), finishes()]);
    let reply = within(connection.call::<Prefixed>(&"x".repeat(1_000))).await;
    assert_eq!(reply.expect("a reply"), "early");
    let _peer = server.peer().await;
    assert_eq!(reason(connection.into_parts()), within_message);
}

#[tokio::test]
async fn connection_that_has_failed_has_no_parts() {
    let (mut connection, peer) = memory::connection(64);
    drop(peer);
    let reply = within(connection.call::<Prefixed>("x")).await;
    reply.expect_err("it is closed");
    let error = connection.into_parts().expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
}
