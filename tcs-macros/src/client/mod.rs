//! `#[client_protocol]`.

mod expand;
mod fields;
mod halves;
mod model;

use proc_macro2::{Ident, TokenStream};

use crate::{args::Args, errors::Errors, item::Function, operations, options::Attribute, stages};

/// Adds a type that implements `ClientProtocol`, or leaves of a module what a client needs.
pub(crate) fn client_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    if operations::is_module(&item) {
        return operations::expand(Attribute::Client, args, item);
    }
    stages::expand(Attribute::Client, args, item, add_type)
}

fn add_type(args: &Args, function: &Function, name: &Ident, errors: &mut Errors) -> TokenStream {
    let model = model::check(args, function, errors);
    expand::expand(args, function, name, &model, errors.is_empty())
}
