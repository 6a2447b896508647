//! `#[server_protocol]`.

mod expand;
mod model;
mod parameters;

use proc_macro2::{Ident, TokenStream};

use crate::{args::Args, errors::Errors, item::Function, options::Attribute, stages};

/// Adds a type that implements `ServerProtocol`.
pub(crate) fn server_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    stages::expand(Attribute::Server, args, item, add_type)
}

fn add_type(args: &Args, function: &Function, name: &Ident, errors: &mut Errors) -> TokenStream {
    let model = model::check(args, function, errors);
    expand::expand(args, function, name, &model, errors.is_empty())
}
