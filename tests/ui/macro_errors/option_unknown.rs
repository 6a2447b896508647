use tcs::server_protocol;

#[server_protocol(priority = 5)]
fn greet(name: &str) -> String {
    name.to_owned()
}

#[tcs::client_protocol(server = Greet, request = "Ann")]
fn print(_: String) {}

fn main() {}
