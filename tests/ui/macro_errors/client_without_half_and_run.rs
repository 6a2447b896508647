use tcs::{Client, client_protocol};

#[client_protocol]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() -> tcs::Result<()> {
    Client::new(Print).run()
}
