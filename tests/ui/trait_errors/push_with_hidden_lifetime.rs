use tcs::server_protocol;

struct Event<'a>(&'a str);

#[server_protocol(push = Event)]
fn chat(line: &str) -> usize {
    Event(line).0.len()
}

fn main() {}
