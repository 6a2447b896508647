//! Where a server runs: behind a balancer, under a supervisor, beside another server.
//!
//! The programs that it is tested with are those of Linux.

#![cfg(target_os = "linux")]

mod haproxy;
mod keepalive;
mod load;
mod names;
mod pages;
mod proxy;
mod reuse_port;
mod stdio;
mod swaps;
mod systemd;
