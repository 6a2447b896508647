//! `tcs`: calls, describes, imitates, measures and watches services over TCP.

mod bench;
mod call;
mod describe;
mod failure;
mod framing;
mod help;
mod listen;
mod output;
mod pages;
mod payload;
mod proxy;
mod rejections;
mod target;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tcs", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Call(call::Args),
    Describe(describe::Args),
    Listen(listen::Args),
    Bench(bench::Args),
    Proxy(proxy::Args),
    /// Print the completions for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_enum, hide_possible_values = true)]
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Call(args) => call::run(args),
        Command::Describe(args) => describe::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Proxy(args) => proxy::run(args),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man => pages::man(),
    }
}
