//! One attribute, in the four steps of the crate. It is apart from `lib.rs`, so that a fuzz target can have it.

use std::env;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;

use crate::{
    errors::Errors,
    item::{Item, correct_handles},
    model::Model,
    options::{OptionName, Options, Side},
};

/// An environment variable that rust-analyzer sets when it expands attributes. Without this variable, an editor
/// completes only a word that is already begun.
const EDITOR: &str = "RUST_ANALYZER_INTERNALS_DO_NOT_USE";

/// Expands to the item as written, followed by the generated items and the errors. The words that editors complete come
/// first.
///
/// The expansion keeps the item even if there are errors, and has the type as soon as its name is known. Otherwise, one
/// error would cause another at every use.
pub(crate) fn expand_attribute(side: Side, options: TokenStream, item: TokenStream) -> TokenStream {
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
        let other = crate::expand::expand_other(&options, item);
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
    errors.add_to(crate::expand::expand(&model), &private)
}
