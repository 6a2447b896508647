//! What the tests share: deadlines, raw peers, raw servers, and a protocol that does as it is told.
//!
//! Server tests are driven by raw bytes and client tests by a raw server, so that the two ends of
//! the library never vouch for each other.

#![allow(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::missing_panics_doc,
    reason = "test support is read where it is used, panics by design, and has no other users"
)]

pub mod channel;
pub mod client;
mod counted;
pub mod cutting;
mod deadline;
mod endless;
mod gate;
mod guide;
pub mod ids;
mod kind;
pub mod lasting;
pub mod ledger;
mod link;
mod log;
pub mod memory;
pub mod naive;
pub mod offered;
pub mod overload;
mod own_addrs;
pub mod pair;
mod panic_text;
mod peer;
pub mod pipeline;
pub mod process;
pub mod script;
mod server;
mod shutdown;
pub mod stage;
mod tester;
pub mod threads;
#[cfg(target_os = "linux")]
pub mod tls;
pub mod vectors;
pub mod work;

pub use counted::{Counted, Writes, counted};
pub use deadline::{LATE, LIMIT, ended_between, ended_in_time, patiently, within};
pub use endless::Endless;
pub use gate::{Gate, gate};
pub use kind::{Act, BlockingFn, Kind, ReadyFn, SyncFn, WaitingFn};
pub use link::Link;
pub use log::Log;
pub use own_addrs::{own_addrs, own_ip};
pub use panic_text::panic_text;
pub use peer::{Heard, Io, RawPeer, code, control, frame};
pub use server::{
    LONG, Over, Running, Scratch, adds_up, closes_after, nothing_is_left, said_to, scratch_path,
    serve_behind_a_buffer, serve_in_memory, start, start_for_links, start_over,
};
pub use shutdown::with_shutdown;
pub use tester::{Bomb, Count, Counting, Reply, Tester, tester, tester_of};
