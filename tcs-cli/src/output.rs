//! What is printed: on standard output, and about it on standard error.

use std::{
    fmt,
    io::{self, Write as _},
    process,
};

use crate::{
    failure::{Exit, Failure},
    payload::escaped,
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
        printed => printed.map_err(|error| unprinted(&error)),
    }
}

pub(crate) fn unprinted(error: &io::Error) -> Failure {
    Failure::new(Exit::Closed, format_args!("cannot print: {error}"))
}

/// Tells on standard error what is not part of the output. It may quote the other end, whose bytes are not for the
/// terminal.
///
/// That nobody reads it ends nothing.
pub(crate) fn complain(text: impl fmt::Display) {
    let line = format!("tcs: {}\n", escaped(text.to_string().as_bytes()));
    let _closed = io::stderr().lock().write_all(line.as_bytes());
}
