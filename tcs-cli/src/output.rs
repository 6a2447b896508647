//! Standard output.

use std::{
    io::{self, Write as _},
    process,
};

use crate::failure::{Exit, Failure};

/// Prints pieces of text at once.
///
/// Ends the program, without an error, if nobody reads any more: `tcs call … | head`.
#[expect(clippy::exit, reason = "what would be printed next is of no use")]
pub(crate) fn print(pieces: &[&[u8]]) -> Result<(), Failure> {
    match write(pieces) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        printed => printed.map_err(|error| unprinted(&error)),
    }
}

/// Prints a text, and goes on if nobody reads any more.
pub(crate) fn print_result(text: &str) -> Result<(), Failure> {
    match write(&[text.as_bytes()]) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unprinted(&error)),
        _ => Ok(()),
    }
}

fn write(pieces: &[&[u8]]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for piece in pieces {
        out.write_all(piece)?;
    }
    out.flush()
}

pub(crate) fn unprinted(error: &io::Error) -> Failure {
    Failure::new(Exit::Closed, format_args!("cannot print: {error}"))
}
