//! The names of what is generated, and of operations among it.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;

use super::model::Operation;
use crate::{
    errors::Errors,
    item::Function,
    names::{is_one_of, starts_with, upper_camel},
};

/// What is generated in the module, by name.
pub(super) const GENERATED: &[&str] = &["Client", "Contract", "Protocol", "Reply", "Request"];

/// What the generated client has besides the operations.
const METHODS: &[&str] = &["connect", "into_inner", "over", "share"];

/// An identifier that the user's code can name.
pub(super) fn generated(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// Returns the name of the operation among the messages.
pub(super) fn variant(
    function: &Function,
    others: &[Operation<'_>],
    errors: &mut Errors,
) -> Option<Ident> {
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    if METHODS.contains(&name.as_str()) {
        errors.at(
            ident,
            format_args!("`Client` has a method `{name}` already: rename the operation"),
        );
        return None;
    }
    let camel = upper_camel(&name);
    if camel.is_empty() || camel == "Self" || starts_with(&camel, |c| c.is_ascii_digit()) {
        errors.at(
            ident,
            "this function's name makes no name of a message: rename the operation",
        );
        return None;
    }
    if let Some(other) = others.iter().find(|other| other.variant == camel) {
        errors.at(
            ident,
            format_args!(
                "`{}` has the message `{camel}` already: rename the operation",
                other.name
            ),
        );
        return None;
    }
    Some(Ident::new(&camel, ident.span()))
}

/// Returns a word that names a generated type, unless it is the end of a path.
pub(super) fn generated_in(tokens: &TokenStream) -> Option<Ident> {
    let mut behind_path = false;
    for token in tokens.clone() {
        match &token {
            TokenTree::Ident(word) if !behind_path && is_one_of(word, GENERATED) => {
                return Some(word.clone());
            }
            TokenTree::Group(group) => {
                if let Some(found) = generated_in(&group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
        behind_path = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
    }
    None
}
