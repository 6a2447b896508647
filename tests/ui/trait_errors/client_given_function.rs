use tcs::{Client, client_protocol};

#[client_protocol(request = "Ann")]
fn print(_: &str) {}

fn main() {
    let _ = Client::new(print);
}
