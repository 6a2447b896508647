use tcs::{protocol::Push, server_protocol};

#[server_protocol(session = Some(push))]
fn chat(line: &str, #[session] _user: &Option<Push<Hub>>) -> usize {
    line.len()
}
#[server_protocol(push = u8)]
fn hub(_: ()) {}

fn main() {}
