use tcs::{ConcurrentServer, protocol::PushGroup, server_protocol};

#[server_protocol]
fn chat(line: &str, #[state] room: &PushGroup<Chat>) -> bool {
    room.send(line).is_ok()
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Chat::new(PushGroup::new())).port(1234).run()
}
