//! A chat with rooms and a login, typed at both ends. The server and two members are in one program.
//!
//! ```text
//! cargo run -p tcs-examples --features json --example typed_chat
//! ```
//!
//! It prints what Ann hears. Bob comes, says something and leaves, and the server stops with a last word:
//!
//! ```text
//! nobody: bad request: log in first
//! Said { who: "Bob", text: "hello" }
//! Left { who: "Bob" }
//! Stopping
//! ```
//!
//! Try: count the lines of a member in `Session`, and let `User` reject those beyond ten per second.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tcs::{
    Channel, ConcurrentServer, ConnectionInfo, Error, Rejection,
    client::{ChannelEvent, ChannelOptions, Events},
    format::Json,
    framing::Multiplexed,
    protocol::{FromSession, Push, PushGroup, PushOverflow},
    server_protocol,
};
use tokio::sync::oneshot;

/// What members hear.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Event<'a> {
    Said { who: &'a str, text: &'a str },
    Left { who: &'a str },
    Stopping,
}

/// The members of each room. A room without members is forgotten.
#[derive(Default)]
struct Rooms(Mutex<HashMap<String, PushGroup<chat::Protocol>>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, PushGroup<chat::Protocol>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server keeps for one connection.
struct Session {
    user: OnceLock<String>,
    room: OnceLock<String>,
    rooms: Arc<Rooms>,
    push: Push<chat::Protocol>,
}

impl Session {
    fn new(rooms: Arc<Rooms>, push: Push<chat::Protocol>) -> Self {
        let (user, room) = (OnceLock::new(), OnceLock::new());
        Self {
            user,
            room,
            rooms,
            push,
        }
    }
}

/// Runs when the connection ends, however it ends.
impl Drop for Session {
    fn drop(&mut self) {
        let Some((room, who)) = self.room.get().zip(self.user.get()) else {
            return;
        };
        let mut rooms = self.rooms.lock();
        if let Some(members) = rooms.get(room) {
            members.leave(&self.push);
            // It fails only for an event that is too long.
            members.send(Event::Left { who }).ok();
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }
}

/// The name of a member: a function that takes it runs only after the login.
struct User<'a>(&'a str);

impl<'a> FromSession<'a, chat::Protocol> for User<'a> {
    fn from_session(
        _: &'a chat::Protocol,
        session: &'a Session,
        _: &'a ConnectionInfo,
    ) -> Result<Self, Rejection> {
        let name = session.user.get();
        name.map(|name| Self(name))
            .ok_or_else(|| Rejection::bad_request("log in first"))
    }
}

#[server_protocol(
    format = Json,
    framing = Multiplexed,
    push = Event<'_>,
    session = Session::new(Arc::clone(rooms), push)
)]
mod chat {
    use super::{Arc, ConnectionInfo, Duration, Event, Push, Rooms, Session, User};

    /// Logs in on this connection. Returns `false` if the PIN is wrong.
    pub fn log_in(
        name: &str,
        #[secret] pin: &str,
        #[session] session: &Session,
        #[context] info: &ConnectionInfo,
    ) -> bool {
        info.set_idle_timeout(Duration::from_hours(24)); // a member that only listens
        pin == "1234" && session.user.set(name.to_owned()).is_ok()
    }

    /// Enters a room. Returns how many are there.
    pub fn join(
        room: &str,
        #[state] rooms: &Arc<Rooms>,
        #[session] session: &Session,
        #[context] _user: User<'_>,
        push: Push<Protocol>,
    ) -> usize {
        let room = session.room.get_or_init(|| room.to_owned());
        let mut rooms = rooms.lock();
        let members = rooms.entry(room.clone()).or_default();
        members.join(&push);
        members.len()
    }

    /// Says something to the others of the room. Returns how many hear it.
    pub fn say(
        text: &str,
        #[state] rooms: &Arc<Rooms>,
        #[session] session: &Session,
        #[context] user: User<'_>,
        push: Push<Protocol>,
    ) -> Result<usize, String> {
        let room = session.room.get().ok_or("enter a room first")?;
        let rooms = rooms.lock();
        let members = rooms.get(room).ok_or("the room is closed")?;
        let said = Event::Said { who: user.0, text };
        members
            .send_to_others(&push, said)
            .map_err(|error| error.to_string())
    }
}

type Member = (chat::Client<Channel<Multiplexed>>, Events<chat::Contract>);

/// Logs in and enters the room, again on each new connection.
async fn visit(addr: SocketAddr, name: &'static str) -> tcs::Result<Member> {
    let options = ChannelOptions::new(addr).on_connect(move |connection| async move {
        let mut client = chat::Client::over(connection);
        if client.log_in(name, "1234").await? {
            Ok(client.into_inner())
        } else {
            Err(Error::other("wrong PIN"))
        }
    });
    let channel: Channel<Multiplexed> = options.connect().await?;
    let join = chat::Request::Join { room: "tea" };
    let (_, events) = channel.subscribe::<chat::Contract>(join).await?;
    Ok((chat::Client::over(channel), events))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rooms = Arc::new(Rooms::default());
    let server = ConcurrentServer::new(chat::Protocol::new(Arc::clone(&rooms)))
        .push_overflow(PushOverflow::Close) // no member misses a line
        .port(0)
        .bind()
        .await?;
    let addr = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.listen_until(async move {
        stopped.await.ok(); // `tcs::server::stop_signal().await` in a program
        for members in rooms.lock().values() {
            members.send(Event::Stopping).ok(); // the drain sends what is queued
        }
    }));

    let mut nobody = chat::Client::connect(addr).await?;
    let error = nobody.say("hello").await.expect_err("a login is missing");
    println!("nobody: {}", error.rejection().ok_or("a rejection")?);

    let (_ann, mut heard) = visit(addr, "Ann").await?;
    let (bob, events) = visit(addr, "Bob").await?;
    assert_eq!(bob.say("hello").await?, Ok(1));
    println!("{:?}", event(&mut heard).await?);
    drop((bob, events));
    println!("{:?}", event(&mut heard).await?);
    stop.send(()).ok();
    println!("{:?}", event(&mut heard).await?);
    serving.await??;
    Ok(())
}

async fn event(heard: &mut Events<chat::Contract>) -> tcs::Result<Event<'_>> {
    match heard.next().await? {
        ChannelEvent::Event(event) => Ok(event),
        other => Err(Error::other(format!("{other:?}"))),
    }
}
