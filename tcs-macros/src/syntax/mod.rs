//! Questions about syntax that need no knowledge of the attributes.

pub(crate) mod lifetimes;
mod rewrite;
mod text;
mod types;
mod words;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Result, Token, Visibility,
    parse::{ParseBuffer, ParseStream},
};

pub(crate) use self::{
    rewrite::{IntoModule, ParenthesizeGroups},
    text::text_of,
    types::{
        bare, find_keyword, is_converted, is_handle, is_named, is_unsized, is_value,
        last_argument_mut, mentions_one_of, mentions_word, path_starts, same_tokens, with_marks,
        without_argument,
    },
    words::{is_one_of, is_type_name, nearest, upper_camel},
};

/// Returns `true` if an element of a comma-separated list ends here: at a comma, or at the end of the input.
pub(crate) fn at_element_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// Returns `true` if the next item of a module seems to begin here.
pub(crate) fn at_item(input: ParseStream<'_>) -> bool {
    input.peek(Token![pub]) || input.peek(Token![#])
}

/// Returns a fork of the input, from the first keyword of an item on.
pub(crate) fn fork_at_keyword(input: ParseStream<'_>) -> Result<ParseBuffer<'_>> {
    let ahead = input.fork();
    ahead.call(Attribute::parse_outer)?;
    ahead.parse::<Visibility>()?;
    Ok(ahead)
}

/// Takes the tokens up to where `is_end` holds, or to the end of the input.
pub(crate) fn take_until(
    input: ParseStream<'_>,
    is_end: impl Fn(ParseStream<'_>) -> bool,
) -> TokenStream {
    let mut taken = TokenStream::new();
    while !input.is_empty() && !is_end(input) {
        taken.extend(input.parse::<TokenTree>());
    }
    taken
}
