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
    Heard, RawPeer,
    client::{Text, ask, chain, connect, connected, told},
    control, counted, frame, memory,
    script::{Script, Step, closes, expects, expects_end, sends, serve},
    within,
};

#[server_protocol(framing = Lines, greeting = "220 ready")]
fn obey(command: &str) -> String {
    format!("250 {command}")
}

#[client_protocol(server = Obey, request = "NOOP")]
fn no_operation(reply: String) -> String {
    reply
}

#[server_protocol(greeting = "ready")]
fn rejected(text: &str) -> String {
    text.to_owned()
}

/// A server that greets, and says nothing else before it is asked.
async fn greeting(commands: &[&str]) -> (SocketAddr, Script) {
    let exchanges = commands.iter().flat_map(|command| {
        [
            expects(format!("{command}\n")),
            sends(format!("250 {command}\n")),
        ]
    });
    let steps: Vec<Step> = [sends("220 ready\n")]
        .into_iter()
        .chain(exchanges)
        .collect();
    serve(steps).await
}

#[tokio::test]
async fn greeting_is_received_before_anything_is_asked() {
    let (addr, server) = greeting(&["NOOP", "NOOP"]).await;
    let mut connection = connect::<Lines>(addr).await;
    let greeting = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(greeting.expect("a greeting"), "220 ready");
    let reply = within(connection.call::<Text<Lines>>("NOOP")).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    let channel = connection.into_channel().expect("it is open");
    assert_eq!(channel.peer().addr(), Some(addr));
    let reply = within(channel.exchange(ask::<Lines>("NOOP"))).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    server.finished().await;
}

#[tokio::test]
async fn first_call_waits_for_the_greeting_and_drops_it() {
    let (addr, server) = greeting(&["one", "two"]).await;
    let mut connection = connect::<Lines>(addr).await;
    for command in ["one", "two"] {
        let reply = within(connection.call::<Obey>(command)).await;
        assert_eq!(reply.expect("a reply"), format!("250 {command}"));
    }
    server.finished().await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_greeting() {
    let (near, far) = tokio::io::duplex(64);
    let (near, writes) = counted(near);
    let mut peer = RawPeer::over(far);
    let mut connection: Connection<Lines> = Connection::over(near);
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
    let mut connection = connect::<Lines>(addr).await;
    let greeting = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(greeting.expect("a greeting"), "220 ready");
    let reply = within(connection.call::<Obey>("one")).await;
    assert_eq!(reply.expect("a reply"), "250 one");
    server.finished().await;
}

#[tokio::test]
async fn client_of_a_server_that_greets_drops_the_greeting() {
    let (addr, server) = greeting(&["NOOP"]).await;
    let reply = within(Client::new(NoOperation).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    server.finished().await;
}

#[tokio::test]
async fn pipeline_waits_for_the_greeting_once() {
    let (addr, server) = greeting(&["one", "two"]).await;
    let mut connection = connect::<Lines>(addr).await;
    let mut pipeline = connection.pipeline::<Obey>();
    for command in ["one", "two"] {
        within(pipeline.send(command)).await.expect("it is open");
    }
    for expected in ["250 one", "250 two"] {
        let reply = within(pipeline.receive()).await.expect("a reply");
        assert_eq!(reply.as_deref(), Some(expected));
    }
    server.finished().await;
}

#[tokio::test]
async fn channel_has_no_greeting_that_was_not_received_before() {
    let (addr, server) = greeting(&["one", "two", "NOOP"]).await;
    let channel = within(Channel::connect(addr)).await.expect("it listens");
    let errors = [
        within(channel.call::<Obey>("one")).await.map(drop),
        within(channel.call_with::<Obey, _>("one", drop)).await,
        within(channel.exchange(NoOperation)).await.map(drop),
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
                "the greeting of the server was not received: `receive` it, or `call` once, before \
                 many tasks share the connection"
            ]
        );
    }
    drop((channel, server));

    let (addr, server) = greeting(&["one", "two", "NOOP"]).await;
    let mut connection = connect::<Lines>(addr).await;
    let reply = within(connection.call::<Obey>("one")).await;
    assert_eq!(reply.expect("a reply"), "250 one");
    let channel = connection.into_channel().expect("it is open");
    let reply = within(channel.call::<Obey>("two")).await;
    assert_eq!(reply.expect("a reply"), "250 two");
    let reply = within(channel.exchange(NoOperation)).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    server.finished().await;
}

#[tokio::test]
async fn final_rejection_in_place_of_the_greeting_is_told() {
    let (mut connection, server) = connected([sends(control(0x40, "later"))]).await;
    let error = within(connection.call::<Rejected>("one")).await;
    let error = error.expect_err("it is rejected");
    let kind = error.rejection().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::GoingAway));
    assert_eq!(error.execution(), Execution::NotExecuted);
    server.finished().await;
}

#[tokio::test]
async fn rejection_in_place_of_the_greeting_is_told_once() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(64);
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
    let mut connection: Connection<Lines> = Connection::over(near);
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
    let mut connection: Connection<Lines> = Connection::over(near);
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

    let (mut connection, server) =
        connected([sends("ready: "), expects("one"), sends("one"), closes()]).await;
    let reply = within(connection.call::<RawEcho>("one")).await;
    assert_eq!(reply.expect("a reply"), "ready: one");
    server.finished().await;
}

#[tokio::test]
async fn operations_are_asked_after_the_greeting() {
    #[server_protocol(format = tcs::format::Json, greeting = "\"ready\"")]
    mod bank {
        pub fn double(number: u32) -> u32 {
            number * 2
        }
    }

    let (addr, server) = serve([
        sends(frame(r#""ready""#)),
        expects(frame(r#"{"double":{"number":2}}"#)),
        sends(frame(r#"{"double":4}"#)),
    ])
    .await;
    let mut bank = within(bank::Client::connect(addr))
        .await
        .expect("it listens");
    let doubled = within(bank.double(2)).await;
    assert_eq!(doubled.expect("a reply"), bank::double(2));
    server.finished().await;
}

#[client_protocol(format = tcs::format::Json, greeting)]
mod greeted_bank {
    pub fn double(number: u32) -> u32;
}

#[tokio::test]
async fn client_without_the_server_knows_of_the_greeting() {
    let (addr, server) = serve([
        sends(frame(r#""ready""#)),
        expects(frame(r#"{"double":{"number":2}}"#)),
        sends(frame(r#"{"double":4}"#)),
        expects(frame(r#"{"double":{"number":3}}"#)),
        sends(frame(r#"{"double":6}"#)),
    ])
    .await;
    let mut bank = within(greeted_bank::Client::connect(addr))
        .await
        .expect("it listens");
    assert_eq!(within(bank.double(2)).await.expect("a reply"), 4);
    let bank = bank.into_channel().expect("it is usable");
    assert_eq!(within(bank.double(3)).await.expect("a reply"), 6);
    server.finished().await;

    let (addr, server) = greeting(&["NOOP"]).await;
    let reply = within(Client::new(Noop).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "250 NOOP");
    server.finished().await;
}

#[client_protocol(framing = Lines, greeting, request = "NOOP")]
fn noop(reply: String) -> String {
    reply
}

#[tokio::test]
async fn channel_of_operations_needs_the_greeting_before() {
    let (addr, server) = serve([expects_end()]).await;
    let bank = within(greeted_bank::Client::connect(addr)).await;
    let bank = bank
        .expect("it listens")
        .into_channel()
        .expect("it is usable");
    let error = within(bank.double(2))
        .await
        .expect_err("it was not greeted");
    assert_eq!(error.kind(), ErrorKind::Request, "{error:?}");
    drop(bank);
    server.finished().await;
}

#[tokio::test]
async fn greeting_that_cannot_be_read_leaves_the_request_unsent() {
    let options = ConnectOptions::new().max_frame_len(4);
    let (mut connection, mut peer) = memory::connection_with::<LengthPrefixed>(&options, 64);
    within(peer.send([frame(b"too large"), frame(b"\xff")].concat())).await;
    let too_large = within(connection.call::<Rejected>("one")).await;
    let no_text = within(connection.receive::<&str, Plain>()).await;
    for error in [too_large.map(drop), no_text.map(drop)].map(Result::unwrap_err) {
        assert_eq!(
            told(&error),
            (ErrorKind::Reply, Execution::NotSent),
            "{error}"
        );
    }
}
