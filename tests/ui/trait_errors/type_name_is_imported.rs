use tcs::server_protocol;

use std::process::Command;

#[server_protocol]
fn command(name: &str) -> bool {
    Command::new(name).spawn().is_ok()
}

fn main() {}
