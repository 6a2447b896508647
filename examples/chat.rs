//! A chat with rooms, for `nc` and for a client of this library.
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
//! The same rooms are open for programs at another port, which the server prints. There, requests have replies, and the
//! client knows which messages are events:
//!
//! ```text
//! $ cargo run --example chat -- 127.0.0.1:40123 Cid tea
//! 3 in tea
//! Bob: who is Cid?
//! ```
//!
//! It enters the room again after the server was restarted at the same port, with `cargo run --example chat --
//! 127.0.0.1:40123`.
//!
//! Try: open a third terminal in another room, stop the server while people talk, and stop reading with Ctrl-S.

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer, ConnectionInfo, Response,
    client::{ChannelEvent, ChannelOptions},
    framing::Lines,
    protocol::{Push, PushError, PushGroup},
    server_protocol,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// The rooms by their names. A room is there for as long as the server runs, so strangers can make any number:
/// `typed_chat.rs` forgets rooms without members.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Arc<Room>>>);

impl Rooms {
    fn open(&self, name: &str) -> Arc<Room> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(name.to_owned()).or_default())
    }
}

/// Who is in a room.
#[derive(Default)]
struct Room {
    people: PushGroup<Chat>,
    programs: PushGroup<Talk>,
}

/// The one who says something.
enum Speaker {
    Person(Push<Chat>),
    Program(Push<Talk>),
}

impl Room {
    /// Adds someone. Returns how many are there now.
    fn enter(&self, speaker: &Speaker) -> usize {
        match speaker {
            Speaker::Person(push) => self.people.join(push),
            Speaker::Program(push) => self.programs.join(push),
        };
        self.people.len() + self.programs.len()
    }

    fn leave(&self, speaker: &Speaker) {
        match speaker {
            Speaker::Person(push) => self.people.leave(push),
            Speaker::Program(push) => self.programs.leave(push),
        };
    }

    /// Tells the others.
    fn tell(&self, speaker: &Speaker, text: &str) -> Result<(), PushError> {
        match speaker {
            Speaker::Person(push) => {
                self.people.send_to_others(push, text)?;
                self.programs.send(text)?;
            }
            Speaker::Program(push) => {
                self.people.send(text)?;
                self.programs.send_to_others(push, text)?;
            }
        }
        Ok(())
    }
}

/// Who is at a connection.
#[derive(Default)]
struct Guest {
    name: String,
    room: Option<Arc<Room>>,
}

impl Guest {
    /// Does what a line says. Returns the reply, if there is one.
    fn hear(
        &mut self,
        line: &str,
        rooms: &Rooms,
        speaker: &Speaker,
        connection: &ConnectionInfo,
    ) -> Result<Option<String>, PushError> {
        if self.name.is_empty() {
            line.clone_into(&mut self.name);
            // Who listens says nothing.
            connection.set_idle_timeout(Duration::from_hours(24));
            return Ok(Some(format!("welcome, {line}")));
        }
        if let Some(name) = line.strip_prefix("/join ") {
            if let Some(room) = self.room.take() {
                room.leave(speaker);
            }
            let room = self.room.insert(rooms.open(name));
            let reply = format!("{} in {name}", room.enter(speaker));
            room.tell(speaker, &format!("* {} has come", self.name))?;
            return Ok(Some(reply));
        }
        if let Some(room) = &self.room {
            room.tell(speaker, &format!("{}: {line}", self.name))?;
        }
        Ok(None)
    }
}

/// Lines, for people.
#[server_protocol(framing = Lines, push = &str)]
fn chat(
    line: &str,
    #[session] guest: &mut Guest,
    #[state] rooms: &Arc<Rooms>,
    push: Push<Chat>,
    connection: &ConnectionInfo,
) -> Result<Response<String>, PushError> {
    if line == "/quit" {
        return Ok(Response::ReplyAndClose("bye".to_owned()));
    }
    let reply = guest.hear(line, rooms, &Speaker::Person(push), connection)?;
    Ok(reply.map_or(Response::NoReply, Response::Reply))
}

/// The default framing, for programs. Each request has a reply.
#[server_protocol(push = &str)]
fn talk(
    line: &str,
    #[session] guest: &mut Guest,
    #[state] rooms: &Arc<Rooms>,
    push: Push<Talk>,
    connection: &ConnectionInfo,
) -> Result<String, PushError> {
    let reply = guest.hear(line, rooms, &Speaker::Program(push), connection)?;
    Ok(reply.unwrap_or_default())
}

async fn serve(addr: &str) -> tcs::Result<()> {
    let rooms = Arc::new(Rooms::default());
    let programs = ConcurrentServer::new(Talk::new(Arc::clone(&rooms)))
        .address(addr)
        .bind()
        .await?;
    println!("programs talk at {}", programs.local_addr());
    let people = ConcurrentServer::new(Chat::new(rooms)).bind().await?;
    tokio::try_join!(people.listen_until_signal(), programs.listen_until_signal())?;
    Ok(())
}

/// Enters a room, says each line of the input, and prints what the others say.
async fn visit(addr: &str, name: String, room: &str) -> tcs::Result<()> {
    let options = ChannelOptions::new(addr).on_connect(move |mut connection| {
        let name = name.clone();
        async move {
            connection.call::<Talk>(&name).await?;
            Ok(connection)
        }
    });
    let channel: Channel = options.connect().await?;
    let (reply, mut events) = channel.subscribe::<Talk>(&format!("/join {room}")).await?;
    println!("{reply}");
    let mut lines = BufReader::new(stdin()).lines();
    let mut has_ended = false;
    loop {
        tokio::select! {
            line = lines.next_line(), if !has_ended => match line {
                Ok(Some(line)) => drop(channel.call::<Talk>(&line).await?),
                _ => has_ended = true,
            },
            event = events.next() => match event? {
                ChannelEvent::Event(text) => println!("{text}"),
                ChannelEvent::Reconnected => println!("* connected again"),
                _ => {}
            },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [addr, name, room] => visit(addr, name.clone(), room).await,
        [addr] => serve(addr).await,
        _ => serve("127.0.0.1:0").await,
    }
}
