//! The completions and the man page, which are made of the same definitions as the command line.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::{
    Cli,
    failure::report,
    output::{print, unprinted},
};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut page = Vec::new();
    generate(shell, &mut Cli::command(), "tcs", &mut page);
    report(print(&[&page]))
}

/// Prints the man page: that of `tcs`, and the options of each command.
pub(crate) fn man() -> ExitCode {
    let mut page = Vec::new();
    let mut tcs = Cli::command();
    tcs.build();
    let commands = tcs
        .get_subcommands()
        .filter(|command| command.get_name() != "help");
    let commands: Vec<clap::Command> = commands.cloned().collect();
    let written = sections(&mut page, tcs, commands);
    report(
        written
            .map_err(|error| unprinted(&error))
            .and_then(|()| print(&[&page])),
    )
}

/// Writes one page with a section for each command, in place of a page for each.
fn sections(
    page: &mut Vec<u8>,
    tcs: clap::Command,
    commands: Vec<clap::Command>,
) -> io::Result<()> {
    let tcs = Man::new(tcs);
    tcs.render_title(page)?;
    tcs.render_name_section(page)?;
    tcs.render_synopsis_section(page)?;
    tcs.render_options_section(page)?;
    for command in commands {
        let name = command.get_name().to_uppercase();
        writeln!(page, ".SH {name}")?;
        let command = Man::new(command);
        command.render_synopsis_section(page)?;
        command.render_description_section(page)?;
        command.render_options_section(page)?;
        command.render_extra_section(page)?;
    }
    Ok(())
}
