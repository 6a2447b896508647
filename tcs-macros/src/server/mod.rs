//! `#[server_protocol]`.

pub(crate) mod expand;
pub(crate) mod handler;
pub(crate) mod model;
pub(crate) mod parameters;

use proc_macro2::{Ident, TokenStream};

use crate::{args::Args, errors::Errors, item::Function, operations, options::Attribute, stages};

/// Adds a type that implements `ServerProtocol`, beside a function or inside of a module.
pub(crate) fn server_protocol(args: TokenStream, item: TokenStream) -> TokenStream {
    if operations::is_module(&item) {
        return operations::expand(Attribute::Server, args, item);
    }
    stages::expand(Attribute::Server, args, item, add_type)
}

fn add_type(args: &Args, function: &Function, name: &Ident, errors: &mut Errors) -> TokenStream {
    let model = model::check(args, function, errors);
    expand::expand(args, function, name, &model, errors.is_empty())
}
