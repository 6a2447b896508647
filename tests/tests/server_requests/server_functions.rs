//! What `#[server_protocol]` makes of functions does on a connection what the function says.
//!
//! Servers are driven by raw bytes in memory.

use std::{
    borrow::Cow,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection, Response,
    framing::{LengthPrefixed, Lines},
    protocol::{Context, FromContext, ServerProtocol},
    server_protocol,
};
use tcs_tests::{Heard, RawPeer, frame, pair::Pair, start, within};
use tokio::task::yield_now;

/// Serves a protocol over a connection in memory, and returns what it says to each request.
async fn hear<P, const N: usize>(protocol: P, requests: [&str; N]) -> [Heard; N]
where
    P: ServerProtocol<Framing = LengthPrefixed>,
{
    let mut peer = serve(protocol);
    let mut heard = [const { Heard::End }; N];
    for (heard, request) in heard.iter_mut().zip(requests) {
        // After the last reply, the server takes nothing any more.
        if within(peer.try_send(frame(request.as_bytes())))
            .await
            .is_ok()
        {
            *heard = within(peer.hear()).await;
        }
    }
    heard
}

fn serve<P: ServerProtocol>(protocol: P) -> RawPeer {
    let (ours, theirs) = tokio::io::duplex(1_000);
    tokio::spawn(async move {
        ConcurrentServer::new(protocol)
            .serve_stream(theirs, Peer::unnamed())
            .await
    });
    RawPeer::over(ours)
}

fn message(text: &str) -> Heard {
    Heard::message(text)
}

// --- servers: requests and replies ---

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tokio::test]
async fn plain_function_answers_and_stays_callable() {
    let heard = hear(Greet, ["Ann", "Bob"]).await;
    assert_eq!(heard, [message("Hello, Ann!"), message("Hello, Bob!")]);
    assert_eq!(greet("Eve"), "Hello, Eve!");
}

#[server_protocol]
async fn longer(Pair(a, b): Pair<'_>) -> Cow<'_, str> {
    yield_now().await;
    if a.len() < b.len() { b } else { a }.into()
}

#[tokio::test]
async fn reply_borrows_from_a_request_type_of_the_user() {
    let [reply, rejection] = hear(Longer, ["a bb", "ab"]).await;
    assert_eq!(reply, message("bb"));
    assert_eq!(rejection, Heard::Control(2, "no pair".to_owned()));
}

#[server_protocol]
fn nothing(_: ()) {}

#[tokio::test]
async fn nothing_is_an_empty_message() {
    assert_eq!(hear(Nothing, [""]).await, [message("")]);
}

#[server_protocol]
fn parse(text: &str) -> Result<Response<u8>, std::num::ParseIntError> {
    Ok(match text.parse()? {
        0 => Response::ReplyAndClose(0),
        number => Response::Reply(number),
    })
}

#[tokio::test]
async fn result_and_answer_say_what_they_mean() {
    let heard = hear(Parse, ["7", "x", "0", "8"]).await;
    let error = Heard::Control(1, "invalid digit found in string".to_owned());
    let [seven, rejected, zero, after] = heard;
    assert_eq!([seven, rejected, zero], [message("7"), error, message("0")]);
    assert_eq!(after.kind(), 0x40, "{after:?}");
}

// --- servers: states and sessions ---

trait Store: Send + Sync {
    fn get(&self, key: &str) -> Option<&str>;
}

struct Fixed;

impl Store for Fixed {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "key").then_some("value")
    }
}

#[server_protocol]
async fn find<'s>(
    key: &str,
    #[state] store: &'s dyn Store,
    #[state] default: &'s str,
    #[state] asked: &Arc<Mutex<Vec<String>>>,
) -> &'s str {
    yield_now().await;
    asked.lock().expect("no panic").push(key.to_owned());
    store.get(key).unwrap_or(default)
}

#[tokio::test]
async fn states_are_lent_to_each_request() {
    let asked = Arc::default();
    let find = Find::new(Box::new(Fixed), "none".to_owned(), Arc::clone(&asked));
    assert_eq!(
        hear(find, ["key", "x"]).await,
        [message("value"), message("none")]
    );
    assert_eq!(*asked.lock().expect("no panic"), ["key", "x"]);
}

#[server_protocol]
async fn remember<'s>(text: &str, #[session] seen: &'s mut String) -> &'s str {
    yield_now().await;
    seen.push_str(text);
    seen
}

#[tokio::test]
async fn session_belongs_to_one_connection() {
    let remember = Arc::new(Remember);
    let heard = hear(Arc::clone(&remember), ["a", "b"]).await;
    assert_eq!(heard, [message("a"), message("ab")]);
    assert_eq!(hear(remember, ["c"]).await, [message("c")]);
}

#[server_protocol(
    session = format!("{peer} {prefix} {}", list.len()),
    greeting = { title.push('!'); format!("{prefix}: {title}") }
)]
fn titled(_: (), #[state] prefix: &str, #[state] list: &[u8], #[session] title: &String) -> String {
    format!("{title} {prefix} {list:?}")
}

#[tokio::test]
async fn expressions_see_the_peer_the_states_and_the_session() {
    let mut peer = serve(Titled::new("a".to_owned(), vec![1, 2]));
    let greeting = within(peer.hear()).await;
    assert_eq!(greeting, message("a: unnamed peer a 2!"));
    let reply = within(peer.ask("")).await;
    assert_eq!(reply, message("unnamed peer a 2! a [1, 2]"));
}

// --- servers: what is extracted ---

struct Even(u32);

impl FromContext<'_> for Even {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        match info.peer().addr() {
            Some(addr) if addr.port() % 2 == 0 => Ok(Self(addr.port().into())),
            _ => Err(Rejection::busy("odd")),
        }
    }
}

#[server_protocol]
async fn extracted(request: &str, peer: &Peer, Even(port): Even, info: &ConnectionInfo) -> String {
    yield_now().await;
    format!("{request} {peer} {port} {}", info.id())
}

#[tokio::test]
async fn what_is_extracted_comes_from_the_connection_or_rejects() {
    for (port, expected) in [
        (8, Ok("a 127.0.0.1:8 8 0".to_owned())),
        (7, Err(Rejection::busy("odd"))),
    ] {
        let info = ConnectionInfo::new(Peer::at(([127, 0, 0, 1], port).into()));
        let mut session = ();
        let context = Context::new(&info, &mut session);
        assert_eq!(Extracted.process_request(context, "a").await, expected);
    }
}

#[server_protocol]
fn ends(_: (), peer: &Peer, info: &ConnectionInfo) -> String {
    let addr = |addr: Option<std::net::SocketAddr>| addr.expect("TCP has one").ip();
    let (peer_ip, local_ip) = (addr(peer.addr()), addr(info.local_addr()));
    format!("{peer_ip} {local_ip} {}", peer_ip.is_loopback())
}

#[tokio::test]
async fn ipv4_address_is_one_also_for_a_listener_of_both_versions() {
    for (host, expected) in [
        ("0.0.0.0", "127.0.0.1 127.0.0.1 true"),
        ("::", "127.0.0.1 127.0.0.1 true"),
    ] {
        let server = start(ConcurrentServer::new(Ends).address((host, 0))).await;
        let mut peer = RawPeer::connect(([127, 0, 0, 1], server.addr().port()).into()).await;
        assert_eq!(within(peer.ask("")).await, message(expected));
    }
}

// --- servers: options ---

#[server_protocol(framing = Lines)]
fn upper(line: &str) -> String {
    line.to_uppercase()
}

#[tokio::test]
async fn framing_is_the_one_of_the_option() {
    let mut peer = serve(Upper);
    within(peer.send("ab\ncd\n")).await;
    assert_eq!(within(peer.receive(6)).await, b"AB\nCD\n");
}

/// Counts who is inside.
type Inside = (Mutex<u32>, Condvar);

#[server_protocol(blocking)]
fn meet(text: &str, #[state] inside: &Arc<Inside>, #[session] count: &mut u32) -> String {
    *count += 1;
    let (number, changed) = &**inside;
    *number.lock().expect("no panic") += 1;
    changed.notify_all();
    let (_guard, waited) = changed
        .wait_timeout_while(
            number.lock().expect("no panic"),
            Duration::from_secs(10),
            |number| *number < 2,
        )
        .expect("no panic");
    format!("{text} {count} {}", waited.timed_out())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn blocking_function_does_not_hold_up_another_one() {
    // Both must be inside of their functions at the same time, with one worker thread.
    let meet = Arc::new(Meet::new(Arc::default()));
    let one = tokio::spawn(hear(Arc::clone(&meet), ["a"]));
    let other = tokio::spawn(hear(meet, ["b"]));
    let one = within(one).await.expect("no panic");
    let other = within(other).await.expect("no panic");
    assert_eq!(
        (one, other),
        ([message("a 1 false")], [message("b 1 false")])
    );
}

#[server_protocol]
async fn lookup<S, const N: usize>(index: usize, #[state] stores: &[S; N]) -> String
where
    S: ToString,
{
    yield_now().await;
    stores
        .get(index)
        .map_or_else(|| N.to_string(), S::to_string)
}

#[tokio::test]
async fn generic_function_serves_each_type() {
    assert_eq!(
        hear(Lookup::new([7, 8]), ["1", "2"]).await,
        [message("8"), message("2")]
    );
    assert_eq!(hear(Lookup::new(["a"]), ["0"]).await, [message("a")]);
}

#[test]
fn types_print_their_names_only() {
    assert_eq!(format!("{:?}", Lookup::new(["secret"])), "Lookup");
}

// --- functions and options that a macro writes ---

macro_rules! counting {
    ($first:expr, $function:ty) => {
        #[server_protocol(session = $first * 2, greeting = ($first * 2).to_string())]
        fn counting(text: &str, #[session] count: &mut u64, #[state] shout: &$function) -> String {
            *count += 1;
            format!("{count} {}", shout(text))
        }
    };
}

counting!(1_u64 + 1, dyn Fn(&str) -> String + Send + Sync);

#[tokio::test]
async fn values_that_a_macro_passes_on_are_whole() {
    let shout: Box<dyn Fn(&str) -> String + Send + Sync> = Box::new(str::to_uppercase);
    let mut peer = serve(Counting::new(shout));
    assert_eq!(within(peer.hear()).await, message("4"));
    assert_eq!(within(peer.ask("ann")).await, message("5 ANN"));
}
