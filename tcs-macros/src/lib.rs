//! The attributes of `tcs`; use them through that crate, where they are documented.
//!
//! An attribute is expanded in four steps, none of which knows a later one:
//!
//! 1. `options` parses the options in the parentheses of the attribute.
//! 2. `item` parses the function, or the module of functions, under the attribute. It corrects the handles of the
//!    functions, and adds the operation of the option `describe`.
//! 3. `model` checks both, and describes the protocol that they make.
//! 4. `expand` writes the item again, and the type of that protocol.
//!
//! Each step reports to `errors` and goes on, so that all errors in one item are reported together. `spans` makes errors
//! of the compiler point at the user's code, and has the paths of `tcs` for generated code. `syntax` answers questions
//! about types and paths.

mod errors;
mod expand;
mod item;
mod model;
mod options;
mod spans;
mod syntax;
#[cfg(test)]
mod tests;

use std::env;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;

use crate::{
    errors::Errors,
    item::{Item, correct_handles},
    model::Model,
    options::{OptionName, Options, Side},
};

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn server_protocol(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand_attribute(Side::Server, options.into(), item.into()).into()
}

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn client_protocol(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand_attribute(Side::Client, options.into(), item.into()).into()
}

/// An environment variable that rust-analyzer sets when it expands attributes. Without this variable, an editor
/// completes only a word that is already begun.
const EDITOR: &str = "RUST_ANALYZER_INTERNALS_DO_NOT_USE";

/// Expands to the item as written, followed by the generated items and the errors. The words that editors complete come
/// first.
///
/// The expansion keeps the item even if there are errors, and has the type as soon as its name is known. Otherwise, one
/// error would cause another at every use.
fn expand_attribute(side: Side, options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    // Each step takes the errors so far and adds its own, because an error in an option must not hide one in
    // the function.
    let mut options = Options::parse(side, options, &mut errors);
    let is_editor = env::var_os(EDITOR).is_some();
    if is_editor {
        errors.complete_none(side.attribute());
    }
    // The path is taken before `move_into_module` changes it.
    let private = options
        .library
        .module(Span::mixed_site())
        .into_token_stream();
    let Some(mut parsed) = Item::parse(side, item.clone(), &mut errors) else {
        let other = expand::expand_other(&options, item);
        return errors.add_to(other, &private);
    };
    correct_handles(&options, &mut parsed, is_editor, &mut errors);
    if let Item::Module(module) = &mut parsed {
        if let Some(option) = options.given(OptionName::Describe) {
            module.add_description(option, &mut errors);
        }
        options.move_into_module();
    }
    let model = Model::resolve(&options, &parsed, &mut errors);
    errors.add_to(expand::expand(&model), &private)
}
