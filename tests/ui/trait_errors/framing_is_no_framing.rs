use tcs::server_protocol;

use tcs::format::Plain;

#[server_protocol(framing = Plain)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
