use tcs::client_protocol;

#[client_protocol(server = Greet, framing = tcs::framing::Lines, request = "Ann")]
fn print(reply: ()) {
    reply
}

#[tcs::server_protocol]
fn greet(_: &str) {}

fn main() {}
