use tcs::{protocol::Push, server_protocol};

struct Event<'a>(&'a str);

#[server_protocol(push = Event<'_>)]
fn chat(line: &str, push: Push<Event<'_>>) -> bool {
    line.is_empty() || push.is_closed()
}

fn main() {}
