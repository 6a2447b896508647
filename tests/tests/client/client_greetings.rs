//! No client takes a greeting for the reply to its first request.

use std::net::SocketAddr;

use tcs::{
    Channel, Client, Connection, ErrorKind, Execution, Rejection, RejectionKind,
    client::ConnectOptions,
    client_protocol,
    format::Plain,
    framing::{LengthPrefixed, Lines, Raw},
    server_protocol,
};
use tcs_tests::{
    Heard, RawPeer, client::chain, control, counted, frame, raw_server::RawServer, within,
};
use tokio::task::JoinHandle;

#[server_protocol(framing = Lines, greeting = "220 ready")]
fn obey(command: &str) -> String {
    format!("250 {command}")
}

#[client_protocol(server = Obey, request = "NOOP")]
fn told(reply: String) -> String {
    reply
}

#[server_protocol(greeting = "ready")]
fn rejected(text: &str) -> String {
    text.to_owned()
}

/// A server that greets, and says nothing else before it is asked.
async fn greeting(commands: &'static [&str]) -> (SocketAddr, JoinHandle<()>) {
    RawServer::once(move |mut peer| async move {
        within(peer.send("220 ready\n")).await;
        for command in commands {
            let line = format!("{command}\n");
            assert_eq!(within(peer.receive(line.len())).await, line.as_bytes());
            within(peer.send(format!("250 {command}\n"))).await;
        }
    })
    .await
}

async fn connection(addr: SocketAddr) -> Connection<Lines> {
    within(Connection::connect(addr)).await.expect("it listens")
}

#[tokio::test]
async fn first_call_waits_for_the_greeting_and_drops_it() {
    let (addr, server) = greeting(&["one", "two"]).await;
    let mut connection = connection(addr).await;
    for command in ["one", "two"] {
        let reply = within(connection.call::<Obey>(command)).await;
        assert_eq!(reply.expect("a reply"), format!("250 {command}"));
    }
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn nothing_is_sent_before_the_greeting() {
    let (near, far) = tokio::io::duplex(64);
    let (near, writes) = counted(near);
    let mut peer = RawPeer::over(far);
    let mut connection: Connection<Lines, _> = Connection::over(near);
    let call = tokio::spawn(async move {
        let reply = connection.call::<Obey>("one").await;
        reply.expect("a reply")
    });
    tokio::task::yield_now().await;
    assert!(writes.take().is_empty());
    within(peer.send("220 ready\n")).await;
    assert_eq!(within(peer.receive(4)).await, b"one\n");
    within(peer.send("250 one\n")).await;
    assert_eq!(within(call).await.expect("no panic"), "250 one");
}

#[tokio::test]
async fn greeting_that_was_received_is_not_waited_for_again() {
    let (addr, server) = greeting(&["one"]).await;
    let mut connection = connection(addr).await;
    let greeting = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(greeting.expect("a greeting"), "220 ready");
    let reply = within(connection.call::<Obey>("one")).await;
    assert_eq!(reply.expect("a reply"), "250 one");
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn client_of_a_server_that_greets_drops_the_greeting() {
    let (addr, server) = greeting(&["NOOP"]).await;
    let reply = within(Client::new(Told).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn pipeline_waits_for_the_greeting_once() {
    let (addr, server) = greeting(&["one", "two"]).await;
    let mut connection = connection(addr).await;
    let mut pipeline = connection.pipeline::<Obey>();
    for command in ["one", "two"] {
        within(pipeline.send(command)).await.expect("it is open");
    }
    for expected in ["250 one", "250 two"] {
        let reply = within(pipeline.receive()).await.expect("a reply");
        assert_eq!(reply.as_deref(), Some(expected));
    }
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn channel_has_no_greeting_that_was_not_received_before() {
    let (addr, server) = greeting(&["one", "two", "NOOP"]).await;
    let channel = within(Channel::connect(addr)).await.expect("it listens");
    let errors = [
        within(channel.call::<Obey>("one")).await.map(drop),
        within(channel.call_with::<Obey, _>("one", drop)).await,
        within(channel.exchange(Told)).await.map(drop),
    ];
    for error in errors {
        let error = error.expect_err("it was not greeted");
        assert_eq!(
            (error.kind(), error.execution()),
            (ErrorKind::Request, Execution::NotSent)
        );
        assert_eq!(
            chain(&error),
            [
                "cannot encode the request",
                "the server begins with a greeting: `receive` it, or `call` once, before many tasks \
                 share the connection"
            ]
        );
    }
    drop(channel);
    server.abort();

    let (addr, server) = greeting(&["one", "two", "NOOP"]).await;
    let mut connection = connection(addr).await;
    let reply = within(connection.call::<Obey>("one")).await;
    assert_eq!(reply.expect("a reply"), "250 one");
    let channel = connection.into_channel().expect("it is open");
    let reply = within(channel.call::<Obey>("two")).await;
    assert_eq!(reply.expect("a reply"), "250 two");
    let reply = within(channel.exchange(Told)).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn final_rejection_in_place_of_the_greeting_is_told() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send(control(0x40, "later"))).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Rejected>("one")).await;
    let error = error.expect_err("it is rejected");
    let kind = error.rejection().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::GoingAway));
    assert_eq!(error.execution(), Execution::Rejected);
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn rejection_in_place_of_the_greeting_is_told_once() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let mut connection: Connection<LengthPrefixed, _> = Connection::over(near);
    within(peer.send(control(0x04, "not now"))).await;
    let error = within(connection.call::<Rejected>("one")).await;
    let error = error.expect_err("it is rejected");
    assert_eq!(
        error.rejection().map(Rejection::kind),
        Some(RejectionKind::Busy)
    );
    assert_eq!(error.execution(), Execution::NotSent);
    let call = tokio::spawn(async move {
        let reply = connection.call::<Rejected>("two").await;
        reply.expect("a reply")
    });
    assert_eq!(within(peer.hear()).await, Heard::message("two"));
    within(peer.send(frame(b"2"))).await;
    assert_eq!(within(call).await.expect("no panic"), "2");
}

#[tokio::test(start_paused = true)]
async fn greeting_that_does_not_come_is_told_before_anything_is_sent() {
    let (near, _far) = tokio::io::duplex(64);
    let mut connection: Connection<Lines, _> = Connection::over(near);
    let error = connection.call::<Obey>("one").await;
    let error = error.expect_err("nothing is said");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::TimedOut, Execution::NotSent)
    );
    let text = "no complete message from unnamed peer within 30s (`reply_timeout`)";
    assert_eq!(error.to_string(), text);

    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let mut connection: Connection<Lines, _> = Connection::over(near);
    let error = connection.call::<Obey>("one").await;
    let error = error.expect_err("the server has closed");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Closed, Execution::NotSent)
    );
}

#[tokio::test]
async fn greeting_of_one_exchange_is_part_of_its_reply() {
    #[server_protocol(framing = Raw, greeting = "ready: ")]
    fn raw_echo(text: &str) -> String {
        text.to_owned()
    }

    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send("ready: ")).await;
        assert_eq!(within(peer.receive(3)).await, b"one");
        within(peer.send("one")).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let reply = within(connection.call::<RawEcho>("one")).await;
    assert_eq!(reply.expect("a reply"), "ready: one");
    within(server).await.expect("it heard what it expects");
}

#[tokio::test]
async fn operations_are_asked_after_the_greeting() {
    #[server_protocol(format = tcs::format::Json, greeting = "\"ready\"")]
    mod bank {
        pub fn double(number: u32) -> u32 {
            number * 2
        }
    }

    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send(frame(b"\"ready\""))).await;
        let request = frame(br#"{"double":{"number":2}}"#);
        assert_eq!(within(peer.receive(request.len())).await, request);
        within(peer.send(frame(br#"{"double":4}"#))).await;
    })
    .await;
    let mut bank = within(bank::Client::connect(addr))
        .await
        .expect("it listens");
    let doubled = within(bank.double(2)).await;
    assert_eq!(doubled.expect("a reply"), bank::double(2));
    within(server).await.expect("it heard what it expects");
}

#[client_protocol(format = tcs::format::Json, greeting)]
mod greeted_bank {
    pub fn double(number: u32) -> u32;
}

#[tokio::test]
async fn client_without_the_server_knows_of_the_greeting() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send(frame(b"\"ready\""))).await;
        for number in [2, 3] {
            let request = frame(format!(r#"{{"double":{{"number":{number}}}}}"#).as_bytes());
            assert_eq!(within(peer.receive(request.len())).await, request);
            let reply = format!(r#"{{"double":{}}}"#, 2 * number);
            within(peer.send(frame(reply.as_bytes()))).await;
        }
    })
    .await;
    let mut bank = within(greeted_bank::Client::connect(addr))
        .await
        .expect("it listens");
    assert_eq!(within(bank.double(2)).await.expect("a reply"), 4);
    let bank = bank.share().expect("it is usable");
    assert_eq!(within(bank.double(3)).await.expect("a reply"), 6);
    within(server).await.expect("it heard what it expects");

    let (addr, server) = greeting(&["NOOP"]).await;
    let reply = within(Client::new(Noop).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    within(server).await.expect("it heard what it expects");
}

#[client_protocol(framing = Lines, greeting, request = "NOOP")]
fn noop(reply: String) -> String {
    reply
}

#[tokio::test]
async fn channel_of_operations_needs_the_greeting_before() {
    let (addr, server) = RawServer::once(async |mut peer| {
        within(peer.rest()).await;
    })
    .await;
    let bank = within(greeted_bank::Client::connect(addr)).await;
    let bank = bank.expect("it listens").share().expect("it is usable");
    let error = within(bank.double(2))
        .await
        .expect_err("it was not greeted");
    assert_eq!(error.kind(), ErrorKind::Request, "{error:?}");
    drop(bank);
    within(server).await.expect("nothing was asked");
}

#[tokio::test]
async fn greeting_that_cannot_be_read_leaves_the_request_unsent() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().max_frame_len(4);
    let mut connection = options.over::<LengthPrefixed, _>(near).expect("fine");
    within(peer.send([frame(b"too large"), frame(b"\xff")].concat())).await;
    let too_large = within(connection.call::<Rejected>("one")).await;
    let no_text = within(connection.receive::<&str, Plain>()).await;
    for error in [too_large.map(drop), no_text.map(drop)].map(Result::unwrap_err) {
        let told = (error.kind(), error.execution());
        assert_eq!(told, (ErrorKind::Reply, Execution::NotSent), "{error}");
    }
}
