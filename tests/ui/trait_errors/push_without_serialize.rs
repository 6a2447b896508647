use tcs::{format::Json, protocol::Push, server_protocol};

struct Event;

#[server_protocol(format = Json, push = Event)]
fn chat(_: &str, push: Push<Chat>) -> bool {
    push.try_send(Event).is_ok()
}

fn main() {}
