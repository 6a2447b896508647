//! `tcs bench` and `tcs proxy`, as programs.

mod bench;
mod honest;
mod proxy;

use std::process::Stdio;

use tcs_tests::{Scratch, process::Process};
use tokio::process::Command;

/// Starts `tcs` with these arguments.
fn tcs(arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
    Process::run(command.args(arguments).stdin(Stdio::null()))
}
