//! A cache that clients of memcached use.
//!
//! ```text
//! cargo run --example memcached
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: expiry times (what is stored stays), `append`,
//! `prepend`, `cas`, `gets`, `touch` and `stats`, keys that are not UTF-8, the limit of all memory,
//! and the binary and meta protocols.
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

/// The values by their keys, each with the flags that its client has given.
type Items = Mutex<HashMap<String, (u32, Vec<u8>)>>;

/// `set key flags expiry length`, and the other commands with a value.
enum Stored {}

impl BlockLen for Stored {
    fn block_len(line: &str) -> Option<u64> {
        let mut words = line.split_ascii_whitespace();
        // Also those that are left out: what is in their blocks are no commands.
        let stores = ["set", "add", "replace", "append", "prepend", "cas"].contains(&words.next()?);
        words.nth(3).filter(|_| stores)?.parse().ok()
    }
}

#[server_protocol(framing = Blocks<Stored>, reject_with = in_words)]
fn memcached(Block { line, block }: Block<'_>, #[state] items: &Items) -> Response<Vec<u8>> {
    let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let reply = match *words.as_slice() {
        ["get", ref keys @ ..] if !keys.is_empty() => {
            let mut reply = Vec::new();
            for key in keys {
                if let Some((flags, value)) = items.get(*key) {
                    let line = format!("VALUE {key} {flags} {}\r\n", value.len());
                    reply.extend([line.as_bytes(), value, b"\r\n"].concat());
                }
            }
            return Response::Reply([&reply[..], b"END"].concat());
        }
        ["append" | "prepend" | "cas", ..] => "ERROR".to_owned(),
        [verb, key, flags, ..] if Stored::block_len(line).is_some() => match flags.parse() {
            Ok(_) if verb != "set" && items.contains_key(key) != (verb == "replace") => {
                "NOT_STORED".to_owned()
            }
            Ok(flags) if key.len() <= 250 => {
                items.insert(key.to_owned(), (flags, block.to_vec()));
                "STORED".to_owned()
            }
            _ => "CLIENT_ERROR bad command line format".to_owned(),
        },
        ["set" | "add" | "replace", ..] => "CLIENT_ERROR bad command line format".to_owned(),
        ["delete", key, ..] if items.remove(key).is_some() => "DELETED".to_owned(),
        ["incr" | "decr", key, by, ..] => match items.get_mut(key) {
            Some((_, value)) => count(value, by.parse(), words[0] == "incr"),
            None => "NOT_FOUND".to_owned(),
        },
        ["delete", _, ..] => "NOT_FOUND".to_owned(),
        ["flush_all", ..] => {
            items.clear();
            "OK".to_owned()
        }
        ["version"] => "VERSION 1.6.0".to_owned(),
        ["quit"] => return Response::Close,
        _ => "ERROR".to_owned(),
    };
    match words.last() {
        Some(&"noreply") => Response::NoReply,
        _ => Response::Reply(reply.into_bytes()),
    }
}

/// Counts up, which wraps around, or down to 0. Returns the reply.
fn count<E>(value: &mut Vec<u8>, by: Result<u64, E>, is_up: bool) -> String {
    let number = str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    let (Some(number), Ok(by)) = (number, by) else {
        return "CLIENT_ERROR cannot increment or decrement non-numeric value".to_owned();
    };
    let number: u64 = number;
    let number = if is_up {
        number.wrapping_add(by)
    } else {
        number.saturating_sub(by)
    };
    *value = number.to_string().into_bytes();
    number.to_string()
}

/// A client that said `noreply` gets no error either: it would take it for the reply to the next command.
fn in_words(rejection: &Rejection) -> Response<String> {
    let request = rejection.request().unwrap_or_default();
    let line = request.split(|byte| *byte == b'\n').next();
    if line.is_some_and(|line| line.trim_ascii_end().ends_with(b" noreply")) {
        return Response::NoReply;
    }
    Response::Reply(match rejection.kind() {
        RejectionKind::TooLarge => "SERVER_ERROR object too large for cache".to_owned(),
        RejectionKind::BadRequest => format!("CLIENT_ERROR {}", rejection.text()),
        _ => format!("SERVER_ERROR {}", rejection.text()),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Memcached::new(Items::default()));
    server.max_frame_len(1 << 20).listen_until_signal().await?;
    Ok(())
}
