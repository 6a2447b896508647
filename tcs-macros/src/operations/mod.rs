//! A module of functions: several operations in one protocol.
//!
//! `server_protocol` keeps the functions and adds everything; `client_protocol` leaves the functions out,
//! so that what remains is the contract and its client.

mod client;
mod messages;
mod model;
mod module;
mod reading;
mod serving;

use proc_macro2::TokenStream;
use quote::quote;

pub(crate) use self::module::is_module;
use self::{model::Operations, module::Module};
use crate::{args::Args, errors::Errors, options::Attribute};

/// Expands to the module with what is generated at its end, followed by what is wrong.
pub(crate) fn expand(attribute: Attribute, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(attribute, args, &mut errors);
    let module = match Module::parse(item.clone()) {
        Ok(module) => module,
        Err(error) => {
            errors.push(error);
            return [item, errors.into_compile_errors()].into_iter().collect();
        }
    };
    let operations = model::check(attribute, &args, &module, &mut errors);
    let generated = match attribute {
        _ if module.clashes(&mut errors) => TokenStream::new(),
        Attribute::Server => {
            let serving = serving::expand(&args, &module, &operations, errors.is_empty());
            let contract = contract(&args, &module, &operations);
            quote!(#contract #serving)
        }
        Attribute::Client => contract(&args, &module, &operations),
    };
    let mut tokens = module.with(attribute, &args, &generated);
    tokens.extend(errors.into_compile_errors());
    tokens
}

/// The messages, and the client that sends and receives them.
fn contract(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let messages = messages::expand(args, operations);
    let client = client::expand(args, module, operations);
    quote!(#messages #client)
}
