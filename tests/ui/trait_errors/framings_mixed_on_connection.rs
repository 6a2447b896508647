use tcs::{Connection, client_protocol, framing::Lines};

#[client_protocol(request = "Ann")]
fn print(_: &str) {}

pub fn use_it(mut connection: Connection<Lines>) {
    let _ = connection.exchange(Print);
}

fn main() {}
