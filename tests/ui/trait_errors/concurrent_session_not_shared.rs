use std::cell::Cell;

use tcs::server_protocol;

#[server_protocol(concurrent = 16)]
async fn greet(name: &str, #[session] seen: &Cell<u32>) -> String {
    seen.set(seen.get() + 1);
    format!("Hello, {name}!")
}

fn main() {}
