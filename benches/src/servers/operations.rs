//! The same echoes as an operation among others: of a module, and of enums that are written by hand.

use std::{io, net::SocketAddr};

use serde::{Deserialize, Serialize};
use tcs::{Json, Postcard, server_protocol};

use super::ours::serve;
use crate::message::Typed;

/// The systems of this file.
pub const NAMES: [&str; 8] = [
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
#[expect(missing_docs, reason = "they are those of the operations")]
pub enum Request<'a> {
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
#[expect(missing_docs, reason = "they are those of the operations")]
pub enum Reply<'a> {
    Find(Option<&'a str>),
    Same(u64),
    Echo(Typed),
    Count(u64),
}

/// Answers each kind of request.
#[server_protocol(format = Json)]
pub fn enum_json(request: Request<'_>) -> Reply<'_> {
    answer(request)
}

/// Does so in Postcard.
#[server_protocol(format = Postcard)]
pub fn enum_postcard(request: Request<'_>) -> Reply<'_> {
    answer(request)
}

/// Calls functions that are `async`.
#[server_protocol(format = Postcard)]
pub async fn enum_async(request: Request<'_>) -> Reply<'_> {
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
#[expect(missing_docs, reason = "they say what they do")]
pub mod waiting {
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
        #[expect(missing_docs, reason = "they say what they do")]
        pub mod $module {
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

/// Serves one of [`NAMES`] until it fails.
///
/// # Errors
///
/// Why it fails.
pub async fn run(
    name: &str,
    port: u16,
    announce: impl FnOnce(SocketAddr) + Send + 'static,
) -> io::Result<()> {
    match name {
        "enum-json" => serve(EnumJson, port, announce).await,
        "operations-json" => serve(in_json::Protocol, port, announce).await,
        "enum-async" => serve(EnumAsync, port, announce).await,
        "operations-async" => serve(waiting::Protocol, port, announce).await,
        "enum-postcard" | "enum-small" => serve(EnumPostcard, port, announce).await,
        _ => serve(in_postcard::Protocol, port, announce).await,
    }
}
