use tcs::{protocol::wrap, server_protocol};

#[server_protocol]
fn greet(name: &str) -> String {
    name.to_owned()
}

struct Log;

fn main() {
    let _ = wrap(Greet, Log);
}
