//! `tcs call`

mod outcome;
mod requests;
mod session;

pub(crate) use self::session::run;

use std::{path::PathBuf, time::Duration};

use crate::{
    describe,
    failure::Failure,
    options::{EXIT_CODES, HelpFlags, duration},
    payload::{Format, MessageOptions},
    target::Target,
};

/// What `--help-all` says after the exit codes.
const EXAMPLES: &str = "\
Examples:
  tcs call localhost:7000 Ann
  tcs call localhost:7000 --format json -o withdraw '{\"cents\": 2000}'
  tcs call localhost:6379 -f resp --fail-on - 'INCR visits'
  tcs call localhost:11211 -f 'duplex(crlf-text,lines)' --until END 'get key'
  tcs call localhost:502 --hex -f 'length-field(offset=4,width=2)' \\
      '0001 0000 0000 01 03 0000 0002'
  tcs call localhost:25 -f 'duplex(crlf-text,code-lines)' --greeting QUIT
  tcs call localhost:79 -f 'duplex(crlf-text,until-eof)' ann";

/// Send requests, and print the replies
///
/// Each reply is a line on standard output. What a server streams or pushes is printed as it comes, after `item: ` or
/// `event: `. Rejections are printed on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXIT_CODES}\n\n{EXAMPLES}"), disable_help_flag = true)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The request (-: all of stdin; none: each line of stdin)
    #[arg(value_name = "TEXT|-", allow_hyphen_values = true, help_heading = None::<&str>)]
    text: Option<String>,
    #[command(flatten)]
    requests: RequestOptions,
    #[command(flatten)]
    replies: ReplyOptions,
    #[command(flatten)]
    messages: MessageOptions,
    /// The longest message that is accepted, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, help_heading = "Messages",
        value_parser = clap::value_parser!(u32).range(1..=512 << 20), hide_short_help = true)]
    max_len: u32,
    #[command(flatten)]
    help: HelpFlags,
}

/// What is sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Requests")]
struct RequestOptions {
    /// Take each line of a file as a request
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Call an operation; TEXT has its arguments in JSON
    #[arg(short, long, value_name = "NAME", conflicts_with = "hex")]
    operation: Option<String>,
    /// Send each request N times
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    repeat: u64,
    /// Send up to N requests before their replies
    #[arg(short, long, value_name = "N", default_value_t = 1, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(1..))]
    pipeline: u16,
}

/// What is expected.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Replies")]
struct ReplyOptions {
    /// How long each reply may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Wait for a message of the server first
    #[arg(long)]
    greeting: bool,
    /// Each request has N replies, or none
    #[arg(
        long = "replies",
        value_name = "N",
        default_value_t = 1,
        hide_default_value = true
    )]
    count: u32,
    /// Each request has replies up to the one that is TEXT
    #[arg(long, value_name = "TEXT", conflicts_with = "count")]
    until: Option<String>,
    /// Print what comes afterwards, until the server closes
    #[arg(long)]
    follow: bool,
    /// A reply that begins with TEXT is an error
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    fail_on: Vec<String>,
    /// Show requests, times and notices on stderr
    #[arg(short, long)]
    verbose: bool,
}

impl Args {
    /// Prints the operations of the server, for shells.
    pub(crate) async fn complete(&self) -> Result<(), Failure> {
        let MessageOptions { framing, view } = &self.messages;
        describe::complete(&self.target, framing, view.format).await
    }

    /// Returns an error for options that exclude each other.
    fn check(&self) -> Result<(), Failure> {
        if self.requests.operation.is_some() && self.messages.view.format == Format::Plain {
            let message = "--operation needs the format of the module";
            return Err(Failure::usage(message).hint("add --format json or --format messagepack"));
        }
        Ok(())
    }
}
