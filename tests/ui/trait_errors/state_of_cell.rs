use tcs::server_protocol;

use std::cell::Cell;

#[server_protocol]
fn count(by: u64, #[state] total: &Cell<u64>) -> u64 {
    total.get() + by
}

fn main() {}
