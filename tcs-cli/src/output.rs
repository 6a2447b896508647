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
