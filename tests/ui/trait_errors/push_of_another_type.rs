use tcs::{protocol::Push, server_protocol};

#[server_protocol(push = u32)]
fn chat(line: &str, push: Push<Chat>) -> bool {
    push.try_send(line).is_ok()
}

fn main() {}
