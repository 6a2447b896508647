use tcs::framing::{Duplex, Fixed, Lines};
use tcs::server_protocol;

#[server_protocol(framing = Duplex<Lines, Fixed<0>>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
