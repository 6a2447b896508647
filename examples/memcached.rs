//! A cache that clients of memcached use.
//!
//! ```text
//! cargo run --example memcached
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: expiry times (what is stored stays, also after
//! `touch`), `gat`, most of `stats`, keys that are not UTF-8, the limit of all memory, and the binary and meta protocols.
//!
//! Try: in a second terminal, run `nc -C localhost 1234` and type the lines on the right (`-C` sends `\r\n`, which must follow
//! a block):
//!
//! ```text
//!                                 set key 0 0 5
//!                                 hello
//! STORED
//!                                 get key
//! VALUE key 0 5
//! hello
//! END
//! ```

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tcs::{
    ConcurrentServer, Rejection, RejectionKind, Response,
    framing::{Block, BlockLen, Blocks},
    server_protocol,
};

const MAX_LEN: usize = 1 << 20;
/// A line may name a value any number of times.
const MAX_REPLY_LEN: usize = 8 << 20;
const BAD_LINE: &str = "CLIENT_ERROR bad command line format";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";

struct Item {
    flags: u32,
    value: Vec<u8>,
    /// Which change of the cache was its last. `gets` tells it, and `cas` compares it.
    version: u64,
}

#[derive(Default)]
struct Cache {
    items: HashMap<String, Item>,
    changes: u64,
}

/// `set key flags expiry length`, and the other commands with a value.
enum Stored {}

impl BlockLen for Stored {
    fn block_len(line: &str) -> Option<u64> {
        let mut words = line.split_ascii_whitespace();
        let stores = ["set", "add", "replace", "append", "prepend", "cas"].contains(&words.next()?);
        words.nth(3).filter(|_| stores)?.parse().ok()
    }
}

#[server_protocol(framing = Blocks<Stored>, reject_with = in_words)]
fn memcached(Block { line, block }: Block<'_>, #[state] cache: &Mutex<Cache>) -> Response<Vec<u8>> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.changes += 1;
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    // These have a reply in any case, and the others none if they end with this word.
    let must_reply = matches!(*words, ["get" | "gets" | "stats" | "version", ..]);
    let is_quiet = words.pop_if(|it| *it == "noreply" && !must_reply);
    let reply = match *words.as_slice() {
        ["get", ref keys @ ..] if !keys.is_empty() => {
            return Response::Reply(cache.get(keys, |_| String::new()));
        }
        ["gets", ref keys @ ..] if !keys.is_empty() => {
            return Response::Reply(cache.get(keys, |item| format!(" {}", item.version)));
        }
        _ if block.is_some() => cache.store(&words, block.unwrap_or_default()).to_owned(),
        ["set" | "add" | "replace" | "append" | "prepend" | "cas", ..] => BAD_LINE.to_owned(),
        ["incr" | "decr", key, by] => cache.count(key, by.parse(), words[0] == "incr"),
        ["delete", key] | ["delete", key, "0"] => match cache.items.remove(key) {
            Some(_) => "DELETED".to_owned(),
            None => "NOT_FOUND".to_owned(),
        },
        ["touch", key, _] if cache.items.contains_key(key) => "TOUCHED".to_owned(),
        ["touch", _, _] => "NOT_FOUND".to_owned(),
        ["flush_all", ..] => {
            cache.items.clear();
            "OK".to_owned()
        }
        ["verbosity", _] => "OK".to_owned(),
        ["stats"] => format!("STAT curr_items {}\r\nEND", cache.items.len()),
        ["version", ..] => "VERSION 1.6.0".to_owned(),
        ["quit"] => return Response::Close,
        _ => "ERROR".to_owned(),
    };
    match is_quiet {
        Some(_) => Response::NoReply,
        None => Response::Reply(reply.into_bytes()),
    }
}

impl Cache {
    fn get(&self, keys: &[&str], version: impl Fn(&Item) -> String) -> Vec<u8> {
        let end = b"END";
        let mut reply = Vec::new();
        for key in keys {
            if let Some(item) = self.items.get(*key) {
                let (flags, length, version) = (item.flags, item.value.len(), version(item));
                let line = format!("VALUE {key} {flags} {length}{version}\r\n");
                let found = [line.as_bytes(), &item.value, b"\r\n"].concat();
                if reply.len() + found.len() + end.len() > MAX_REPLY_LEN {
                    return b"SERVER_ERROR out of memory writing get response".to_vec();
                }
                reply.extend(found);
            }
        }
        [&reply[..], end].concat()
    }

    fn store(&mut self, words: &[&str], block: &[u8]) -> &'static str {
        let &[verb, key, flags, _, _, ref version @ ..] = words else {
            return BAD_LINE;
        };
        let (Ok(flags), 1..=250) = (flags.parse(), key.len()) else {
            return BAD_LINE;
        };
        let version = version.first().and_then(|version| version.parse().ok());
        let (flags, value) = match (verb, self.items.get(key)) {
            ("cas", _) if version.is_none() => return BAD_LINE,
            ("cas", None) => return "NOT_FOUND",
            ("cas", Some(item)) if version != Some(item.version) => return "EXISTS",
            ("add", Some(_)) | ("replace" | "append" | "prepend", None) => return "NOT_STORED",
            ("append", Some(item)) => (item.flags, [&item.value, block].concat()),
            ("prepend", Some(item)) => (item.flags, [block, &item.value].concat()),
            _ => (flags, block.to_vec()),
        };
        if value.len() > MAX_LEN {
            return TOO_LARGE;
        }
        let version = self.changes;
        let item = Item {
            flags,
            value,
            version,
        };
        self.items.insert(key.to_owned(), item);
        "STORED"
    }

    /// Counts up, which wraps around, or down to 0. Returns the reply.
    fn count<E>(&mut self, key: &str, by: Result<u64, E>, is_up: bool) -> String {
        let Some(item) = self.items.get_mut(key) else {
            return "NOT_FOUND".to_owned();
        };
        let number = str::from_utf8(&item.value).map(str::parse::<u64>);
        let (Ok(Ok(number)), Ok(by)) = (number, by) else {
            return "CLIENT_ERROR cannot increment or decrement non-numeric value".to_owned();
        };
        let number = if is_up {
            number.wrapping_add(by)
        } else {
            number.saturating_sub(by)
        };
        item.version = self.changes;
        item.value = number.to_string().into_bytes();
        number.to_string()
    }
}

/// A client that said `noreply` gets no error either: it would take it for the reply to the next command.
fn in_words(rejection: &Rejection) -> Response<String> {
    let request = rejection.request().unwrap_or_default();
    let line = request.split(|byte| *byte == b'\n').next();
    if line.is_some_and(|line| line.trim_ascii_end().ends_with(b" noreply")) {
        return Response::NoReply;
    }
    Response::Reply(match rejection.kind() {
        RejectionKind::TooLarge => TOO_LARGE.to_owned(),
        RejectionKind::BadRequest => format!("CLIENT_ERROR {}", rejection.text()),
        _ => format!("SERVER_ERROR {}", rejection.text()),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Memcached::new(Mutex::default()));
    let server = server.max_frame_len(MAX_LEN).max_reply_len(MAX_REPLY_LEN);
    server.listen_until_signal().await?;
    Ok(())
}
