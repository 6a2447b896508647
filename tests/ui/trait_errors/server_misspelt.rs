#[tcs::server_protocol]
fn greet(name: &str) -> &str {
    name
}

#[tcs::client_protocol(server = Gret, request = "Ann")]
fn print(reply: String) {
    println!("{reply}");
}

fn main() {}
