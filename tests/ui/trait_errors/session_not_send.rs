use tcs::server_protocol;

use std::rc::Rc;

#[server_protocol]
fn visit(_: &str, #[session] count: &mut Rc<u32>) -> u32 {
    **count
}

fn main() {}
