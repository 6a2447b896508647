//! Questions about syntax that need no knowledge of the attributes.

mod groups;
pub(crate) mod lifetimes;
mod paths;
mod types;
mod words;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Token, parse::ParseStream};

pub(crate) use self::{
    groups::ShowGroups,
    paths::IntoModule,
    types::{
        bare, find_impl, has_future, is_named, is_unsized, mentions, names_one_of, path_starts,
        same_tokens,
    },
    words::{is_one_of, is_type_name, nearest, upper_camel},
};

/// Returns whether an element of a comma-separated list ends here.
pub(crate) fn at_comma(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
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
