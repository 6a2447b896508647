//! Help that fits a screen, and help with everything.

use clap::ArgAction;

/// The flags that print help, in place of those of `clap`, whose `--help` is longer than a screen.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Help")]
pub(crate) struct HelpFlags {
    /// Print help
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,
    /// Print help with all options, and more about each
    #[arg(long, action = ArgAction::HelpLong)]
    help_all: Option<bool>,
}
