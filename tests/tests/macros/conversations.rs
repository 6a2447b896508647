//! Options that declare messages beside requests and replies.

use std::{
    fmt::Display,
    future::ready,
    io,
    str::FromStr,
    sync::{Arc, Mutex},
};

use tcs::{
    ConcurrentServer, Connection, ConnectionInfo, ErrorKind, Peer, Rejection,
    client::{ChannelEvent, ChannelOptions},
    format::Json,
    framing::{Lines, Multiplexed},
    protocol::{
        Contract, FromSession, Push, PushGroup, Pushes, Receives, Replies, Requests, Streams,
    },
    server_protocol,
};
use tcs_tests::{frame, serve_in_memory, within};
use tokio::{io::AsyncWriteExt as _, task::JoinSet};

#[derive(serde::Serialize, serde::Deserialize)]
struct Said<'a> {
    text: &'a str,
}

/// Sends each line to everyone who has said something.
#[server_protocol(framing = Lines, format = Json, push = Said<'_>, is_push = is_said)]
fn chat(text: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> usize {
    room.join(&push);
    room.send(Said { text }).unwrap_or_default()
}

fn is_said(message: &[u8]) -> bool {
    message.starts_with(b"{\"text\"")
}

#[tokio::test]
async fn pushed_events_are_of_the_format() {
    let server = ConcurrentServer::new(Chat::new(PushGroup::new()));
    let (mut peer, serving) = serve_in_memory(server, 1024);
    peer.send(b"\"hello\"\n").await;
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"1\n{\"text\":\"hello\"}\n");
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.requests.served, 1);
}

#[test]
fn is_push_is_the_function_of_the_option() {
    assert!(Chat::is_push(b"{\"text\":\"hello\"}"));
    assert!(!Chat::is_push(b"1"));
}

/// Repeats a value, which borrows from a local variable.
#[server_protocol(Repeater, framing = Lines, replies = &str, crate = tcs)]
async fn repeat<const N: usize, T>(
    times: u32,
    #[state] value: &[T; N],
    mut out: Replies<'_, Repeater<N, T>>,
) -> Result<&'static str, String>
where
    T: Display + FromStr,
{
    for _ in 0..times {
        for value in value {
            let text = value.to_string();
            out.send(&text).await?;
        }
    }
    Ok("")
}

#[tokio::test]
async fn items_of_a_generic_protocol_may_borrow_from_locals() {
    let server = ConcurrentServer::new(Repeater::new([7_u8, 8]));
    let (mut peer, serving) = serve_in_memory(server, 1024);
    peer.send(b"2\n").await;
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"7\n8\n7\n8\n\n");
    within(serving).await.expect("no panic");
}

/// All three, whose types may be `'static`, borrow in several places, or name a parameter.
#[server_protocol(
    push = (&'static str, &str),
    replies = Option<std::borrow::Cow<'_, T>>,
    requests = &'_ [u8]
)]
fn all<T: Clone + Send + Sync + 'static>(request: &str, #[state] value: &T) -> String {
    let _ = value;
    request.to_owned()
}

#[test]
fn types_of_the_options_are_those_of_the_traits() {
    fn event(event: <All<u8> as Pushes>::Event<'_>) -> &str {
        event.1
    }
    fn chunk(chunk: <All<u8> as Receives>::Chunk<'_>) -> &[u8] {
        chunk
    }
    assert_eq!(event(("an", "event")), "event");
    assert_eq!(chunk(b"chunk"), b"chunk");
    assert!(!All::<u8>::is_push(b"anything"), "the default");
}

struct Listener(Push<Listen>);

impl Listener {
    fn welcome(push: Push<Listen>, name: &str, peer: &Peer) -> Self {
        push.try_send(&format!("{name} welcomes {peer}"))
            .expect("there is room");
        Self(push)
    }
}

#[server_protocol(framing = Lines, push = &str, session = Listener::welcome(push, name, peer))]
fn listen(line: &str, #[state] name: &str, #[session] listener: &mut Listener) -> String {
    listener.0.try_send(line).expect("there is room");
    name.to_owned()
}

#[tokio::test]
async fn session_can_push_before_the_first_request() {
    let server = ConcurrentServer::new(Listen::new("Ann".to_owned()));
    let (mut peer, serving) = serve_in_memory(server, 1024);
    let welcome = b"Ann welcomes unnamed peer\n";
    assert_eq!(within(peer.receive(welcome.len())).await, welcome);
    peer.send(b"hello\n").await;
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"Ann\nhello\n");
    within(serving).await.expect("no panic");
}

/// Who has logged in, and how many are known.
struct LoggedIn<'a>(&'a str, usize);

impl<'a> FromSession<'a, Whisper> for LoggedIn<'a> {
    fn from_session(
        protocol: &'a Whisper,
        session: &'a Option<String>,
        info: &'a ConnectionInfo,
    ) -> Result<Self, Rejection> {
        let denied = || Rejection::bad_request(format!("{} has not logged in", info.peer()));
        let name = session.as_deref().ok_or_else(denied)?;
        Ok(Self(name, protocol.names.len()))
    }
}

#[server_protocol(framing = Lines, session = names.first().cloned(), reject_with = Rejection::to_string)]
#[expect(clippy::ref_option, reason = "a session is lent as it is")]
async fn whisper(
    text: &str,
    #[state] names: &Vec<String>,
    #[session] _name: &Option<String>,
    LoggedIn(name, known): LoggedIn<'_>,
    peer: &Peer,
) -> String {
    let _ = names;
    tokio::task::yield_now().await;
    format!("{name} of {known}, {peer}: {text}")
}

#[tokio::test]
async fn parameter_sees_states_and_session() {
    for (names, reply) in [
        (vec!["Ann".to_owned()], "Ann of 1, unnamed peer: hush\n"),
        (vec![], "bad request: unnamed peer has not logged in\n"),
    ] {
        let server = ConcurrentServer::new(Whisper::new(names));
        let (mut peer, serving) = serve_in_memory(server, 1024);
        peer.send(b"hush\n").await;
        peer.finish().await;
        assert_eq!(within(peer.rest()).await, reply.as_bytes());
        within(serving).await.expect("no panic");
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Price<'a> {
    symbol: &'a str,
    cents: u64,
}

#[server_protocol(
    framing = Lines,
    format = Json,
    push = Price<'_>,
    is_push = is_price,
    session = Some(push)
)]
mod market {
    use super::Push;

    pub(super) struct Trade<'a>(&'a str, u64);

    impl serde::Serialize for Trade<'_> {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            (self.0, self.1).serialize(to)
        }
    }

    /// Pushes a price to the caller, and to whoever has the handle of its session.
    #[expect(clippy::ref_option, reason = "a session is lent as it is")]
    pub fn quote(
        symbol: &str,
        #[session] own: &Option<Push<Protocol>>,
        push: Push<Protocol>,
    ) -> bool {
        let (first, second) = (
            super::Price { symbol, cents: 1 },
            super::Price { symbol, cents: 2 },
        );
        let own = own.as_ref().expect("it began with one");
        push.try_send(first).and(own.try_send(second)).is_ok()
    }

    /// Streams the trades of a symbol.
    #[idempotent]
    #[replies(Trade<'_>)]
    pub async fn past_trades(
        symbol: String,
        count: u64,
        mut out: super::Replies<'_, PastTrades>,
    ) -> Result<u64, String> {
        let trades = (1..=count).map(|number| Trade(&symbol, number));
        out.send_all(trades).await?;
        Ok(count)
    }

    fn is_price(message: &[u8]) -> bool {
        message.starts_with(b"{\"symbol\"")
    }
}

#[tokio::test]
async fn operations_push_and_stream() {
    let server = ConcurrentServer::new(market::Protocol);
    let (mut peer, serving) = serve_in_memory(server, 1024);
    peer.send(b"{\"quote\":{\"symbol\":\"X\"}}\n").await;
    let replied =
        b"{\"quote\":true}\n{\"symbol\":\"X\",\"cents\":1}\n{\"symbol\":\"X\",\"cents\":2}\n";
    assert_eq!(within(peer.receive(replied.len())).await, replied);
    peer.send(b"{\"past_trades\":{\"symbol\":\"X\",\"count\":2}}\n")
        .await;
    peer.finish().await;
    let replied = b"[\"X\",1]\n[\"X\",2]\n{\"past_trades\":{\"Ok\":2}}\n";
    assert_eq!(within(peer.rest()).await, replied);
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn client_of_a_connection_receives_events_between_its_calls() {
    let (near, far) = tokio::io::duplex(1024);
    let server = ConcurrentServer::new(market::Protocol);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut client = market::Client::over(Connection::over(near));
    for symbol in ["X", "Y"] {
        assert!(within(client.quote(symbol)).await.expect("a reply"));
    }
    for (expected, number) in [("X", 1), ("X", 2), ("Y", 1), ("Y", 2)] {
        let Price { symbol, cents } = within(client.next_event()).await.expect("an event");
        assert_eq!((symbol, cents), (expected, number));
    }
    assert!(within(client.quote("Z")).await.expect("a reply"));
    drop(client);
    within(serving).await.expect("no panic").expect("served");
}

#[tokio::test]
async fn subscription_of_a_module_is_renewed_after_its_connection_was_cut() {
    fn price(event: &ChannelEvent<Price<'_>>) -> Option<(String, u64)> {
        match event {
            ChannelEvent::Event(Price { symbol, cents }) => Some(((*symbol).to_owned(), *cents)),
            ChannelEvent::Reconnected => None,
            _ => panic!("no event was missed"),
        }
    }
    let connections = Arc::new(Mutex::new(JoinSet::new()));
    let cut = Arc::clone(&connections);
    let options = ChannelOptions::over(move || {
        let (near, far) = tokio::io::duplex(1024);
        let serving = ConcurrentServer::new(market::Protocol).serve_stream(far, Peer::unnamed());
        connections.lock().expect("no panic").spawn(serving);
        ready(io::Result::Ok(near))
    });
    let client = market::Client::over(options.connect_lazily().expect("good options"));
    let request = market::Request::Quote { symbol: "X" };
    let channel = client.clone().into_inner();
    let subscribed = within(channel.subscribe::<market::Contract>(request)).await;
    let (reply, mut events) = subscribed.expect("a reply");
    assert!(matches!(reply, market::Reply::Quote(true)));
    let mut next = async || price(&within(events.next()).await.expect("an event"));
    let cents = |symbol: &str| [1, 2].map(|cents| Some((symbol.to_owned(), cents)));
    assert_eq!([next().await, next().await], cents("X"));
    assert!(within(client.quote("Y")).await.expect("a reply"));
    assert_eq!([next().await, next().await], cents("Y"));

    cut.lock().expect("no panic").abort_all();
    assert_eq!(next().await, None);
    assert_eq!([next().await, next().await], cents("X"));
    assert!(within(client.quote("Z")).await.expect("a reply"));
    assert_eq!([next().await, next().await], cents("Z"));
}

/// The same module at a client.
#[tcs::client_protocol(format = Json, push = Price<'_>, is_push = is_price)]
mod remote_market {
    #[replies(u64)]
    pub async fn past_trades(
        symbol: String,
        mut out: Replies<'_, PastTrades>,
    ) -> Result<u64, String> {
        unreachable!()
    }

    #[requests(&'_ str)]
    pub async fn comment(mut more: Requests<'_, Comment>) -> bool {
        unreachable!()
    }

    fn is_price(message: &[u8]) -> bool {
        super::is_said(message)
    }
}

#[test]
fn events_and_items_of_a_module_are_known_to_clients() {
    fn item(item: <remote_market::PastTrades as Streams>::Item<'_>) -> u64 {
        item
    }
    fn symbol<'a>(event: &<remote_market::Contract as Pushes>::Event<'a>) -> &'a str {
        event.symbol
    }
    fn chunk(chunk: <remote_market::Comment as Receives>::Chunk<'_>) -> &str {
        chunk
    }
    assert_eq!(item(7), 7);
    assert_eq!(chunk("a chunk"), "a chunk");
    // The type of a stream is a contract, too.
    let request: <remote_market::PastTrades as Contract>::Request<'_> =
        remote_market::Request::PastTrades {
            symbol: "X".to_owned(),
        };
    assert_eq!(format!("{request:?}"), "PastTrades { symbol: \"X\" }");
    let event = Price {
        symbol: "X",
        cents: 1,
    };
    assert_eq!(symbol(&event), "X");
    assert!(remote_market::Contract::is_push(b"{\"text\""));
    assert!(market::Protocol::is_push(b"{\"symbol\""));
    assert!(!market::Contract::is_push(b"1"));
}

#[server_protocol(format = Json)]
mod warehouse {
    use super::{Replies, Requests, Said};

    /// Joins words.
    #[requests(Said<'_>)]
    pub async fn store(
        name: String,
        #[context] mut more: Requests<'_, Store>,
    ) -> Result<String, String> {
        let mut joined = name;
        while let Some(Said { text }) = more.next().await? {
            joined.push('|');
            joined.push_str(text);
        }
        Ok(joined)
    }

    #[replies(Said<'_>)]
    pub async fn words(
        text: String,
        #[context] mut out: Replies<'_, Words>,
    ) -> Result<usize, String> {
        for text in text.split(' ') {
            out.send(Said { text }).await?;
        }
        Ok(text.split(' ').count())
    }
}

#[tokio::test]
async fn method_of_a_client_returns_the_items() {
    let (near, far) = tokio::io::duplex(64);
    let server = ConcurrentServer::new(warehouse::Protocol);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut client = warehouse::Client::over(Connection::over(near));
    for _ in 0..2 {
        let mut words = within(client.words("to be")).await.expect("it is sent");
        let mut received = Vec::new();
        while let Some(Said { text }) = within(words.next()).await.expect("an item") {
            received.push(text.to_owned());
        }
        assert_eq!(received, ["to", "be"]);
        assert_eq!(within(words.finish()).await.expect("a reply"), Ok(2));
    }
    drop(client);
    within(serving).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn method_of_a_client_sends_chunks() {
    let (near, far) = tokio::io::duplex(64);
    let server = ConcurrentServer::new(warehouse::Protocol);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut client = warehouse::Client::over(Connection::over(near));
    for _ in 0..2 {
        let mut upload = within(client.store("a")).await.expect("it is sent");
        for text in ["b", "c"] {
            within(upload.send(Said { text }))
                .await
                .expect("it is sent");
        }
        let joined = within(upload.finish()).await.expect("a reply");
        assert_eq!(joined.as_deref(), Ok("a|b|c"));
    }
    drop(client);
    within(serving).await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn reply_of_another_operation_is_no_result_of_an_upload() {
    let (near, mut far) = tokio::io::duplex(1024);
    let mut client = warehouse::Client::over(Connection::over(near));
    let upload = within(client.store("a")).await.expect("it is sent");
    within(far.write_all(&frame("{\"words\":{\"Ok\":2}}")))
        .await
        .expect("it is open");
    let error = within(upload.finish()).await.expect_err("another reply");
    assert_eq!(error.kind(), ErrorKind::Reply);
    let text = format!("{error:?}");
    assert!(text.contains("that of another operation"), "{text}");
}

#[server_protocol(framing = Multiplexed, format = Json)]
mod library {
    use super::Replies;

    pub fn title(text: &str) -> &str {
        text
    }

    #[replies(&str)]
    pub async fn words(text: &str, mut out: Replies<'_, Words>) -> usize {
        let sent = out.send_all(text.split(' ')).await;
        sent.map_or(0, |()| text.len())
    }
}

#[tokio::test]
async fn result_of_a_stream_is_owned_also_if_other_replies_borrow() {
    let (near, far) = tokio::io::duplex(64);
    tokio::spawn(ConcurrentServer::new(library::Protocol).serve_stream(far, Peer::unnamed()));
    let client = library::Client::over(Connection::over(near));
    let client = client.into_channel().expect("a runtime");
    let mut words = within(client.words("to be")).await.expect("it is sent");
    for word in ["to", "be"] {
        let found = within(words.next()).await.expect("an item");
        assert_eq!(found, Some(word));
    }
    assert_eq!(within(words.finish()).await.expect("a reply"), 5);
    let title = within(client.title("Emma", str::len)).await;
    assert_eq!(title.expect("a reply"), 4);
}

#[test]
fn method_of_a_client_sends_chunks_without_async() -> tcs::Result<()> {
    let server = ConcurrentServer::new(warehouse::Protocol).port(0).start()?;
    let connection = tcs::blocking::Connection::connect(server.local_addr())?;
    let mut client = warehouse::Client::over(connection);
    for _ in 0..2 {
        let mut upload = client.store("a")?;
        for text in ["b", "c"] {
            upload.send(Said { text })?;
        }
        assert!(!upload.is_answered());
        assert_eq!(upload.finish()?.as_deref(), Ok("a|b|c"));
    }
    drop(client);
    server.stop()?;
    Ok(())
}

#[test]
fn methods_of_a_client_return_items_and_events_without_async() -> tcs::Result<()> {
    let server = ConcurrentServer::new(market::Protocol).port(0).start()?;
    let connection = tcs::blocking::Connection::connect(server.local_addr())?;
    let mut client = market::Client::over(connection);
    assert!(client.quote("X")?);
    for expected in [1, 2] {
        assert_eq!(client.next_event()?.cents, expected);
    }
    server.stop()?;

    let server = ConcurrentServer::new(library::Protocol).port(0).start()?;
    let connection = tcs::blocking::Connection::connect(server.local_addr())?;
    let mut client = library::Client::over(connection);
    let mut words = client.words("to be")?;
    assert_eq!(words.next()?, Some("to"));
    assert_eq!(words.next()?, Some("be"));
    assert_eq!(words.finish()?, 5);
    let channel = tcs::blocking::Channel::connect(server.local_addr())?;
    let client = library::Client::over(channel);
    let mut words = client.words("or not")?;
    let owned: tcs::Result<Vec<String>> = words.owned::<String>().collect();
    assert_eq!(owned?, ["or", "not"]);
    assert_eq!(words.finish()?, 6);
    server.stop()?;
    Ok(())
}

#[server_protocol(framing = Multiplexed, format = Json)]
mod shared_warehouse {
    use super::{Replies, Said};

    #[replies(Said<'_>)]
    pub async fn words(
        text: String,
        #[context] mut out: Replies<'_, Words>,
    ) -> Result<usize, String> {
        for text in text.split(' ') {
            out.send(Said { text }).await?;
        }
        Ok(text.split(' ').count())
    }

    pub fn count(text: &str) -> usize {
        text.split(' ').count()
    }
}

#[tokio::test]
async fn method_of_a_client_over_a_channel_with_ids_returns_the_items() {
    let (near, far) = tokio::io::duplex(64);
    let server = ConcurrentServer::new(shared_warehouse::Protocol);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let client = shared_warehouse::Client::over(Connection::over(near));
    let client = client.into_channel().expect("a runtime");
    let (mut one, mut two) = within(async {
        let one = client.words("to be").await.expect("it is sent");
        (one, client.words("or not").await.expect("it is sent"))
    })
    .await;
    for (first, second) in [("to", "or"), ("be", "not")] {
        for (words, text) in [(&mut one, first), (&mut two, second)] {
            let word = within(words.next()).await.expect("an item");
            assert_eq!(word.expect("there are more").text, text);
        }
        assert_eq!(within(client.count("a b")).await.expect("a reply"), 2);
    }
    assert_eq!(within(one.finish()).await.expect("a reply"), Ok(2));
    drop((two, client));
    within(serving).await.expect("no panic").expect("no error");
}

#[test]
fn clients_tell_events_by_the_function_of_the_option() {
    fn is_event<P: Contract>(message: &[u8]) -> Option<bool> {
        P::IS_EVENT.map(|is_event| is_event(message))
    }
    assert_eq!(is_event::<Chat>(b"{\"text\""), Some(true));
    assert_eq!(is_event::<Chat>(b"1"), Some(false));
    assert_eq!(is_event::<Listen>(b"1"), None);
    let price = b"{\"symbol\"";
    assert_eq!(is_event::<market::Protocol>(price), Some(true));
    assert_eq!(is_event::<market::Contract>(price), Some(true));
    assert_eq!(is_event::<market::PastTrades>(price), Some(true));
    assert_eq!(is_event::<warehouse::Contract>(price), None);
}

/// Its events look like replies, and nothing tells them apart.
#[server_protocol(framing = Lines, format = Json, push = &str)]
mod untold {
    use super::*;

    pub fn join(push: Push<Protocol>) -> bool {
        push.try_send("welcome").is_ok()
    }
}

#[tokio::test]
async fn events_that_look_like_replies_are_refused() {
    let (near, far) = tokio::io::duplex(1024);
    let server = ConcurrentServer::new(untold::Protocol);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut connection = Connection::<Lines>::over(near);
    let error = within(connection.next_event::<untold::Contract>()).await;
    let error = error.expect_err("it would never return").to_string();
    assert!(error.contains("`is_push` is missing"), "{error}");
    let channel = connection.into_channel().expect("it is open");
    let subscribed = channel.subscribe::<untold::Contract>(untold::Request::Join {});
    let error = within(subscribed)
        .await
        .expect_err("the event would be a reply");
    assert_eq!(error.kind(), ErrorKind::Setting);
    let mut events = channel.events::<untold::Contract>();
    let error = within(events.next())
        .await
        .expect_err("it would never return");
    assert_eq!(error.kind(), ErrorKind::Setting);
    drop((events, channel));
    let report = within(serving).await.expect("no panic");
    assert_eq!(report.expect("it ends").requests.received, 0);
}
