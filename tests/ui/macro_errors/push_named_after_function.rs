use tcs::{protocol::Push, server_protocol};

#[server_protocol(push = &str)]
fn chat(line: &str, push: Push<chat>) -> bool {
    push.try_send(line).is_ok()
}

fn main() {}
