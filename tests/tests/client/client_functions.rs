//! What `#[client_protocol]` makes of functions does on a connection what the function says.
//!
//! Clients are driven by a scripted stream.

use std::borrow::Cow;

use tcs::{
    Connection, Rejection, Response, client_protocol,
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Context, Contract, Middleware, ServerProtocol, Wrapped},
    server_protocol,
};
use tcs_tests::{
    Gate, control, frame, gate, memory,
    pair::Pair,
    script::{Script, Step, expects, play, sends},
    within,
};
use tokio::task::yield_now;

/// A connection whose server expects this request and sends this reply.
fn replying(request: &str, reply: &str) -> (Connection<LengthPrefixed>, Script) {
    serving([expects(frame(request)), sends(frame(reply))])
}

/// A connection whose server goes through these steps.
fn serving(steps: impl IntoIterator<Item = Step>) -> (Connection<LengthPrefixed>, Script) {
    let (connection, peer) = memory::connection(1_000);
    (connection, play(peer, steps))
}

// --- clients ---

#[client_protocol(request = "Ann")]
fn length(reply: &str) -> usize {
    reply.len()
}

#[tokio::test]
async fn client_function_processes_the_reply() {
    let (mut connection, server) = replying("Ann", "abc");
    let output = within(connection.exchange(Length)).await;
    assert_eq!(output.expect("a reply"), 3);
    server.finished().await;
}

#[server_protocol]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

/// Lets every request pass.
struct Pass;

impl<P: ServerProtocol> Middleware<P> for Pass {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        inner.process_request(context, request).await
    }
}

#[client_protocol(server = Wrapped<Shout, Pass>, request = "Ann")]
fn wrapped_length(reply: String) -> usize {
    reply.len()
}

#[tokio::test]
async fn wrapped_protocol_is_called_by_either_name() {
    let steps = ["Ann", "Bob", "Ann"].map(|name| [expects(frame(name)), sends(frame("Hi"))]);
    let (mut connection, server) = serving(steps.into_iter().flatten());
    let output = within(connection.exchange(WrappedLength)).await;
    assert_eq!(output.expect("a reply"), 2);
    let reply = within(connection.call::<Wrapped<Shout, Pass>>("Bob")).await;
    assert_eq!(reply.expect("a reply"), "Hi");
    let reply = within(connection.call::<Shout>("Ann")).await;
    assert_eq!(reply.expect("a reply"), "Hi");
    server.finished().await;
}

#[client_protocol(request = |amount: u64, to: String| format!("{} {to} {}", u64::pow(amount, 2), to.len()))]
async fn withdraw(balance: u64, to: String) -> (u64, String) {
    yield_now().await;
    (balance, to)
}

#[test]
fn client_types_print_their_names_only() {
    assert_eq!(
        format!("{:?}", Withdraw::new(1, "secret".to_owned())),
        "Withdraw"
    );
}

#[tokio::test]
async fn field_is_shared_by_the_request_and_the_function() {
    let (mut connection, server) = replying("9 Bob 3", "70");
    let protocol = Withdraw {
        amount: 3,
        to: "Bob".to_owned(),
    };
    let output = within(connection.exchange(protocol)).await;
    assert_eq!(output.expect("replies"), (70, "Bob".to_owned()));
    server.finished().await;
}

#[client_protocol(request = |name: &'n str| &format!("{name}{name}"))]
fn borrowing<'n>(reply: &str, name: &'n str, more: &'n str) -> &'n str {
    if reply == "first" { name } else { more }
}

#[tokio::test]
async fn output_may_borrow_from_a_field() {
    let (mut connection, server) = replying("AnnAnn", "second");
    let name = "Ann".to_owned();
    let output = within(connection.exchange(Borrowing::new(&name, "more"))).await;
    assert_eq!(output.expect("replies"), "more");
    server.finished().await;
}

#[client_protocol(reply = String)]
fn question(name: &str, count: u32, topics: Vec<String>) -> String {
    format!("{name} {count} {}", topics.join("+"))
}

#[tokio::test]
async fn client_function_makes_the_request() {
    let (mut connection, server) = replying("Ann 3 a+b", "answer");
    let question = Question::new("Ann", 3, vec!["a".to_owned(), "b".to_owned()]);
    let output = within(connection.exchange(question)).await;
    assert_eq!(output.expect("a reply"), "answer");
    server.finished().await;
}

// --- clients of a server ---

#[server_protocol]
async fn longer(Pair(a, b): Pair<'_>) -> Cow<'_, str> {
    yield_now().await;
    if a.len() < b.len() { b } else { a }.into()
}

#[server_protocol]
fn parse(text: &str) -> Result<u8, std::num::ParseIntError> {
    text.parse()
}

/// Only the messages of `parse`.
enum Declared {}

impl Contract for Declared {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = Result<Response<u8>, String>;
}

#[client_protocol(server = Parse, request = |number: u32| &format!("{number}"))]
fn parsed(reply: u8) -> u8 {
    reply + 1
}

#[client_protocol(ParsedByContract, server = Declared, request = "7")]
async fn parsed_by_contract(reply: u8) -> u8 {
    reply
}

#[client_protocol(server = Longer, reply = String)]
fn longer_of(pair: Pair<'_>) -> Pair<'_> {
    pair
}

#[tokio::test]
async fn client_of_a_server_sees_its_reply_without_wrapping() {
    let (mut connection, server) = serving([
        expects(frame("6")),
        sends(frame("6")),
        expects(frame("7")),
        sends(frame("7")),
        expects(frame("300")),
        sends(control(0x01, "300 is no u8")),
    ]);
    let output = within(connection.exchange(Parsed { number: 6 })).await;
    assert_eq!(output.expect("a reply"), 7);
    let output = within(connection.exchange(ParsedByContract)).await;
    assert_eq!(output.expect("a reply"), 7);
    let rejected = within(connection.exchange(Parsed { number: 300 })).await;
    let rejected = rejected.expect_err("300 is no u8");
    let text = rejected.rejection().map(Rejection::text);
    assert_eq!(text, Some("300 is no u8"));
    server.finished().await;
}

#[tokio::test]
async fn reply_that_borrows_is_returned_owned() {
    let (mut connection, server) = replying("a bc", "bc");
    let output = within(connection.exchange(LongerOf::new(Pair("a", "bc")))).await;
    assert_eq!(output.expect("a reply"), "bc");
    server.finished().await;
}

/// Exchanges can be spawned, with every form of a client.
#[tokio::test]
async fn exchange_is_spawned() {
    let (mut connection, server) = replying("1  0", "1");
    let task =
        tokio::spawn(async move { connection.exchange(Withdraw::new(1, String::new())).await });
    assert_eq!(within(task).await.expect("no panic").expect("replies").0, 1);
    server.finished().await;
}

macro_rules! asking {
    ($value:expr, $function:ty) => {
        #[client_protocol(request = |of: &$function| of($value * 2).to_string())]
        fn asking(reply: u64) -> u64 {
            reply
        }
    };
}

#[client_protocol(request = "Ann")]
async fn held(reply: String, gate: Gate) -> String {
    gate.pass().await;
    reply
}

#[tokio::test]
async fn exchange_that_is_dropped_while_its_reply_is_processed_leaves_the_connection_usable() {
    let exchange = [expects(frame("Ann")), sends(frame("abc"))];
    let (mut connection, server) = serving([exchange.clone(), exchange].concat());
    let gate = gate();
    tokio::select! {
        _ = connection.exchange(Held::new(gate.clone())) => panic!("the gate is closed"),
        () = within(gate.reached()) => {}
    }
    let output = within(connection.exchange(Length)).await;
    assert_eq!(output.expect("a reply"), 3);
    server.finished().await;
}

asking!(1_u64 + 1, dyn Fn(u64) -> u64 + Send + Sync);

#[tokio::test]
async fn values_that_a_macro_passes_on_are_whole() {
    let (mut connection, server) = replying("14", "7");
    let exchange = connection.exchange(Asking { of: &|n| n + 10 });
    assert_eq!(within(exchange).await.expect("replies"), 7);
    server.finished().await;
}
