//! `tcs bench`

use std::process::ExitCode;

/// Measure a server
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
