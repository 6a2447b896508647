//! What a module of operations may look like, and where it may stand.

use std::{borrow::Cow, fmt::Debug};

use tcs::{ConcurrentServer, Peer, client_protocol, format::Json, framing::Lines, server_protocol};

/// The types of the options are named as around the module.
#[server_protocol(format = Json, framing = Lines)]
mod without_imports {
    pub fn nothing() {}
}

#[server_protocol(format = Json)]
pub(crate) mod generic {
    #![allow(dead_code)]
    //! Documentation inside.

    use std::marker::PhantomData;

    use super::*;

    pub trait Store: Send + Sync + 'static {
        fn get(&self, key: &str) -> Option<String>;
    }

    pub struct Kept<T>(PhantomData<T>);

    pub async fn get<S: Store>(key: &str, #[state] store: &S) -> Option<String> {
        store.get(key)
    }

    pub fn count<S, const N: usize>(
        #[state] store: &S,
        #[state] names: &[[u8; N]],
        #[state] shown: &(dyn Debug + Send + Sync),
        #[state] text: &str,
    ) -> usize
    where
        S: Store + Debug,
    {
        format!("{store:?}{shown:?}{text}").len() + names.len()
    }

    macro_rules! three {
        () => {
            3
        };
    }

    pub(crate) const fn three() -> u8 {
        three!()
    }
}

#[derive(Debug)]
struct Nothing;

impl generic_store::Store for Nothing {
    fn get(&self, _key: &str) -> Option<String> {
        None
    }
}

use generic as generic_store;

/// Names that could be those of generated code, and types that shadow the prelude's.
#[server_protocol(format = tcs::format::Postcard)]
mod names {
    use super::*;

    type String = std::string::String;
    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Operation<A>(A);
    #[derive(serde::Deserialize, serde::Serialize)]
    pub enum Value {}
    pub type S = Operation<u8>;

    pub fn request(request: String, to: S, from: u8, message: Option<Value>) -> S {
        let _ = (request, from, message);
        to
    }

    pub fn r#type(r#fn: u8, number: u8, variant: u8, map: u8, list: u8, f: u8) -> u8 {
        r#fn + number + variant + map + list + f
    }

    pub fn session<'a, 'b>(text: &'a str, other: &'b str, out: Cow<'a, str>) -> Cow<'a, str> {
        let _ = (text, other);
        out
    }

    pub fn self_name(context: &Peer, #[session] info: &mut u8, session: u8) -> u8 {
        let _ = context;
        *info += session;
        *info
    }

    pub async fn process(mut process: u8, reply: &[u8]) -> Result<(), ()> {
        process += reply.len() as u8;
        if process == 0 { Err(()) } else { Ok(()) }
    }
}

#[client_protocol(format = tcs::format::Postcard, describe)]
mod names_contract {
    use super::names::{S, Value};

    pub fn request(request: String, to: S, from: u8, message: Option<Value>) -> S;
    pub async fn type_(#[state] unknown: &Unknown, #[context] peer: &Peer) -> u8 {
        this.does.not.compile
    }
}

/// One type by two names is one state.
#[server_protocol(format = Json)]
mod one_state {
    pub struct Log(pub Vec<u8>);
    type Same = Log;

    pub fn first(#[state] log: &Log) -> usize {
        log.0.len()
    }

    pub async fn second(#[state] log: &super::one_state::Log, #[session] sum: &mut u8) -> usize {
        *sum += 1;
        log.0.len()
    }

    pub fn third(#[state] log: &Same, #[session] sum: &core::primitive::u8) -> usize {
        log.0.len() + usize::from(*sum)
    }
}

/// Paths in the options, and who sees the module, are meant as around it.
mod around {
    pub type Format = tcs::format::Json;
    pub mod library {
        pub use ::tcs as here;
    }

    pub mod inner {
        #[tcs::server_protocol(format = super::Format, crate = super::library::here)]
        pub(in super::super) mod far {
            pub fn nothing() {}
        }

        #[tcs::server_protocol(format = super::Format, framing = tcs::framing::Fixed<{ super::inner::SIZE }>)]
        pub(super) mod near {
            pub fn nothing() {}
        }

        #[tcs::server_protocol(format = self::Own, crate = tcs)]
        pub(self) mod here {
            pub fn nothing() {}
        }

        type Own = super::Format;
        pub const SIZE: usize = 40;

        pub fn check() {
            let _ = (far::Protocol, near::Protocol, here::Protocol);
        }
    }

    pub fn check() {
        let _ = (inner::far::Protocol, inner::near::Protocol);
        inner::check();
    }
}

/// Constant replies are read from what arrived.
#[server_protocol(format = Json)]
mod constants {
    pub fn version() -> &'static str {
        "1.0"
    }

    pub async fn check(number: u8) -> Result<u8, &'static str> {
        if number > 0 { Ok(number) } else { Err("none") }
    }

    pub fn owned() -> std::borrow::Cow<'static, str> {
        "owned".into()
    }
}

/// A name in an option is the one around the module, even if the module imports another type of this name.
mod imported {
    type Lines = tcs::framing::CrlfLines;
    type Contract = tcs::format::Json;

    #[tcs::server_protocol(format = Contract, framing = Lines)]
    pub mod other {
        use tcs::framing::Lines;

        pub fn nothing() {
            let _ = Lines::default();
        }
    }
}

/// Paths are moved into the module wherever they begin.
mod qualified {
    pub trait Chosen {
        const SIZE: usize = 4;
        type Framing;
    }

    pub struct Choice;

    impl Chosen for Choice {
        type Framing = tcs::framing::Lines;
    }

    pub mod inner {
        #[tcs::server_protocol(
            format = tcs::format::Json,
            framing = <super::Choice as super::Chosen>::Framing
        )]
        pub mod far {
            pub fn nothing() {}
        }
    }

    #[tcs::server_protocol(
        format = tcs::format::Json,
        framing = <Choice as self::Chosen>::Framing
    )]
    pub mod here {
        pub fn nothing() {}
    }

    #[tcs::server_protocol(
        format = tcs::format::Json,
        framing = tcs::framing::Fixed<{ <Choice as self::Chosen>::SIZE }>
    )]
    pub mod sized {
        pub fn nothing() {}
    }
}

/// A client keeps the functions that its other items name.
/// Functions in signatures and in options.
#[client_protocol(format = Json, framing = tcs::framing::Delimited<{ semicolon() }>)]
mod constant_functions {
    const fn size() -> usize {
        2
    }

    const fn semicolon() -> u128 {
        tcs::framing::delimiter(b";")
    }

    fn _only_a_server_calls_it() -> Unknown {}

    pub fn sum(pair: [u8; size()]) -> [u8; size()] {
        _only_a_server_calls_it()
    }
}

#[client_protocol(format = Json)]
mod defaults {
    /// It isn't "parsed.
    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Order {
        #[serde(default = "one")]
        pub count: u8,
    }

    impl std::fmt::Display for Order {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{}", text(self))
        }
    }

    fn text(order: &Order) -> String {
        format!("{} of {}", order.count, self::one())
    }

    const fn one() -> u8 {
        1
    }

    fn dropped() -> NoSuchType {}

    pub fn order(order: Order) -> u8 {
        dropped();
        order.count
    }
}

/// Associated types may have the names of generated types.
pub trait Service: Send + Sync {
    type Request;
    type Reply;
    fn reply(&self) -> Self::Reply;
}

impl Service for u8 {
    type Request = Self;
    type Reply = Self;
    fn reply(&self) -> Self {
        *self
    }
}

#[server_protocol(format = Json)]
mod associated {
    use super::Service;

    pub fn reply(#[state] one: &dyn Service<Request = u8, Reply = String>) -> String {
        one.reply()
    }

    pub fn other<S>(#[state] other: &S) -> u8
    where
        S: Service<Request: Send, Reply = u8>,
    {
        other.reply()
    }
}

/// A macro may write a type.
macro_rules! text {
    ($lifetime:lifetime) => {
        &$lifetime str
    };
}

#[server_protocol(format = Json)]
mod macros {
    pub fn first<'a>(text: text!('a), _other: Option<text!('a)>) -> text!('a) {
        text
    }
}

#[server_protocol]
fn single<'a>(request: text!('a)) -> text!('a) {
    request
}

/// Names that options may have as well.
type Format = tcs::format::Json;
type Framing = tcs::framing::Lines;

#[server_protocol(format = Format, framing = Framing)]
mod aliases {
    pub fn none() {}
}

/// Messages need no `Debug`. Their types may be generic, or borrow.
mod without_debug {
    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Key<T>(T);

    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Lent<'a>(&'a str);

    #[tcs::client_protocol(format = tcs::format::Json)]
    pub mod keys {
        use super::{Key, Lent};

        #[idempotent]
        pub fn open<'a>(key: Key<u8>, #[secret] more: Vec<Key<String>>, lent: Option<Lent<'a>>) -> Lent<'a>;
        #[secret]
        pub async fn close(get: Key<Vec<u8>>) -> Result<Key<u8>, Box<str>>;
    }
}

/// A format with the name of one that carries no operations.
mod own {
    use tcs::format::{Decode, DecodeError, Encode, EncodeError, Frame, Json, Writer};

    use super::in_own_format::{Reply, Request};

    pub enum Plain {}

    impl Encode<Plain> for Request<'_> {
        fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> { Encode::<Json>::encode(self, out) }
    }
    impl<'a> Decode<'a, Plain> for Request<'a> {
        fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> { <Self as Decode<'a, Json>>::decode(frame) }
    }
    impl Encode<Plain> for Reply<'_> {
        fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> { Encode::<Json>::encode(self, out) }
    }
    impl<'a> Decode<'a, Plain> for Reply<'a> {
        fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> { <Self as Decode<'a, Json>>::decode(frame) }
    }
}

#[server_protocol(format = own::Plain)]
mod in_own_format {
    pub fn add(name: &str) -> &str {
        name
    }
}

fn main() {
    let _ = ConcurrentServer::new(in_own_format::Protocol);
    let _ = async |mut client: in_own_format::Client| client.add("a").await.map(str::len);

    let _ = ConcurrentServer::new(aliases::Protocol);
    around::check();
    let _ = around::inner::far::Protocol;
    let _ = async |mut client: constants::Client| {
        let _: &str = client.version().await?;
        let _: Result<u8, &str> = client.check(1).await?;
        let channel = client.into_channel()?;
        let _: usize = channel.version(str::len).await?;
        let _: Cow<'static, str> = channel.owned().await?;
        Ok::<(), tcs::Error>(())
    };
    let _ = ConcurrentServer::new(constants::Protocol);
    let _ = ConcurrentServer::new(one_state::Protocol::new(one_state::Log(Vec::new())));
    let _ = ConcurrentServer::new(without_imports::Protocol);
    let _ = ConcurrentServer::new(names::Protocol);
    let debug: Box<dyn Debug + Send + Sync> = Box::new(1);
    let protocol = generic::Protocol::new(Nothing, vec![[1, 2]], debug, String::new());
    let _ = ConcurrentServer::new(protocol);
    let _ = async |client: names::Client| {
        let names = client.into_channel()?.clone();
        let length = names.session("a", "b", "c".into(), |text: Cow<'_, str>| text.len()).await?;
        let contract = names_contract::Client::over(names.into_inner());
        let _ = contract.type_().await? + length as u8;
        Ok::<(), tcs::Error>(())
    };
    let _ = |request: without_debug::keys::Request, reply: without_debug::keys::Reply| {
        format!("{request:?}{reply:?}")
    };
    let _ = generic::three();
    let _: fn(imported::other::Client) -> tcs::Connection<tcs::framing::CrlfLines> =
        imported::other::Client::into_inner;
    let _: [fn(tcs::Connection<tcs::framing::Lines>); 2] = [
        |connection| drop(qualified::here::Client::over(connection)),
        |connection| drop(qualified::inner::far::Client::over(connection)),
    ];
    let _ = (qualified::sized::Protocol, macros::Protocol, Single, associated::Protocol::<u8>::new);
    let _ = async |mut client: defaults::Client, order| client.order(order).await;
}
