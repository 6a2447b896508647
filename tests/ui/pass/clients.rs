//! What a client function may be.

use tcs::{
    Response, client_protocol, format::Plain, framing::{LengthPrefixed, Lines}, protocol::Contract,
    server_protocol,
};

#[client_protocol(request = "Ann")]
fn print_reply(reply: &str) {
    println!("{reply}");
}

#[client_protocol(request = 7, framing = Lines, format = Plain)]
async fn doubled(reply: u64) -> u64 {
    tokio::task::yield_now().await;
    reply
}

#[client_protocol(request = |a: u32, text: String| format!("{a} {text}"))]
fn shared(reply: String, text: String, more: u8) -> (String, String, u8) {
    (reply, text, more)
}

#[client_protocol(request = move |name: &str| &format!("{name}!"))]
fn borrowed(_: &str, name: &str) -> usize {
    name.len()
}

#[client_protocol(request = |name: &'n str| name)]
fn output_of_field<'n>(_reply: &str, name: &'n str) -> &'n str {
    name
}

#[client_protocol(request = |list: Vec<u8>| list)]
fn by_reference(_: &[u8]) {}

#[client_protocol(request = { let a = 1; a + 2 })]
fn block(_: ()) {}

#[client_protocol(reply = u64)]
fn question(name: &str, count: u32, owned: String) -> String {
    format!("{name} {count} {owned}")
}

#[client_protocol(reply = ())]
fn ping() {}

#[client_protocol(reply = Vec<u8>)]
fn shown(name: &str) -> Result<&str, std::convert::Infallible> {
    Ok(name)
}

#[server_protocol(framing = Lines)]
fn divide(request: u32) -> Result<Response<u32>, &'static str> {
    100_u32.checked_div(request).map(Response::Reply).ok_or("by zero")
}

#[server_protocol]
fn echo(text: &str) -> &str {
    text
}

enum Declared {}

impl Contract for Declared {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

#[client_protocol(server = Divide, request = |by: u32| by)]
fn quotient(reply: u32) -> u32 {
    reply
}

#[client_protocol(server = Echo, request = |name: String| name)]
async fn echoed(reply: &str) -> usize {
    tokio::task::yield_now().await;
    reply.len()
}

#[client_protocol(server = Echo, request = "a")]
fn owned(reply: String) -> String {
    reply
}

#[client_protocol(server = Echo, reply = String)]
fn echo_of(name: &str) -> &str {
    name
}

struct Point {
    x: u8,
    y: u8,
}

impl tcs::format::Encode<Plain> for Point {
    fn encode(self, out: &mut tcs::format::Writer<'_>) -> Result<(), tcs::format::EncodeError> {
        out.put(&[self.x, self.y]);
        Ok(())
    }
}

#[client_protocol(request = |name: &str| format!(" {name} ").trim())]
fn trimmed(_: &str) {}

#[client_protocol(server = Echo, request = |name: &str| format!(" {name} ").trim())]
fn trimmed_of_server(_: &str) {}

enum Plot {}

impl Contract for Plot {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = Point;
    type Reply<'a> = ();
}

#[client_protocol(PlotClient, server = Plot, request = |x: u8| Point { x, y: 1 })]
fn plot(_: ()) {}

#[client_protocol(Point2, request = |x: u8| Point { x, y: 1 })]
fn point(_: ()) {}

#[client_protocol(DeclaredClient, server = Declared, request = &format!("{}", 1))]
fn declared(_: String) {}

#[client_protocol(request = |name: &str| name)]
fn check<F: for<'a> Fn(&'a str) -> bool>(reply: &str, test: F) -> bool {
    test(reply)
}

fn main() {
    let _ = (PrintReply, Doubled, Shared { a: 1, text: String::new(), more: 2 });
    let _ = (Borrowed { name: &String::new() }, OutputOfField::new("a"), ByReference::new(vec![]));
    let _ = (Block, Question::new("a", 1, String::new()), Ping, Shown::new("a"));
    let _ = (Trimmed { name: "a" }, TrimmedOfServer { name: "a" });
    let _ = (PlotClient { x: 1 }, Point2::new(1));
    let _ = (Owned, Check { name: "a", test: str::is_empty });
    let _ = (Quotient { by: 7 }, Echoed { name: String::new() }, EchoOf { name: "a" }, DeclaredClient);
}
