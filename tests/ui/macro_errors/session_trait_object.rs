use tcs::server_protocol;

use std::fmt::Display;

#[server_protocol]
fn last(line: &str, #[session] last: &mut (dyn Display + Send)) -> String {
    format!("{last}{line}")
}

fn main() {}
