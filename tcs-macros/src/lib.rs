//! The attributes of `tcs`; use them through that crate, where they are documented.
//!
//! An attribute is expanded in four steps, none of which knows a later one:
//!
//! 1. `options` parses the options in the parentheses of the attribute.
//! 2. `item` parses the function, or the module of functions, under the attribute.
//! 3. `model` checks both, and describes the protocol that they make.
//! 4. `expand` writes the item again, and the type of that protocol.
//!
//! Each step reports to `errors` and goes on, so that all errors in one item are
//! reported together. `spans` says how errors of the compiler are made to point at the user's code, `library`
//! how generated code names `tcs`, and `syntax` answers questions about types and paths.

mod errors;
mod expand;
mod item;
mod library;
mod model;
mod options;
mod spans;
mod syntax;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;

use crate::{
    errors::Errors,
    item::Item,
    model::{Model, describe::add_description},
    options::{Options, Side},
};

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn server_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Side::Server, options.into(), item.into()).into()
}

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn client_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Side::Client, options.into(), item.into()).into()
}

/// Expands to the item as written, followed by what is derived from it, followed by the errors.
///
/// The item is kept whatever the errors, and once its name is known, so is the type. Otherwise an error in one
/// place would be one at every use.
fn expand(side: Side, options: TokenStream2, item: TokenStream2) -> TokenStream2 {
    let mut errors = Errors::default();
    // Each step takes the errors so far and adds its own, because an error in an option must not hide one in
    // the function.
    let mut options = Options::parse(side, options, &mut errors);
    let Some(mut parsed) = Item::parse(side, item.clone(), &mut errors) else {
        return errors.append_to(expand::expand_other(&options, item));
    };
    if let Item::Module(module) = &mut parsed {
        add_description(&options, module, &mut errors);
        options.move_into_module();
    }
    let model = Model::resolve(&options, &parsed, &mut errors);
    errors.append_to(expand::expand(&model))
}
