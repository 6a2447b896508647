//! Annotate a plain function, and it is served over TCP.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

mod address;
mod buffer;
mod client;
mod context;
mod error;
mod format;
mod framing;
mod protocol;
mod race;
mod refusal;
mod runtime;
pub mod server;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use address::Address;
pub use client::{Client, ConnectOptions, Connection};
pub use context::{Context, Facts, FromContext, Peer};
pub use error::{Error, ErrorKind, Execution, Result};
pub use format::{
    Answer, Decode, DecodeError, Encode, EncodeError, Frame, NoMessage, Plain, Received, Writer,
};
pub use framing::{
    Arrival, Cut, Exchanges, FrameError, Framing, Input, LengthPrefixed, Lines, Raw, Side, Told,
};
pub use protocol::{Callable, ClientProtocol, Contract, ServerProtocol};
pub use refusal::{Refusal, RefusalKind};
pub use server::{ConcurrentServer, IterativeServer, OnceServer, Report, stop_signal};
pub use tcs_macros::{client_protocol, server_protocol};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
