//! What a server rejects, its client is told, and may go on if the server does.

use std::time::Duration;

use tcs::{Connection, ErrorKind, Execution, Rejection, RejectionKind, framing::LengthPrefixed};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, chain, connect, connected, told},
    control, frame, memory, patiently,
    script::{closes, expects, play, receives, sends, serve},
    within,
};

#[tokio::test]
async fn rejections_are_errors_that_tell_the_reason() {
    let kinds = [
        (0x01, RejectionKind::Error, Execution::Executed),
        (0x02, RejectionKind::BadRequest, Execution::NotExecuted),
        (0x03, RejectionKind::TooLarge, Execution::NotExecuted),
        (0x04, RejectionKind::Busy, Execution::NotExecuted),
        (0x05, RejectionKind::TimedOut, Execution::Executed),
        (0x06, RejectionKind::Failed, Execution::Executed),
        (0x3e, RejectionKind::Unknown, Execution::Unknown),
    ];
    let rejects = |(code, ..): &(u8, _, _)| sends(control(*code, "a\n\u{1b}reason"));
    let replies = kinds.iter().map(rejects).chain([sends(frame("after all"))]);
    let (addr, server) = serve(replies.flat_map(|reply| [expects(frame("x")), reply])).await;
    let mut connection = connect(addr).await;
    for (_, kind, execution) in kinds {
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("a rejection");
        assert_eq!(told(&error), (ErrorKind::Rejected, execution));
        let rejection = error.rejection().expect("it was rejected");
        assert_eq!(
            (rejection.kind(), rejection.text()),
            (kind, "a\n\u{1b}reason")
        );
        let cause = match kind {
            RejectionKind::Error => "a\\n\\u{1b}reason".to_owned(),
            kind => format!("{kind}: a\\n\\u{{1b}}reason"),
        };
        assert_eq!(chain(&error), [format!("{addr} {}", said(kind)), cause]);
    }
    // None of them is final.
    let reply = within(connection.call::<Prefixed>("x")).await;
    assert_eq!(reply.expect("a reply"), "after all");
    server.finished().await;
}

#[tokio::test]
async fn rejection_has_at_most_4096_bytes() {
    // One of them is its code.
    let (longest, longer) = ("x".repeat(4_095), "x".repeat(4_096));
    let (mut connection, server) = connected([
        expects(frame("x")),
        sends(control(0x04, &longest)),
        expects(frame("y")),
        sends(control(0x04, &longer)),
    ])
    .await;
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("a rejection");
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    assert_eq!(error.rejection().map(Rejection::text), Some(&*longest));
    let error = within(connection.call::<Prefixed>("y")).await;
    let error = error.expect_err("no frame");
    assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
    server.finished().await;
}

#[tokio::test]
async fn final_rejection_ends_the_connection_and_is_remembered() {
    let (addr, server) = serve([sends(control(0x41, "too quiet")), closes()]).await;
    let mut connection = connect(addr).await;
    server.finished().await;
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("it has ended");
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("it has ended");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    assert_eq!(
        chain(&error),
        [
            format!("{addr} ended the connection"),
            "idle: too quiet".to_owned()
        ]
    );
}

#[tokio::test]
async fn rejection_is_heard_although_the_request_is_not_all_sent() {
    let (mut connection, server) =
        connected([receives(4), sends(control(0x43, "too large"))]).await;
    let large = "x".repeat(8 << 20);
    let error = within(connection.call::<Prefixed>(&large)).await;
    assert_eq!(rejected(error), RejectionKind::ProtocolError);
    server.finished().await;
}

#[tokio::test]
async fn rejection_is_heard_although_the_server_has_closed_before_the_request_is_all_sent() {
    let (near, far) = tokio::io::duplex(64);
    let server = play(
        RawPeer::over(far),
        [receives(4), sends(control(0x43, "too large")), closes()],
    );
    let mut connection = Connection::over(near);
    let error = within(connection.call::<Prefixed>(&"x".repeat(1_000))).await;
    assert_eq!(rejected(error), RejectionKind::ProtocolError);
    server.finished().await;
}

#[tokio::test]
async fn request_is_sent_whole_although_it_is_rejected_early() {
    let large = "x".repeat(8 << 20);
    let (mut connection, server) = connected([
        receives(4),
        sends(control(0x03, "too large")),
        receives(large.len()),
    ])
    .await;
    let error = within(connection.call::<Prefixed>(&large)).await;
    assert_eq!(rejected(error), RejectionKind::TooLarge);
    let peer = server.peer().await;
    let server = play(peer, [expects(frame("next")), sends(frame("reply"))]);
    let reply = within(connection.call::<Prefixed>("next")).await;
    assert_eq!(reply.expect("a reply"), "reply");
    server.finished().await;
}

/// Returns why a call was rejected.
fn rejected(reply: tcs::Result<&str>) -> RejectionKind {
    let error = reply.expect_err("a rejection");
    error.rejection().expect("it was rejected").kind()
}

/// An error of the function is an answer; only the other kinds turn a request away.
fn said(kind: RejectionKind) -> &'static str {
    match kind {
        RejectionKind::Error => "answered with an error",
        _ => "rejected the request",
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_said_is_told_although_it_stops_reading() {
    let large = "x".repeat(1_000);
    for ends in [false, true] {
        for early in [control(0x03, "too large"), frame(b"early")] {
            let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(64);
            let began = tokio::time::Instant::now();
            let server = async {
                within(peer.receive(4)).await;
                within(peer.send(&early)).await;
                if ends {
                    peer.finish().await;
                }
            };
            let (said, ()) =
                patiently(async { tokio::join!(connection.call::<Prefixed>(&large), server) })
                    .await;
            match said {
                Ok(reply) => assert_eq!(frame(reply.as_bytes()), early),
                Err(error) => {
                    let rejection = error.rejection().expect("rejected");
                    assert_eq!(rejection.kind(), RejectionKind::TooLarge);
                }
            }
            let limit = Duration::from_secs(if ends { 0 } else { 30 });
            assert_eq!(began.elapsed(), limit);
            let error = within(connection.call::<Prefixed>("next")).await;
            let error = error.expect_err("it is closed");
            assert_eq!(error.execution(), Execution::NotSent, "{error}");
            let kind = if ends {
                ErrorKind::Closed
            } else {
                ErrorKind::Broken
            };
            assert_eq!(error.kind(), kind, "{error}");
            // It does not wait any more, and is closed.
            assert_eq!(began.elapsed(), limit);
            within(peer.rest()).await;
        }
    }
}
