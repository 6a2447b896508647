//! Requests of a connection run side by side, with and without a session.

use std::sync::Mutex;

use tcs::{ConcurrentServer, server_protocol};

const LIMIT: usize = 4;

#[server_protocol(concurrent = 16)]
async fn plain(name: &str) -> String {
    format!("Hello, {name}!")
}

/// The session is shared, and the greeting reads it.
#[server_protocol(
    concurrent = LIMIT,
    unordered,
    session = Mutex::new(vec![peer.to_string()]),
    greeting = seen.lock().map_or(0, |seen| seen.len()),
)]
async fn remember<'a>(
    name: &'a str,
    #[state] suffix: &str,
    #[session] seen: &Mutex<Vec<String>>,
) -> Result<&'a str, String> {
    seen.lock().map_err(|error| error.to_string())?.push(format!("{name}{suffix}"));
    Ok(name)
}

#[server_protocol(concurrent = self::LIMIT)]
async fn by_default(_: (), #[session] seen: &Mutex<String>) -> usize {
    seen.lock().map_or(0, |seen| seen.len())
}

/// The module imports nothing.
#[server_protocol(format = tcs::format::Json, framing = usual() as Usual, concurrent = LIMIT)]
mod without_imports {
    pub async fn nothing() {}
}

type Usual = tcs::framing::Lines;

fn usual() -> Usual {
    Usual::default()
}

#[server_protocol(format = tcs::format::Json, concurrent = 2)]
mod desk {
    use std::sync::atomic::{AtomicU32, Ordering};

    pub async fn next(#[session] next: &AtomicU32) -> u32 {
        next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn now() -> u32 {
        7
    }
}

fn main() {
    drop(ConcurrentServer::new(Plain));
    drop(ConcurrentServer::new(Remember::new("!".to_owned())));
    drop(ConcurrentServer::new(ByDefault));
    drop(ConcurrentServer::new(desk::Protocol));
    drop(ConcurrentServer::new(without_imports::Protocol));
}
