//! Standard output and standard error.

use std::{
    fmt,
    io::{self, Write as _},
    process::{self, ExitCode},
};

use crate::{
    escape::escaped,
    failure::{Exit, Failure},
};

/// Prints pieces of text at once.
///
/// Ends the program, without an error, if nobody reads any more: `tcs call … | head`.
#[expect(clippy::exit, reason = "what would be printed next is of no use")]
pub(crate) fn print(pieces: &[&[u8]]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut pieces = pieces.iter();
    let printed = pieces
        .try_for_each(|piece| out.write_all(piece))
        .and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        printed => printed.map_err(|error| cannot_print(&error)),
    }
}

pub(crate) fn cannot_print(error: &io::Error) -> Failure {
    Failure::new(Exit::Closed, format_args!("cannot print: {error}"))
}

/// Prints a line on standard error. It may quote the other end, so what would change a terminal is escaped.
///
/// An error is ignored: then nobody reads it.
pub(crate) fn log(text: impl fmt::Display) {
    let line = format!("tcs: {}\n", escaped(text.to_string().as_bytes()));
    let _closed = io::stderr().lock().write_all(line.as_bytes());
}

impl Failure {
    /// Prints the failure on standard error, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match &self.hint {
            Some(hint) => log(format_args!("{}\n  {hint}", self.message)),
            None => log(&self.message),
        }
        self.exit.into()
    }
}
