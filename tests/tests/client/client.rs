//! What a client says, and what it makes of the replies.

use tcs::{
    Client, Connection,
    format::Plain,
    framing::{LengthPrefixed, Lines, Raw},
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, Text, ask, hears},
    control, frame,
    raw_server::RawServer,
    within,
};

#[tokio::test]
async fn client_connects_asks_and_closes() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "Ann").await;
        within(peer.send(frame(b"Hello, Ann!"))).await;
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let reply = within(
        Client::new(ask::<LengthPrefixed>("Ann"))
            .address(addr)
            .open(),
    )
    .await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!");
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn connection_is_kept_for_many_exchanges() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        for text in ["one", "two", "three"] {
            hears(&mut peer, text).await;
            within(peer.send(frame(text.as_bytes()))).await;
        }
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    assert_eq!(
        within(connection.call::<Prefixed>("one"))
            .await
            .expect("a reply"),
        "one"
    );
    assert_eq!(
        within(connection.exchange(ask("two")))
            .await
            .expect("a reply"),
        "two"
    );
    assert_eq!(
        within(connection.call::<Prefixed>("three"))
            .await
            .expect("a reply"),
        "three"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn reply_in_pieces_arrives_whole() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "slow").await;
        for byte in [control(0xee, "a notice"), frame("größer".as_bytes())].concat() {
            within(peer.send([byte])).await;
            tokio::task::yield_now().await;
        }
        peer
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    assert_eq!(
        within(connection.call::<Prefixed>("slow"))
            .await
            .expect("a reply"),
        "größer"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn lines_and_raw_are_spoken_as_well() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        assert_eq!(within(peer.receive(4)).await, b"Ann\n");
        within(peer.send("Hello\r\n")).await;
        peer
    })
    .await;
    let reply = within(Client::new(ask::<Lines>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello");
    within(server)
        .await
        .expect("the server saw what it expects");

    let (addr, server) = RawServer::once(|mut peer| async move {
        assert_eq!(within(peer.receive(3)).await, b"Ann");
        within(peer.send("Hello")).await;
        within(peer.send(", Ann!\n")).await;
    })
    .await;
    let reply = within(Client::new(ask::<Raw>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!\n");
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn greeting_is_received_before_anything_is_asked() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send("220 ready\n")).await;
        assert_eq!(within(peer.receive(5)).await, b"NOOP\n");
        within(peer.send("250 ok\n")).await;
    })
    .await;
    let mut connection: Connection<Lines> =
        within(Connection::connect(addr)).await.expect("it listens");
    let greeting: &str = within(connection.receive::<_, Plain>())
        .await
        .expect("a greeting");
    assert_eq!(greeting, "220 ready");
    assert_eq!(
        within(connection.call::<Text<Lines>>("NOOP"))
            .await
            .expect("a reply"),
        "250 ok"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn connection_speaks_over_any_stream() {
    let (near, far) = tokio::io::duplex(8);
    let server = tokio::spawn(async move {
        let mut peer = RawPeer::over(far);
        hears(&mut peer, "in memory").await;
        within(peer.send(frame(b"as well"))).await;
        peer
    });
    let mut connection = Connection::over(near);
    assert_eq!(
        within(connection.call::<Prefixed>("in memory"))
            .await
            .expect("a reply"),
        "as well"
    );
    assert_eq!(connection.peer().addr(), None);
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
}

#[tokio::test]
async fn exchanges_can_be_spawned() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "x").await;
        within(peer.send(frame(b"y"))).await;
    })
    .await;
    let task = tokio::spawn(async move {
        let mut connection = Connection::connect(addr).await?;
        connection.exchange(ask::<LengthPrefixed>("x")).await
    });
    assert_eq!(within(task).await.expect("no panic").expect("a reply"), "y");
    within(server)
        .await
        .expect("the server saw what it expects");
}
