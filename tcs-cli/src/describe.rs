//! `tcs describe`

use std::process::ExitCode;

/// Print the operations of a server that describes itself
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
