#[tcs::client_protocol(server = Greet, request = "Ann", greeting)]
fn print(reply: String) {
    println!("{reply}");
}

#[tcs::server_protocol]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
