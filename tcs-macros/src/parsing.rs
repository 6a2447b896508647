//! Running a parser.

use proc_macro2::TokenStream;
use syn::{
    Result,
    parse::{ParseStream, Parser as _},
};

/// Has `parser` read all of `tokens`.
///
/// It keeps what it finds by itself: so this is compiled once, and not for each parser.
pub(crate) fn parse(
    tokens: TokenStream,
    parser: &mut dyn FnMut(ParseStream<'_>) -> Result<()>,
) -> Result<()> {
    parser.parse2(tokens)
}
