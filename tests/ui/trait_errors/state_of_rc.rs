use tcs::server_protocol;

use std::rc::Rc;

#[server_protocol]
fn count(by: u64, #[state] total: &Rc<u64>) -> u64 {
    **total + by
}

fn main() {}
