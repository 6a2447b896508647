//! `tcs listen`

use std::process::ExitCode;

/// Be a server that follows a script
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
