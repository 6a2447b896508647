//! What a client says, and what it makes of the replies.

use tcs::{
    Client, Connection,
    framing::{LengthPrefixed, Lines, Raw},
};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, ask, connected},
    control, frame,
    script::{closes, expects, expects_end, play, sends, serve},
    within,
};

#[tokio::test]
async fn client_connects_asks_and_closes() {
    let (addr, server) = serve([
        expects(frame("Ann")),
        sends(frame("Hello, Ann!")),
        expects_end(),
    ])
    .await;
    let client = Client::new(ask::<LengthPrefixed>("Ann")).address(addr);
    let reply = within(client.open()).await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!");
    server.finished().await;
}

#[tokio::test]
async fn connection_is_kept_for_many_exchanges() {
    let (mut connection, server) = connected([
        expects(frame("one")),
        sends(frame("1")),
        expects(frame("two")),
        sends(frame("2")),
        expects(frame("three")),
        sends(frame("3")),
    ])
    .await;
    let reply = within(connection.call::<Prefixed>("one")).await;
    assert_eq!(reply.expect("a reply"), "1");
    let reply = within(connection.exchange(ask("two"))).await;
    assert_eq!(reply.expect("a reply"), "2");
    let reply = within(connection.call::<Prefixed>("three")).await;
    assert_eq!(reply.expect("a reply"), "3");
    server.finished().await;
}

#[tokio::test]
async fn reply_in_pieces_arrives_whole() {
    // Each read has one byte.
    let (near, far) = tokio::io::duplex(1);
    let reply = [control(0xee, "a notice"), frame("größer")].concat();
    let server = play(RawPeer::over(far), [expects(frame("slow")), sends(reply)]);
    let mut connection = Connection::over(near);
    let reply = within(connection.call::<Prefixed>("slow")).await;
    assert_eq!(reply.expect("a reply"), "größer");
    server.finished().await;
}

#[tokio::test]
async fn lines_and_raw_are_spoken_as_well() {
    let (addr, server) = serve([expects("Ann\n"), sends("Hello\r\n")]).await;
    let reply = within(Client::new(ask::<Lines>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello");
    server.finished().await;

    let (addr, server) = serve([expects("Ann"), sends("Hello"), sends(", Ann!\n"), closes()]).await;
    let reply = within(Client::new(ask::<Raw>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!\n");
    server.finished().await;
}

#[tokio::test]
async fn connection_speaks_over_any_stream() {
    let (near, far) = tokio::io::duplex(8);
    let server = play(
        RawPeer::over(far),
        [expects(frame("in memory")), sends(frame("as well"))],
    );
    let mut connection = Connection::over(near);
    let reply = within(connection.call::<Prefixed>("in memory")).await;
    assert_eq!(reply.expect("a reply"), "as well");
    assert_eq!(connection.peer().addr(), None);
    server.finished().await;
}

#[tokio::test]
async fn exchanges_can_be_spawned() {
    let (addr, server) = serve([expects(frame("x")), sends(frame("y"))]).await;
    let task = tokio::spawn(async move {
        let mut connection = Connection::connect(addr).await?;
        connection.exchange(ask::<LengthPrefixed>("x")).await
    });
    assert_eq!(within(task).await.expect("no panic").expect("a reply"), "y");
    server.finished().await;
}
