#[tcs::server_protocol(format = tcs::format::Json, push = &str)]
mod chat {
    use tcs::protocol::PushGroup;
    pub fn say(line: &str, room: &PushGroup<Protocol>) -> bool {
        room.send(line).is_ok()
    }
}

fn main() {
    let _ = chat::Protocol::new(tcs::protocol::PushGroup::new());
}
