//! Every framing with every format, on connections in memory: limits to the byte in both directions,
//! and what a framing cannot carry.

use std::marker::PhantomData;

use tcs::{
    ConcurrentServer, Connection, ConnectionInfo, ErrorKind, Peer, Rejection,
    client::ConnectOptions,
    format::{Decode, Encode, Json, MessagePack, Plain, Postcard, Protobuf},
    framing::{Exchanges, Fixed, Framing, Raw},
    protocol::{Context, Contract, ServerProtocol},
    server::RequestCounts,
};
use tcs_tests::{
    RawPeer,
    client::chain,
    cutting::{write_one, write_request},
    naive::{self, Naive},
    script::{Script, closes, expects, expects_end, play, sends},
    within,
};

/// Some formats write it in two bytes, and all framings can carry it.
const LIMIT: usize = 200;

/// Texts that one framing or another cannot carry.
const AWKWARD: [&str; 5] = ["a\nb", "a;b", "a\r\n.\r\nb", "a--b", LONG];
const LONG: &str = match str::from_utf8(&[b'y'; 300]) {
    Ok(text) => text,
    Err(_) => "",
};

/// A text in a message whose first byte is no line feed, as that of `StringValue` is.
#[derive(Clone, PartialEq, prost::Message)]
struct Note {
    #[prost(string, tag = "2")]
    text: String,
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self { text }
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.text
    }
}

/// A format, and how a text looks in it, written by hand.
trait Spoken: Sized + Send + Sync + 'static {
    type Text: From<String>
        + Into<String>
        + Encode<Self>
        + for<'a> Decode<'a, Self>
        + Send
        + PartialEq
        + std::fmt::Debug
        + 'static;

    fn message(text: &str) -> Vec<u8>;
}

impl Spoken for Plain {
    type Text = String;

    fn message(text: &str) -> Vec<u8> {
        text.into()
    }
}

impl Spoken for Json {
    type Text = String;

    fn message(text: &str) -> Vec<u8> {
        let text = text.replace('\r', "\\r").replace('\n', "\\n");
        format!("\"{text}\"").into()
    }
}

impl Spoken for Postcard {
    type Text = String;

    fn message(text: &str) -> Vec<u8> {
        [&*varint(text.len()), text.as_bytes()].concat()
    }
}

impl Spoken for MessagePack {
    type Text = String;

    fn message(text: &str) -> Vec<u8> {
        let [high, low] = u16::try_from(text.len())
            .expect("it is short")
            .to_be_bytes();
        let head = match (high, low) {
            (0, 0..32) => vec![0xa0 | low],
            (0, _) => vec![0xd9, low],
            _ => vec![0xda, high, low],
        };
        [&*head, text.as_bytes()].concat()
    }
}

impl Spoken for Protobuf {
    type Text = Note;

    fn message(text: &str) -> Vec<u8> {
        [&[0x12][..], &varint(text.len()), text.as_bytes()].concat()
    }
}

fn varint(count: usize) -> Vec<u8> {
    match u8::try_from(count) {
        Ok(count @ ..0x80) => vec![count],
        _ => (count & 0x7f | 0x80 | count >> 7 << 8).to_le_bytes()[..2].to_vec(),
    }
}

/// How many letters make a message of this many bytes.
fn letters<M: Spoken>(length: usize) -> String {
    (0..=length)
        .map(|count| "x".repeat(count))
        .find(|text| M::message(text).len() == length)
        .expect("one byte for each letter")
}

/// Answers the number of an awkward text with it, and any other text with one more letter.
struct Longer<F, M>(PhantomData<fn() -> (F, M)>);

impl<F: Framing, M: Spoken> ServerProtocol for Longer<F, M> {
    type Framing = F;
    type Format = M;
    type Session = ();
    type Request<'a> = M::Text;
    type Reply<'a> = M::Text;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        request: M::Text,
    ) -> Result<M::Text, Rejection> {
        let text: String = request.into();
        let awkward = text
            .parse()
            .ok()
            .and_then(|number: usize| AWKWARD.get(number));
        let reply = awkward.map_or_else(|| format!("{text}x"), |text| (*text).to_owned());
        Ok(reply.into())
    }
}

/// Sends a server some bytes; returns all that it says until it closes.
async fn says<F: Framing, M: Spoken>(limit: usize, sent: &[u8]) -> (Vec<u8>, RequestCounts) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = ConcurrentServer::new(Longer::<F, M>(PhantomData)).max_frame_len(limit);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut peer = RawPeer::over(near);
    within(peer.send(sent)).await;
    // A rejection may have been there first.
    within(peer.try_finish()).await.ok();
    let said = within(peer.rest()).await;
    let report = within(serving).await.expect("no panic").expect("it served");
    (said, report.requests)
}

fn framed(naive: Naive, message: &[u8]) -> Vec<u8> {
    (naive.encode)(message).expect("it can be sent")
}

async fn server_keeps_its_limits<F: Framing, M: Spoken>(naive: Naive) {
    let message = |length| framed(naive, &M::message(&letters::<M>(length)));
    for length in [LIMIT - 2, LIMIT - 1] {
        let (said, requests) = says::<F, M>(LIMIT, &message(length)).await;
        assert_eq!((said, requests.served), (message(length + 1), 1));
    }
    // The request is not too large, and its reply is.
    let (said, requests) = says::<F, M>(LIMIT, &message(LIMIT)).await;
    assert!(is_rejection(&said), "{said:?}");
    assert_eq!((requests.received, requests.failed), (1, 1));
    let (said, requests) = says::<F, M>(LIMIT, &message(LIMIT + 1)).await;
    assert!(is_rejection(&said), "{said:?}");
    assert_eq!((requests.received, requests.rejected), (1, 1));
}

/// A control frame has the highest bit of its length set, and no message here is so long.
fn is_rejection(said: &[u8]) -> bool {
    said.first().is_none_or(|byte| *byte == 0x80)
}

/// Texts both ways.
struct Texts<F, M>(PhantomData<(F, M)>);

impl<F: Framing, M: Spoken> Contract for Texts<F, M> {
    type Framing = F;
    type Format = M;
    type Request<'a> = M::Text;
    type Reply<'a> = M::Text;
}

/// A client of a raw server that expects one request and sends a reply.
struct Caller<F> {
    connection: Connection<F>,
    server: Script,
}

impl<F: Framing> Caller<F> {
    fn new(limit: usize, request: Vec<u8>, reply: Vec<u8>) -> Self {
        let (near, far) = tokio::io::duplex(1 << 16);
        let options = ConnectOptions::new().max_frame_len(limit);
        let connection = options.over(near).expect("the options make sense");
        let end = (F::EXCHANGES == Exchanges::OneUntilHalfClose).then(expects_end);
        let steps = [expects(request)].into_iter().chain(end);
        let server = play(RawPeer::over(far), steps.chain([sends(reply), closes()]));
        Self { connection, server }
    }

    /// Calls it; returns the text of the reply, or the kind of the error and its cause.
    async fn call<M: Spoken>(&mut self, text: &str) -> Result<String, (ErrorKind, String)> {
        let request = text.to_owned().into();
        match within(self.connection.call::<Texts<F, M>>(request)).await {
            Ok(reply) => Ok(reply.into()),
            Err(error) => Err((error.kind(), chain(&error).swap_remove(1))),
        }
    }
}

async fn client_keeps_its_limits<F: Framing, M: Spoken>(naive: Naive) {
    let too_large = |setting| {
        format!(
            "a message of {} bytes exceeds `{setting}` of {LIMIT} bytes",
            LIMIT + 1
        )
    };
    let message = |length| framed(naive, &M::message(&letters::<M>(length)));
    for (request, reply) in [(LIMIT - 1, LIMIT - 1), (LIMIT, LIMIT), (LIMIT, LIMIT + 1)] {
        let mut caller = Caller::<F>::new(LIMIT, message(request), message(reply));
        // What is not sent harms nobody.
        let unsent = caller.call::<M>(&letters::<M>(LIMIT + 1)).await;
        let expected = (ErrorKind::Request, too_large("max_frame_len"));
        assert_eq!(unsent, Err(expected));
        let heard = caller.call::<M>(&letters::<M>(request)).await;
        if reply <= LIMIT {
            assert_eq!(heard, Ok(letters::<M>(reply)));
        } else {
            let expected = (ErrorKind::Reply, too_large("max_reply_len"));
            assert_eq!(heard, Err(expected));
        }
        caller.server.finished().await;
    }
}

/// Nothing is lost but what cannot be said: what stood before it arrives, and a client goes on.
async fn unsendable_harms_nothing_else<F: Framing, M: Spoken>(naive: Naive) {
    const ROOM: usize = 1 << 16;
    let frame = |text: &str| framed(naive, &M::message(text));
    for (number, text) in AWKWARD.iter().enumerate() {
        let message = M::message(text);
        let expected = (naive.encode)(&message);
        // A reply may have what a request may not, such as a second line.
        let request = write_request::<F>(&message);
        let sent = expected.clone().filter(|_| request.is_ok());
        let sent = sent.unwrap_or_else(|| frame("fine"));
        let mut caller = Caller::<F>::new(ROOM, sent, frame("good"));
        let mut heard = caller.call::<M>(text).await;
        if let Err(error) = request {
            assert_eq!(heard, Err((ErrorKind::Request, error.to_string())));
            heard = caller.call::<M>("fine").await;
        }
        assert_eq!(heard, Ok("good".to_owned()));
        caller.server.finished().await;

        if F::EXCHANGES != Exchanges::Many {
            let (said, requests) = says::<F, M>(ROOM, &frame(&number.to_string())).await;
            assert_eq!((Some(said), requests.served), (expected, 1));
            continue;
        }
        let requests = ["before", &number.to_string(), "behind"]
            .map(frame)
            .concat();
        let (said, requests) = says::<F, M>(ROOM, &requests).await;
        if let Some(reply) = expected {
            assert_eq!(said, [frame("beforex"), reply, frame("behindx")].concat());
            assert_eq!(requests.served, 3);
        } else {
            assert_eq!(said, frame("beforex"));
            assert_eq!((requests.served, requests.failed), (1, 1));
        }
    }
}

macro_rules! combination {
    ($framing:ty, $naive:ident, $name:ident, $format:ident) => {
        #[tokio::test]
        async fn $name() {
            use super::*;

            if (naive::$naive.encode)(b"12345").is_none() {
                return one_size_fits::<$format>().await;
            }
            server_keeps_its_limits::<$framing, $format>(naive::$naive).await;
            client_keeps_its_limits::<$framing, $format>(naive::$naive).await;
            unsendable_harms_nothing_else::<$framing, $format>(naive::$naive).await;
        }
    };
}

each_combination!(combination);
each_format! { combination raw: Raw, UNTIL_EOF; }

/// Messages of one size are either sent or not, and the limit is that size or more.
async fn one_size_fits<M: Spoken>() {
    type Sized = Fixed<LIMIT>;
    let message = |length| M::message(&letters::<M>(length));
    let mut caller = Caller::<Sized>::new(LIMIT, message(LIMIT), message(LIMIT));
    for length in [LIMIT - 1, LIMIT + 1] {
        let error = write_one::<Sized>(&message(length)).expect_err("another size");
        let unsent = caller.call::<M>(&letters::<M>(length)).await;
        let (kind, text) = unsent.expect_err("another size");
        assert_eq!(kind, ErrorKind::Request);
        if length < LIMIT {
            assert_eq!(text, error.to_string());
        }
    }
    let heard = caller.call::<M>(&letters::<M>(LIMIT)).await;
    assert_eq!(heard, Ok(letters::<M>(LIMIT)));
    caller.server.finished().await;
    // The reply has one letter more.
    let (said, requests) = says::<Sized, M>(LIMIT + 1, &message(LIMIT)).await;
    assert_eq!((said, requests.failed), (Vec::new(), 1));
}
