use tcs::{protocol::Push, server_protocol};

struct Event;

#[server_protocol(push = Event)]
fn chat(line: &str, push: Push<Event>) -> bool {
    line.is_empty() || push.is_closed()
}

fn main() {}
