//! `tcs`: calls, describes, imitates, measures and watches services over TCP.

mod bench;
mod call;
mod describe;
mod escape;
mod failure;
mod framing;
mod listen;
mod options;
mod output;
mod pages;
mod payload;
mod proxy;
mod socket;
mod target;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use self::failure::Failure;

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
        /// Print the operations that may follow a line, as the scripts do
        #[arg(long, value_name = "LINE", allow_hyphen_values = true, hide = true)]
        operations: Option<String>,
    },
    /// Print the man page
    Man,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match command {
        // Their connections use all cores.
        Command::Bench(_) | Command::Proxy(_) => Builder::new_multi_thread().enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    };
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(command));
            // A read of the terminal cannot be ended.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::usage(format_args!(
            "cannot start a tokio runtime: {error}"
        ))),
    };
    result.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Call(args) => call::run(args).await,
        Command::Describe(args) => describe::run(args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Proxy(args) => proxy::run(args).await,
        Command::Completions {
            operations: Some(line),
            ..
        } => complete(&line).await,
        Command::Completions { shell, .. } => pages::completions(shell),
        Command::Man => pages::man(),
    }
}

/// Prints the operations that complete a line such as `tcs call HOST:PORT -o `, or nothing if something is wrong.
async fn complete(line: &str) -> Result<(), Failure> {
    // The shell completes the last word itself.
    let line = line.rsplit_once(' ').map_or("", |(line, _)| line);
    let words = line
        .split_whitespace()
        .map(|word| word.replace(['"', '\'', '\\'], ""));
    let words = words.skip_while(|word| word != "call");
    let mut words: Vec<_> = ["tcs".to_owned()].into_iter().chain(words).collect();
    let is_asked = words
        .pop()
        .is_some_and(|last| last == "-o" || last == "--operation");
    match Cli::try_parse_from(words) {
        Ok(Cli {
            command: Command::Call(args),
        }) if is_asked => args.complete().await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Returns the options of a command that its help shows under a heading.
    fn under(command: &clap::Command, heading: &str) -> Vec<String> {
        let options = command.get_arguments();
        let options = options.filter(|it| it.get_help_heading() == Some(heading));
        options.map(|it| it.get_id().to_string()).collect()
    }

    #[test]
    fn help_shows_each_option_under_its_heading() {
        let tcs = Cli::command();
        let connection = under(
            tcs.find_subcommand("proxy").expect("it is one"),
            "Connection",
        );
        for command in tcs.get_subcommands() {
            for argument in command.get_positionals() {
                assert_eq!(argument.get_help_heading(), None, "{argument}");
            }
            let found = under(command, "Connection");
            assert!(
                found.is_empty() || found == connection,
                "{command}: {found:?}"
            );
        }
    }
}
