//! A kit for tests of protocols, of their servers and of their clients.
//!
//! | to test | use |
//! |---|---|
//! | a protocol with its real server, in memory | [`serve`] |
//! | the bytes of a server or of a client | a [`Script`] |
//! | bytes that arrive in any pieces; cuts, resets and stalls | a [`FaultyStream`], a [`Seed`] |
//! | a function that takes part in a conversation, without a server | a [`TestConnection`](crate::protocol::TestConnection) |
//! | that nothing is left over | a [`LeakCheck`] |
//! | that each request is executed at most once, wherever the connection is cut | [`cut_everywhere`], [`cut_client_everywhere`] |
//! | the bytes of a server in all of these ways | [`WireTest`] |
//! | several hosts, with crashes and cut links | `turmoil`, beside this kit: [a program](https://docs.rs/crate/tcs/latest/source/docs/guide/src/simulation.md) |
//!
//! The kit needs the feature `testing`, which belongs in `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! tcs = { version = "0.1", features = ["testing"] }
//! ```
//!
//! Everything here panics on failure. Nothing needs a port or a sleep, except for [`Script::listen`], so use
//! `#[tokio::test(start_paused = true)]`: then no limit of a server takes time. Never pause the clock with
//! [`Script::listen`]: while bytes are on their way over TCP, all tasks wait, so every limit passes at once.
//!
//! The `async` functions of the kit are not cancel safe: a function that is dropped may have sent or received a part.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that fails panics"
)]

use tokio::runtime::{Builder, Handle, Runtime};

mod cuts;
mod faults;
mod leaks;
mod pipe;
mod script;
mod seed;
mod server;
mod task;
mod wire_test;

pub use cuts::{cut_client_everywhere, cut_everywhere};
pub use faults::{At, Cut, FaultyStream};
pub use leaks::LeakCheck;
pub use pipe::{Pipe, pipe};
pub use script::{Player, Script};
pub use seed::Seed;
pub use server::{IntoServer, TestServer, serve};
pub use wire_test::WireTest;

/// Creates a runtime whose clock is paused.
fn paused_runtime() -> Runtime {
    assert!(
        Handle::try_current().is_err(),
        "it has a runtime of its own: use `#[test]` in place of `#[tokio::test]`"
    );
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    runtime.expect("a runtime")
}
