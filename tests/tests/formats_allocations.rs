//! A format allocates what its values hold, and not what a peer claims.
//!
//! One test in a process of its own, without libtest, because the allocator is the process's.

use std::{alloc::System, borrow::Cow, collections::BTreeMap, fmt, fmt::Debug};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcs::{
    ConcurrentServer,
    format::{Decode, Encode, Frame, Json, MessagePack, Postcard, Protobuf, Writer},
    server_protocol,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Order<'a> {
    item: &'a str,
    #[serde(borrow)]
    note: Cow<'a, str>,
    numbers: [u32; 3],
    state: Option<State<'a>>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
enum State<'a> {
    Open,
    Sent { to: &'a str },
}

fn order() -> Order<'static> {
    Order {
        item: "tea",
        note: Cow::Borrowed("none"),
        numbers: [1, 300, u32::MAX],
        state: Some(State::Sent { to: "Ann" }),
    }
}

#[server_protocol(format = Json)]
fn json_order(order: Order<'_>) -> Result<Order<'_>, State<'_>> {
    Ok(order)
}

#[server_protocol(format = Postcard)]
fn lean(order: Order<'_>) -> Result<Order<'_>, State<'_>> {
    Ok(order)
}

#[server_protocol(format = MessagePack)]
fn packed(order: Order<'_>) -> Result<Order<'_>, State<'_>> {
    Ok(order)
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tree {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(fixed64, repeated, tag = "2")]
    numbers: Vec<u64>,
    #[prost(message, repeated, tag = "3")]
    children: Vec<Self>,
}

/// A message that can hold many of its kind.
#[derive(Debug, Deserialize)]
struct Lists(#[expect(dead_code, reason = "it is read")] Vec<Self>);

/// A type that believes the hint that it is given.
#[derive(Debug)]
struct Eager;

impl<'de> Deserialize<'de> for Eager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, Self)
    }
}

impl<'de> Visitor<'de> for Eager {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self, A::Error> {
        let mut read: Vec<u64> = Vec::with_capacity(numbers.size_hint().unwrap_or_default());
        while let Some(number) = numbers.next_element()? {
            read.push(number);
        }
        Ok(Self)
    }
}

/// Returns how many allocations, and of how many bytes, there are while `work` is done.
fn allocated<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    drop(result);
    (
        change.allocations + change.reallocations,
        change.bytes_allocated,
    )
}

/// Fails unless a message that borrows all it can is written and read without an allocation.
fn nothing_is_copied<F>()
where
    for<'a> &'a Order<'a>: Encode<F>,
    for<'a> Order<'a>: Decode<'a, F>,
{
    let (order, mut buffer) = (order(), Vec::with_capacity(1_000));
    let (writing, _) = allocated(|| {
        Encode::<F>::encode(&order, &mut Writer::new(&mut buffer, 1_000)).expect("encodes");
    });
    assert_eq!(writing, 0, "{}", std::any::type_name::<F>());
    let (reading, _) = allocated(|| {
        let read = Order::decode(Frame::new(&buffer)).expect("it is right");
        assert!(matches!(read.note, Cow::Borrowed("none")));
        assert_eq!(read, order);
    });
    assert_eq!(reading, 0, "{}", std::any::type_name::<F>());
}

/// Returns the allocations per request of a server that is asked for `message` and replies.
async fn served<P: tcs::protocol::ServerProtocol>(protocol: P, message: Vec<u8>) -> usize {
    const ROUNDS: usize = 200;
    let server = ConcurrentServer::new(protocol)
        .port(0)
        .bind()
        .await
        .expect("a free port");
    let mut peer = TcpStream::connect(server.local_addr())
        .await
        .expect("it listens");
    tokio::spawn(server.listen());
    let request = tcs_tests::frame(&message).repeat(8);
    let mut reply = vec![0; 4_096];
    let mut exchange = async || {
        for _ in 0..ROUNDS {
            peer.write_all(&request).await.expect("the server reads");
            for _ in 0..8 {
                let length = peer.read_u32().await.expect("the server replies");
                let reply = &mut reply[..length as usize];
                peer.read_exact(reply).await.expect("the server replies");
                assert_ne!(length, 0);
            }
        }
    };
    exchange().await;
    let region = Region::new(ALLOCATOR);
    exchange().await;
    region.change().allocations / ROUNDS
}

fn bytes<F>(message: impl Encode<F>) -> Vec<u8> {
    let mut buffer = Vec::new();
    message
        .encode(&mut Writer::new(&mut buffer, 1_000))
        .expect("encodes");
    buffer
}

/// Fails unless a message that claims more than it holds is rejected before much is allocated.
#[track_caller]
fn claims_cost_nothing<F, T: for<'a> Decode<'a, F> + Debug>(message: &[u8]) {
    let (_, bytes) = allocated(|| T::decode(Frame::new(message)).expect_err("it claims too much"));
    let most = 2_048 + 100 * message.len();
    assert!(
        bytes <= most,
        "{bytes} bytes for {} of {message:?}",
        message.len()
    );
}

type Map = BTreeMap<u64, u64>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    nothing_is_copied::<Json>();
    nothing_is_copied::<Postcard>();
    nothing_is_copied::<MessagePack>();
    assert_eq!(served(JsonOrder, bytes::<Json>(order())).await, 0);
    assert_eq!(served(Lean, bytes::<Postcard>(order())).await, 0);
    assert_eq!(served(Packed, bytes::<MessagePack>(order())).await, 0);

    // The greatest count, and one that fits into 32 bits; behind them a little.
    for count in [
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".as_slice(),
        b"\xff\xff\xff\xff\x0f",
    ] {
        let message = [count, b"\x01\x01\x01"].concat();
        claims_cost_nothing::<Postcard, Vec<u64>>(&message);
        claims_cost_nothing::<Postcard, Vec<()>>(&message);
        claims_cost_nothing::<Postcard, Vec<[u64; 32]>>(&message);
        claims_cost_nothing::<Postcard, String>(&message);
        claims_cost_nothing::<Postcard, Map>(&message);
        claims_cost_nothing::<Postcard, Vec<Lists>>(&message.repeat(20));
    }
    for message in [
        b"\xdd\xff\xff\xff\xff\x01".as_slice(),
        b"\xdf\xff\xff\xff\xff\x01\x01",
    ] {
        claims_cost_nothing::<MessagePack, Vec<u64>>(message);
        claims_cost_nothing::<MessagePack, Vec<()>>(message);
        claims_cost_nothing::<MessagePack, Vec<[u64; 32]>>(message);
        claims_cost_nothing::<MessagePack, Map>(message);
        claims_cost_nothing::<MessagePack, Eager>(message);
        claims_cost_nothing::<MessagePack, Lists>(&message.repeat(20));
        claims_cost_nothing::<MessagePack, serde_json::Value>(message);
    }
    for message in [b"\xdb\xff\xff\xff\xffab", b"\xc6\xff\xff\xff\xffab"] {
        claims_cost_nothing::<MessagePack, String>(message);
        claims_cost_nothing::<MessagePack, Vec<u8>>(message);
    }
    for field in [b"\x0a", b"\x12", b"\x1a"] {
        let message = [field.as_slice(), b"\xff\xff\xff\xff\x0fab"].concat();
        claims_cost_nothing::<Protobuf, Tree>(&message);
    }
    // Lists of lists, each of which claims as much as there is left.
    let lists: Vec<u8> = (0..120).rev().collect();
    claims_cost_nothing::<Postcard, Lists>(&lists);
    let lists: Vec<u8> = lists.iter().flat_map(|count| [0xdc, 0, *count]).collect();
    claims_cost_nothing::<MessagePack, Lists>(&lists);
    claims_cost_nothing::<Json, Lists>("[[".repeat(60).as_bytes());
}
