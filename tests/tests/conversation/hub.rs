//! A protocol whose requests say what to push, and the bytes that its peers then receive.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines, Multiplexed},
    protocol::{Context, Push, PushError, PushGroup, Pushes, ServerProtocol},
};
use tcs_tests::{
    Act, Gate, Kind, RawPeer, code, control, frame, gate,
    ids::{control_of, kind::EVENTS, message_of},
    within,
};

/// The functions push to their own connection, and the test to the room.
pub(crate) struct Hub<K, F> {
    room: Arc<PushGroup<Room>>,
    gate: Gate,
    kind: PhantomData<fn() -> (K, F)>,
}

/// Names the events.
pub(crate) enum Room {}

impl Pushes for Room {
    type Format = Plain;
    type Event<'a> = &'a str;
}

/// What a test shares with the functions.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) room: Arc<PushGroup<Room>>,
    pub(crate) gate: Gate,
}

pub(crate) fn shared() -> Shared {
    Shared {
        room: Arc::new(PushGroup::new()),
        gate: gate(),
    }
}

impl Shared {
    pub(crate) fn server<K: Kind, F: Framing>(&self) -> ConcurrentServer<Hub<K, F>> {
        ConcurrentServer::new(Hub {
            room: Arc::clone(&self.room),
            gate: self.gate.clone(),
            kind: PhantomData,
        })
    }
}

impl<K: Kind, F: Framing> ServerProtocol for Hub<K, F> {
    type Framing = F;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = Result<String, PushError>;
    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        request: &str,
    ) -> Result<Self::Reply<'_>, Rejection> {
        let push: Push<Room> = context.info.push();
        let function = || match request.split_once(' ').unwrap_or((request, "")) {
            ("join", _) => Act::Return(Ok(self.room.join(&push).to_string())),
            ("leave", _) => Act::Return(Ok(self.room.leave(&push).to_string())),
            ("tell", event) => Act::Return(push.try_send(event).map(|()| "told".to_owned())),
            ("tell-and-wait", event) => match push.try_send(event) {
                Ok(()) => Act::Wait(Ok("told".to_owned())),
                Err(error) => Act::Return(Err(error)),
            },
            ("tell-and-panic", event) => {
                push.try_send(event).expect("there is room");
                Act::WaitAndPanic
            }
            ("wait", _) => Act::Wait(Ok("waited".to_owned())),
            ("idle", seconds) => {
                let seconds = seconds.parse().expect("a number");
                context.info.set_idle_timeout(Duration::from_secs(seconds));
                Act::Return(Ok("set".to_owned()))
            }
            (other, _) => Act::Return(Ok(other.to_owned())),
        };
        Ok(K::process(context.info, &self.gate, function).await)
    }
}

/// The bytes of a framing, as `WIRE.md` has them.
pub(crate) trait Wire: Framing {
    fn message(text: &str) -> Vec<u8>;

    /// Events or items that leave together, by the kind of their notice.
    fn announced(kind: u8, texts: &[&str]) -> Vec<u8>;

    fn events(texts: &[&str]) -> Vec<u8> {
        Self::announced(0x82, texts)
    }

    fn items(texts: &[&str]) -> Vec<u8> {
        Self::announced(0x81, texts)
    }

    /// A request with these chunks, and their end: a dot where the framing has none.
    fn with_chunks(request: &str, texts: &[&str]) -> Vec<u8>;

    /// The error of a function.
    fn error(text: &str) -> Vec<u8>;
}

impl Wire for LengthPrefixed {
    fn message(text: &str) -> Vec<u8> {
        frame(text)
    }

    fn announced(kind: u8, texts: &[&str]) -> Vec<u8> {
        let count = u8::try_from(texts.len()).expect("few");
        let messages = texts.iter().flat_map(frame);
        [0x80, 0, 0, 5, kind, 0, 0, 0, count]
            .into_iter()
            .chain(messages)
            .collect()
    }

    fn with_chunks(request: &str, texts: &[&str]) -> Vec<u8> {
        let chunks = Self::announced(0x83, texts);
        [frame(request), chunks, control(0x84, "")].concat()
    }

    fn error(text: &str) -> Vec<u8> {
        control(code::ERROR, text)
    }
}

/// A request has the id 1, again and again: each is answered before the next.
impl Wire for Multiplexed {
    fn message(text: &str) -> Vec<u8> {
        message_of(1, text)
    }

    fn announced(kind: u8, texts: &[&str]) -> Vec<u8> {
        let id = u32::from(kind != EVENTS);
        let count = u32::try_from(texts.len()).expect("few");
        let messages = texts.iter().flat_map(|text| message_of(id, text));
        control_of(id, kind, count.to_be_bytes())
            .into_iter()
            .chain(messages)
            .collect()
    }

    fn with_chunks(request: &str, texts: &[&str]) -> Vec<u8> {
        let chunks = Self::announced(0x83, texts);
        [Self::message(request), chunks, control_of(1, 0x84, "")].concat()
    }

    fn error(text: &str) -> Vec<u8> {
        control_of(1, code::ERROR, text)
    }
}

impl Wire for Lines {
    fn message(text: &str) -> Vec<u8> {
        format!("{text}\n").into_bytes()
    }

    fn announced(_kind: u8, texts: &[&str]) -> Vec<u8> {
        texts.iter().flat_map(|text| Self::message(text)).collect()
    }

    fn with_chunks(request: &str, texts: &[&str]) -> Vec<u8> {
        let messages = [&[request], texts, &["."]].concat();
        Self::announced(0x83, &messages)
    }

    fn error(text: &str) -> Vec<u8> {
        Self::message(text)
    }
}

/// Sends a request, and fails unless these bytes come back.
pub(crate) async fn expect(peer: &mut RawPeer, request: &[u8], expected: &[u8]) {
    let heard = within(peer.send_and_receive(request, expected.len())).await;
    assert_eq!(
        heard.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

/// Fails unless these bytes arrive.
pub(crate) async fn hear(peer: &mut RawPeer, expected: &[u8]) {
    expect(peer, b"", expected).await;
}
