use tcs::{protocol::Push, server_protocol};

#[server_protocol]
fn chat(line: &str, push: Push<Chat>) -> bool {
    push.try_send(line).is_ok()
}

fn main() {}
