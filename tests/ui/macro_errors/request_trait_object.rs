use tcs::server_protocol;

use std::fmt::Display;

#[server_protocol]
fn greet(name: &(dyn Display + Send + Sync)) -> String {
    name.to_string()
}

fn main() {}
