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
//! `attribute` performs these steps. Each step reports to `errors` and goes on, so that all errors in one item are
//! reported together. `spans` makes errors of the compiler point at the user's code, and has the paths of `tcs` for
//! generated code. `syntax` answers questions about types and paths.

mod attribute;
mod errors;
mod expand;
mod item;
mod model;
mod options;
mod spans;
mod syntax;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

use crate::{attribute::expand_attribute, options::Side};

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn server_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_attribute(Side::Server, options.into(), item.into()).into()
}

#[expect(missing_docs, reason = "they are where `tcs` re-exports it")]
#[proc_macro_attribute]
pub fn client_protocol(options: TokenStream, item: TokenStream) -> TokenStream {
    expand_attribute(Side::Client, options.into(), item.into()).into()
}
