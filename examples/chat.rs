//! A chat with rooms, for `nc`.
//!
//! ```text
//! cargo run --example chat
//! ```
//!
//! Say your name, then talk. Two terminals:
//!
//! ```text
//! $ nc localhost 1234                  $ nc localhost 1234
//! Ann                                  Bob
//! welcome, Ann                         welcome, Bob
//! /join tea                            /join tea
//! 1 in tea                             2 in tea
//! * Bob has come                       anyone here?
//! Bob: anyone here?
//! ```
//!
//! Try: open a third terminal in another room, stop the server while people talk, and stop reading with Ctrl-S.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Response,
    framing::Lines,
    protocol::{Push, PushError, PushGroup},
    server_protocol,
};

type Room = Arc<PushGroup<Chat>>;

/// The rooms by their names. A room is there for as long as the server runs.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Room>>);

impl Rooms {
    fn open(&self, name: &str) -> Room {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(name.to_owned()).or_default())
    }
}

/// Who is at a connection.
#[derive(Default)]
struct Guest {
    name: String,
    room: Option<Room>,
}

impl Guest {
    /// Tells the others in the room.
    fn tell(&self, push: &Push<Chat>, text: &str) -> Result<(), PushError> {
        if let Some(room) = &self.room {
            room.send_to_others(push, text)?;
        }
        Ok(())
    }
}

#[server_protocol(framing = Lines, push = &str)]
fn chat(
    line: &str,
    #[session] guest: &mut Guest,
    #[state] rooms: &Rooms,
    push: Push<Chat>,
    connection: &ConnectionInfo,
) -> Result<Response<String>, PushError> {
    if guest.name.is_empty() {
        line.clone_into(&mut guest.name);
        // Who listens says nothing.
        connection.set_idle_timeout(std::time::Duration::from_hours(24));
        return Ok(Response::Reply(format!("welcome, {line}")));
    }
    match line.split_once(' ').unwrap_or((line, "")) {
        ("/join", name) => {
            if let Some(room) = guest.room.take() {
                room.leave(&push);
            }
            let room = rooms.open(name);
            room.join(&push);
            let reply = format!("{} in {name}", room.len());
            guest.room = Some(room);
            guest.tell(&push, &format!("* {} has come", guest.name))?;
            Ok(Response::Reply(reply))
        }
        ("/quit", _) => Ok(Response::ReplyAndClose("bye".to_owned())),
        _ => {
            guest.tell(&push, &format!("{}: {line}", guest.name))?;
            Ok(Response::NoReply)
        }
    }
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Chat::new(Rooms::default())).run()
}
