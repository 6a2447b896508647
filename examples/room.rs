//! A chat room for `nc`: what one says is sent to all others.
//!
//! ```text
//! cargo run --example room
//! ```
//!
//! Try: open three terminals with `nc localhost 1234`. The first line of each is a name. `examples/chat.rs` has more.

use tcs::protocol::{Push, PushError, PushGroup};
use tcs::{ConcurrentServer, Response, framing::Lines, server_protocol};

#[server_protocol(framing = Lines, push = &str)]
fn room(
    line: &str,
    #[session] name: &mut String,
    #[state] members: &PushGroup<Room>,
    push: Push<Room>,
) -> Result<Response<()>, PushError> {
    let text = if name.is_empty() {
        line.clone_into(name);
        members.join(&push);
        format!("{name} is here")
    } else {
        format!("{name}: {line}")
    };
    members.send_to_others(&push, &text)?;
    Ok(Response::NoReply)
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Room::new(PushGroup::new())).run()
}
