//! The same echoes as an operation among others: of a module, and of enums that are written by hand.
//!
//! They are compiled with each program that serves them, and not with the library's other servers: what
//! is used once is inlined, so a second use of the typed message would change what is measured there.

use std::io;

use serde::{Deserialize, Serialize};
use tcs::{
    format::{Json, Postcard},
    server_protocol,
};
use tcs_benches::{
    message::Typed,
    servers::{self, Announce, ours::serve},
};

/// The systems of this file.
const NAMES: [&str; 8] = [
    "enum-async",
    "enum-json",
    "enum-postcard",
    "enum-small",
    "operations-async",
    "operations-json",
    "operations-postcard",
    "operations-small",
];

/// What a hand asks, with the operations' names.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request<'a> {
    Find {
        name: &'a str,
    },
    Same {
        number: u64,
    },
    Echo {
        id: u64,
        name: String,
        values: Vec<u32>,
    },
    Count {},
}

/// What a hand answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply<'a> {
    Find(Option<&'a str>),
    Same(u64),
    Echo(Typed),
    Count(u64),
}

/// Answers each kind of request.
#[server_protocol(format = Json)]
pub(crate) fn enum_json(request: Request<'_>) -> Reply<'_> {
    answer(request)
}

/// Does so in Postcard.
#[server_protocol(format = Postcard)]
pub(crate) fn enum_postcard(request: Request<'_>) -> Reply<'_> {
    answer(request)
}

/// Calls functions that are `async`.
#[server_protocol(format = Postcard)]
pub(crate) async fn enum_async(request: Request<'_>) -> Reply<'_> {
    match request {
        Request::Find { name } => Reply::Find(waiting::find(name).await),
        Request::Same { number } => Reply::Same(waiting::same(number).await),
        Request::Echo { id, name, values } => Reply::Echo(waiting::echo(id, name, values).await),
        Request::Count {} => Reply::Count(waiting::count().await),
    }
}

fn answer(request: Request<'_>) -> Reply<'_> {
    match request {
        Request::Find { name } => Reply::Find(find(name)),
        Request::Same { number } => Reply::Same(number),
        Request::Echo { id, name, values } => Reply::Echo(Typed { id, name, values }),
        Request::Count {} => Reply::Count(4),
    }
}

fn find(name: &str) -> Option<&str> {
    name.strip_prefix("find ")
}

/// Functions that wait for nothing.
#[server_protocol(format = Postcard)]
pub(crate) mod waiting {
    use super::Typed;

    pub async fn find(name: &str) -> Option<&str> {
        super::find(name)
    }

    pub async fn same(number: u64) -> u64 {
        number
    }

    pub async fn echo(id: u64, name: String, values: Vec<u32>) -> Typed {
        Typed { id, name, values }
    }

    pub async fn count() -> u64 {
        4
    }
}

macro_rules! operations {
    ($module:ident, $format:ty) => {
        /// The operations in one format.
        #[server_protocol(format = $format)]
        pub(crate) mod $module {
            use super::Typed;

            pub fn find(name: &str) -> Option<&str> {
                super::find(name)
            }

            pub const fn same(number: u64) -> u64 {
                number
            }

            pub const fn echo(id: u64, name: String, values: Vec<u32>) -> Typed {
                Typed { id, name, values }
            }

            pub const fn count() -> u64 {
                4
            }
        }
    };
}

operations!(in_json, Json);
operations!(in_postcard, Postcard);

/// Serves any system on a loopback port until it fails; `announce` learns the address.
pub(crate) fn run(name: &str, port: u16, threads: usize, announce: Announce) -> io::Result<()> {
    if !NAMES.contains(&name) {
        return servers::run(name, port, threads, announce);
    }
    servers::runtime(threads)?.block_on(async {
        match name {
            "enum-json" => serve(EnumJson, port, announce).await,
            "operations-json" => serve(in_json::Protocol, port, announce).await,
            "enum-async" => serve(EnumAsync, port, announce).await,
            "operations-async" => serve(waiting::Protocol, port, announce).await,
            "enum-postcard" | "enum-small" => serve(EnumPostcard, port, announce).await,
            _ => serve(in_postcard::Protocol, port, announce).await,
        }
    })
}
