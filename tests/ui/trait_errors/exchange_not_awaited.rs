#![deny(unused_must_use)]

use tcs::{Connection, client_protocol, framing::LengthPrefixed};

#[client_protocol(request = "Ann")]
fn print(_: &str) {}

pub async fn use_it(mut connection: Connection<LengthPrefixed>) {
    connection.exchange(Print);
}
fn main() {}
