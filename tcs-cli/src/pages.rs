//! The completions and the man page, which are made of the same definitions as the command line.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::{
    Cli,
    failure::Failure,
    output::{cannot_print, print},
};

/// Asks `tcs` for the operations of the server after `tcs call HOST:PORT -o`, and `clap` for all else.
const BASH: &str = r#"
_tcs_call() {
    if [[ ${COMP_WORDS[1]} == call && ( $3 == -o || $3 == --operation ) ]]; then
        compopt +o default +o bashdefault
        local names=$("$1" completions bash --operations "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
        COMPREPLY=($(compgen -W "$names" -- "$2"))
    else
        _tcs "$@"
    fi
}
"#;
const FISH: &str = r#"complete -c tcs -n "__fish_tcs_using_subcommand call" -s o -l operation -x \
    -a '(tcs completions fish --operations (commandline -cp | string collect -N) 2>/dev/null)'
"#;
/// Stands before the function that `clap` writes.
const ZSH: &str = r#"#compdef tcs
_tcs_operations() {
    local -a names=(${(f)"$(tcs completions zsh --operations "$LBUFFER" 2>/dev/null)"})
    compadd "$@" -a names
}
"#;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut page = Vec::new();
    generate(shell, &mut Cli::command(), "tcs", &mut page);
    let page = String::from_utf8_lossy(&page);
    let page = match shell {
        Shell::Bash => page.replace("complete -F _tcs ", "complete -F _tcs_call ") + BASH,
        Shell::Fish => page.into_owned() + FISH,
        Shell::Zsh => {
            let operation = "[Call an operation; TEXT has its arguments in JSON]:NAME:_";
            let page = page.replace(
                &format!("{operation}default"),
                &format!("{operation}tcs_operations"),
            );
            // `clap` does not escape what parts a name from its completion.
            let page = page.replace(":IP:PORT:", r":IP\:PORT:");
            page.replacen("#compdef tcs\n", ZSH, 1)
        }
        _ => page.into_owned(),
    };
    print(&[page.as_bytes()])
}

/// Prints the man page: that of `tcs`, and the options of each command.
pub(crate) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut tcs = Cli::command();
    tcs.build();
    let commands = tcs
        .get_subcommands()
        .filter(|command| command.get_name() != "help");
    let commands: Vec<clap::Command> = commands.cloned().collect();
    sections(&mut page, tcs, commands).map_err(|error| cannot_print(&error))?;
    print(&[&page])
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
