use tcs::server_protocol;

use tcs::framing::Lines;

#[server_protocol(framing = Lines, Greeter)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
