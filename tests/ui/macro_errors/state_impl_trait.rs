use tcs::server_protocol;

use std::fmt::Display;

#[server_protocol]
fn greet(name: &str, #[state] greeting: &impl Display) -> String {
    format!("{greeting} {name}")
}

fn main() {}
