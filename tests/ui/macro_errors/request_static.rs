use tcs::server_protocol;

#[server_protocol]
fn greet(name: &'static str) -> String {
    name.to_owned()
}

#[tcs::client_protocol(server = Greet, request = "Ann")]
fn print(_: String) {}

fn main() {}
