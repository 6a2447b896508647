//! The names of generated types and variables.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::Lifetime;

use crate::{model::operations::Operation, spans::place_of, syntax::lifetimes};

/// Returns a name that the user's code can use.
pub(super) fn public_name(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// Returns the enum of requests, with this lifetime if a request borrows.
pub(super) fn request_type(list: &[Operation<'_>], lifetime: &str) -> TokenStream {
    let borrows = list.iter().any(Operation::borrows);
    applied(&public_name("Request"), borrows, lifetime)
}

/// Returns the enum of replies, with this lifetime if a reply borrows.
pub(super) fn reply_type(list: &[Operation<'_>], lifetime: &str) -> TokenStream {
    let borrows = |operation: &Operation<'_>| lifetimes::borrows(&operation.reply);
    applied(&public_name("Reply"), list.iter().any(borrows), lifetime)
}

/// Returns a generated type, with this lifetime if `borrows`.
pub(super) fn applied(ident: &Ident, borrows: bool, lifetime: &str) -> TokenStream {
    let span = Span::mixed_site();
    let lifetime = borrows.then(|| Lifetime::new(lifetime, span)).into_iter();
    quote_spanned!(span=> #ident #(<#lifetime>)*)
}

/// Returns the request of an operation, as a pattern or an expression: each argument is in its variable.
pub(super) fn request_variant(operation: &Operation<'_>) -> TokenStream {
    let names = operation.arguments.iter().map(|argument| &argument.name);
    let (variant, variables) = (&operation.variant, names.clone().map(variable));
    quote_spanned!(Span::mixed_site()=> #variant { #(#names: #variables),* })
}

/// Returns the variable of an argument. Generated variables have the same hygiene, so without the prefix, arguments
/// called `to` or `session` would hide them.
pub(super) fn variable(argument: &Ident) -> Ident {
    format_ident!("argument_{}", argument, span = place_of(argument))
}
