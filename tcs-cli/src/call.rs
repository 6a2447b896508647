//! `tcs call`

use std::process::ExitCode;

/// Send requests, and print the replies
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
