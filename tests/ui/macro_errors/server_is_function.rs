use tcs::client_protocol;

fn greet(_: &str) {}

#[client_protocol(server = greet, request = "Ann")]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
