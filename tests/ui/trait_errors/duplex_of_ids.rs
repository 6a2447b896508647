use tcs::framing::{Duplex, Lines, Multiplexed};
use tcs::server_protocol;

#[server_protocol(framing = Duplex<Lines, Multiplexed>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
