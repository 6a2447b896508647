use tcs::server_protocol;

use tcs::framing::Lines;

#[server_protocol(format = Lines)]
fn greet(name: &str) -> usize {
    name.len()
}

fn main() {}
