//! The operations of the service. `operations::Client` calls them.

use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};
use tcs::{format::Json, server_protocol};

/// What all connections share. In a service, this has a pool of connections to a database, say.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// What a client is told if it cannot be greeted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum GreetError {
    NoName,
}

/// Greets, and counts.
#[server_protocol(format = Json, describe)]
pub mod operations {
    use super::*;

    /// Greets somebody by name.
    pub fn greet(name: &str, #[state] counter: &Counter) -> Result<String, GreetError> {
        if name.is_empty() {
            return Err(GreetError::NoName);
        }
        counter.0.fetch_add(1, Relaxed);
        Ok(format!("Hello, {name}!"))
    }

    /// Returns how many have been greeted. A client may send this again after a failure.
    #[idempotent]
    pub async fn count(#[state] counter: &Counter) -> u64 {
        counter.0.load(Relaxed)
    }
}

impl fmt::Display for GreetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("there is no name"),
        }
    }
}

impl Error for GreetError {}
