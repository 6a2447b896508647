//! What the attributes accept works when it is called.

use tcs::{
    Answer, ClientProtocol, Context, Decode, Encode, Facts, Frame, FromContext, Lines, Peer, Plain,
    Refusal, ServerProtocol, Writer, client_protocol, server_protocol,
};

/// Processes one request on a connection of its own, and returns what was written.
async fn ask<P>(protocol: &P, request: &'static str) -> Result<String, Refusal>
where
    P: ServerProtocol<Format = Plain>,
{
    let facts = Facts::new(Peer::unnamed());
    let mut session = protocol.open_session(facts.peer());
    ask_again(protocol, &facts, &mut session, request).await
}

async fn ask_again<P>(
    protocol: &P,
    facts: &Facts,
    session: &mut P::Session,
    request: &'static str,
) -> Result<String, Refusal>
where
    P: ServerProtocol<Format = Plain>,
{
    let request = P::Request::decode(Frame::new(request.as_bytes())).expect("decodes");
    let reply = protocol
        .process_request(Context::new(facts, session), request)
        .await?;
    Ok(written(reply))
}

fn written(message: impl Encode<Plain>) -> String {
    let mut buffer = Vec::new();
    message
        .encode(&mut Writer::new(&mut buffer, 1_000))
        .expect("encodes");
    String::from_utf8(buffer).expect("is text")
}

/// Hands a reply to a client protocol, and returns its request and its output.
async fn exchange<P>(protocol: P, reply: &'static str) -> (String, P::Output)
where
    P: ClientProtocol<Format = Plain>,
{
    let request = written(protocol.prepare_request());
    let reply = P::Reply::decode(Frame::new(reply.as_bytes())).expect("decodes");
    let output = protocol.process_reply(&Peer::unnamed(), reply).await;
    (request, output)
}

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tokio::test]
async fn plain_function_is_a_protocol() {
    assert_eq!(ask(&Greet, "Ann").await.expect("answers"), "Hello, Ann!");
    assert_eq!(greet("Bob"), "Hello, Bob!");
    assert_eq!(format!("{Greet:?}"), "Greet");
}

struct Names(Vec<String>);

#[server_protocol(framing = Lines)]
async fn pick<'n>(
    index: usize,
    #[state] names: &'n Names,
    #[state] default: &str,
    #[session] count: &mut u32,
    _peer: &Peer,
) -> Result<&'n str, String> {
    tokio::task::yield_now().await;
    *count += 1;
    let _ = default;
    names
        .0
        .get(index)
        .map(String::as_str)
        .ok_or_else(|| format!("no name {index}"))
}

#[tokio::test]
async fn states_and_sessions_are_lent() {
    let pick = Pick::new(Names(vec!["Ann".to_owned()]), "Bob".to_owned());
    let facts = Facts::new(Peer::unnamed());
    let mut session = 0;
    let reply = ask_again(&pick, &facts, &mut session, "0").await;
    assert_eq!(reply.expect("answers"), "Ann");
    assert_eq!(session, 1);
}

#[client_protocol(request = "Ann")]
fn length(reply: &str) -> usize {
    reply.len()
}

#[client_protocol(request = |amount: u64, to: String| format!("{amount} {to}"))]
async fn withdraw(reply: u64, to: String) -> String {
    tokio::task::yield_now().await;
    format!("{reply} {to}")
}

#[client_protocol(reply = String)]
fn question(name: &str) -> String {
    format!("who is {name}?")
}

#[client_protocol(server = Greet, request = &format!("{name} Smith"))]
fn greeted(reply: String, name: &str) -> bool {
    reply.contains(name)
}

#[client_protocol(server = Greet, reply = String)]
fn name(name: &str) -> &str {
    name
}

#[tokio::test]
async fn client_functions_are_protocols() {
    assert_eq!(exchange(Length, "abc").await, ("Ann".to_owned(), 3));
    let protocol = Withdraw {
        amount: 3,
        to: "Bob".to_owned(),
    };
    assert_eq!(
        exchange(protocol, "7").await,
        ("3 Bob".to_owned(), "7 Bob".to_owned())
    );
    assert_eq!(
        exchange(Question::new("Ann"), "me").await,
        ("who is Ann?".to_owned(), "me".to_owned())
    );
    assert_eq!(
        exchange(Greeted::new("Ann"), "Hello, Ann!").await,
        ("Ann Smith".to_owned(), true)
    );
    assert_eq!(
        exchange(Name { name: "Ann" }, "x").await,
        ("Ann".to_owned(), "x".to_owned())
    );
}

struct Local;

impl FromContext<'_> for Local {
    fn from_context(_: &Facts) -> Result<Self, Refusal> {
        Err(Refusal::bad_request("not local"))
    }
}

#[server_protocol]
fn guarded(request: u8, _proof: Local) -> Answer<u8> {
    Answer::Last(request)
}

#[tokio::test]
async fn extraction_may_refuse() {
    assert_eq!(
        ask(&Guarded, "1").await,
        Err(Refusal::bad_request("not local"))
    );
}
