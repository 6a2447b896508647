use tcs::{protocol::Push, server_protocol};

#[server_protocol]
fn chat(line: &str, push: Push<Chat>) -> bool {
    line.is_empty() || push.is_closed()
}

fn main() {}
