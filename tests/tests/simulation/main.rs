//! Servers, channels and a balancer in a simulated network: hosts are lost and restarted, links are cut and slow, and a
//! seed decides about all of it. So a failure is replayed exactly.
//!
//! `TCS_SEEDS=10000 cargo test -p tcs-tests --test simulation seeds::` runs that many seeds, and `TCS_SEED=42` one, with
//! its events.

mod client;
mod conversations;
mod drains;
mod journal;
mod net;
mod plan;
mod run;
mod seeds;
mod server;
mod stampede;
