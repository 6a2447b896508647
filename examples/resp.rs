//! A store for the clients of Redis (RESP2), with channels, and lists to wait for.
//!
//! ```text
//! cargo run --example resp
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: expiry times and the other options of `SET`, types other
//! than strings and lists (the keys of the two are apart, so there is no `WRONGTYPE`), `BLPOP` from several lists, patterns of
//! channels, transactions, scripts, databases, logins, RESP3 (`HELLO` is unknown, so clients use RESP2), and files. Lists are
//! never forgotten.
//!
//! Try: in a second terminal, run `redis-cli -p 1234`, or `redis-benchmark -p 1234 -t get,set -P 16`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Display,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, RejectionKind, Response,
    framing::{Detection, FrameError, Framing, Input, ParsedFrame},
    protocol::PushGroups,
    server_protocol,
};
use tokio::{sync::Semaphore, time::timeout};

/// A command is an array of strings, or a line of words. A reply is sent as it is written.
#[derive(Default)]
struct Commands {
    /// Where the next string begins, and how many are missing.
    next: usize,
    missing: usize,
    searched: usize,
}

impl Framing for Commands {
    // It would find Redis.
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if !input.bytes().starts_with(b"*") {
            return input.line(&mut self.searched);
        }
        let mut rest = input.bytes().get(self.next..).unwrap_or_default();
        if self.next == 0 {
            let Some(count) = number(b'*', &mut rest)? else {
                return ParsedFrame::incomplete(input);
            };
            (self.next, self.missing) = (input.bytes().len() - rest.len(), count);
        }
        while self.missing > 0 {
            let Some(length) = number(b'$', &mut rest)? else {
                return ParsedFrame::incomplete(input);
            };
            let start = input.bytes().len() - rest.len();
            let end = start.saturating_add(length).saturating_add(2);
            if input.need(end)?.is_none() {
                return Ok(None);
            }
            rest = &input.bytes()[end..];
            (self.next, self.missing) = (end, self.missing - 1);
        }
        ParsedFrame::counted(input, 0, take(&mut self.next))
    }
}

/// Takes a line such as `$5` off the start of `bytes`, and returns its number, or `None` if its end has not arrived.
fn number(kind: u8, bytes: &mut &[u8]) -> Result<Option<usize>, FrameError> {
    const MAX_LINE: usize = 32;
    let line = match bytes.iter().take(MAX_LINE).position(|it| *it == b'\n') {
        Some(end) => bytes.split_off(..=end).unwrap_or_default(),
        None if bytes.len() < MAX_LINE => return Ok(None),
        None => bytes.get(..MAX_LINE).unwrap_or_default(),
    };
    let digits = line
        .strip_prefix(&[kind])
        .and_then(|it| it.strip_suffix(b"\r\n"));
    match digits.and_then(|it| str::from_utf8(it).ok()?.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(FrameError::malformed(format_args!(
            "Protocol error: expected '{}' and a number, got '{}'",
            kind.escape_ascii(),
            line.escape_ascii()
        ))),
    }
}

/// Returns the words of a command that the framing has found.
fn words(mut command: &[u8]) -> Vec<&[u8]> {
    if !command.starts_with(b"*") {
        let words = command.split(u8::is_ascii_whitespace);
        return words.filter(|word| !word.is_empty()).collect();
    }
    let mut words = Vec::new();
    drop(number(b'*', &mut command));
    while let Ok(Some(length)) = number(b'$', &mut command) {
        words.extend(command.split_off(..length));
        command = command.get(2..).unwrap_or_default();
    }
    words
}

#[derive(Default)]
struct Store {
    strings: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    lists: Mutex<HashMap<Vec<u8>, Arc<List>>>,
    channels: PushGroups<Vec<u8>, Resp>,
}

struct List {
    values: Mutex<VecDeque<Vec<u8>>>,
    /// Has a permit for each value. Who has waited longest gets the next one.
    permits: Semaphore,
}

impl Store {
    fn list(&self, key: &[u8]) -> Arc<List> {
        let list = || List {
            values: Mutex::default(),
            permits: Semaphore::new(0),
        };
        let mut lists = lock(&self.lists);
        Arc::clone(
            lists
                .entry(key.to_vec())
                .or_insert_with(|| Arc::new(list())),
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[server_protocol(framing = Commands, push = &[u8], reject_with = in_words, half_close = ends)]
async fn resp(
    command: &[u8],
    #[state] store: &Store,
    #[session] subscribed: &mut HashSet<Vec<u8>>,
    info: &ConnectionInfo,
) -> Result<Response<Vec<u8>>, String> {
    let words = words(command);
    let Some((name, arguments)) = words.split_first() else {
        return Ok(Response::NoReply);
    };
    let name = name.to_ascii_uppercase();
    let reply = match (name.as_slice(), arguments) {
        (b"QUIT", _) => return Ok(Response::ReplyAndClose(b"+OK\r\n".to_vec())),
        (b"SUBSCRIBE", channels @ [_, ..]) => {
            let push = info.push();
            let replies = channels.iter().map(|channel| {
                store.channels.join(channel.to_vec(), &push);
                subscribed.insert(channel.to_vec());
                told(b"subscribe", channel, subscribed.len())
            });
            replies.collect::<Vec<_>>().concat()
        }
        (b"UNSUBSCRIBE", [channel]) => {
            store.channels.leave(*channel, &info.push());
            subscribed.remove(*channel);
            told(b"unsubscribe", channel, subscribed.len())
        }
        (b"PING", []) if !subscribed.is_empty() => array(&[b"pong", b""]),
        _ if !subscribed.is_empty() => {
            return Err("ERR only SUBSCRIBE, UNSUBSCRIBE, PING and QUIT work now".to_owned());
        }
        (b"BLPOP", [key, seconds]) => {
            let limit = seconds_of(seconds).ok_or("ERR timeout is not a float or out of range")?;
            let list = store.list(key);
            match timeout(limit, list.permits.acquire()).await {
                Ok(Ok(permit)) => {
                    permit.forget();
                    let value = lock(&list.values).pop_front().unwrap_or_default();
                    array(&[key, &value])
                }
                _ => b"*-1\r\n".to_vec(),
            }
        }
        (name, arguments) => execute(name, arguments, store)?,
    };
    Ok(Response::Reply(reply))
}

/// Executes a command that does not wait.
fn execute(name: &[u8], arguments: &[&[u8]], store: &Store) -> Result<Vec<u8>, String> {
    let mut strings = lock(&store.strings);
    Ok(match (name, arguments) {
        (b"GET", [key]) => match strings.get(*key) {
            Some(value) => bulk(value),
            None => b"$-1\r\n".to_vec(),
        },
        (b"SET", [key, value]) => {
            strings.insert(key.to_vec(), value.to_vec());
            b"+OK\r\n".to_vec()
        }
        (b"DEL", keys @ [_, ..]) => {
            let removed = keys.iter().filter(|key| strings.remove(**key).is_some());
            integer(removed.count())
        }
        (b"INCR", [key]) => {
            let value = strings.entry(key.to_vec()).or_insert_with(|| b"0".to_vec());
            let number = str::from_utf8(value).ok().and_then(|it| it.parse().ok());
            let number: i64 = number.ok_or("ERR value is not an integer or out of range")?;
            let number = number
                .checked_add(1)
                .ok_or("ERR increment would overflow")?;
            *value = number.to_string().into_bytes();
            integer(number)
        }
        (b"RPUSH", [key, added @ ..]) if !added.is_empty() => {
            let list = store.list(key);
            let mut values = lock(&list.values);
            values.extend(added.iter().map(|value| value.to_vec()));
            list.permits.add_permits(added.len());
            integer(values.len())
        }
        (b"PUBLISH", [channel, text]) => {
            let message = array(&[b"message", channel, text]);
            let receivers = store.channels.send(*channel, &message);
            integer(receivers.map_err(|error| format!("ERR {error}"))?)
        }
        (b"PING", []) => b"+PONG\r\n".to_vec(),
        (b"PING" | b"ECHO", [text]) => bulk(text),
        // What `redis-cli` and `redis-benchmark` want to know.
        (b"COMMAND", _) => array(&[]),
        (b"CONFIG", [_, name]) => array(&[name, b""]),
        _ => {
            let name = name.escape_ascii();
            return Err(format!(
                "ERR unknown command '{name}', or a wrong number of arguments"
            ));
        }
    })
}

/// Reads the time limit of a command. 0 is for none.
fn seconds_of(text: &[u8]) -> Option<Duration> {
    let seconds = str::from_utf8(text).ok()?.parse().ok()?;
    let limit = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if limit.is_zero() {
        Duration::MAX
    } else {
        limit
    })
}

fn integer(number: impl Display) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn array(items: &[&[u8]]) -> Vec<u8> {
    let mut reply = format!("*{}\r\n", items.len()).into_bytes();
    for item in items {
        reply.extend(bulk(item));
    }
    reply
}

/// Tells what became of a subscription.
fn told(kind: &[u8], channel: &[u8], count: usize) -> Vec<u8> {
    [b"*3\r\n", &*bulk(kind), &bulk(channel), &integer(count)].concat()
}

fn in_words(rejection: &Rejection) -> String {
    match rejection.kind() {
        RejectionKind::Error => format!("-{}\r\n", rejection.text()),
        _ => format!("-ERR {}\r\n", rejection.text()),
    }
}

/// One thread, as Redis has.
#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Resp::new(Store::default()));
    // A subscriber listens for as long as it wants.
    server.idle_timeout(None).listen_until_signal().await?;
    Ok(())
}
