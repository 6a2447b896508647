//! A module of functions: several operations in one protocol.
//!
//! `server_protocol` keeps the functions and adds everything; `client_protocol` leaves the functions out,
//! so that what remains is the contract and its client.

mod client;
mod merging;
mod messages;
mod model;
mod module;
mod pieces;
mod reading;
mod serving;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse_quote_spanned;

pub(crate) use self::module::is_module;
use self::{model::Operations, module::Module};
use crate::{
    args::Args,
    errors::Errors,
    options::Attribute,
    spans::{at, at_end},
};

/// Expands to the module with what is generated at its end, followed by what is wrong.
pub(crate) fn expand(attribute: Attribute, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut args = Args::parse(attribute, args, &mut errors);
    let module = match Module::parse(item.clone()) {
        Ok(module) => module,
        Err(error) => {
            errors.push(error);
            return errors.behind(item);
        }
    };
    let operations = model::check(attribute, &args, &module, &mut errors);
    let options = name_options(&mut args);
    let generated = match attribute {
        _ if module.clashes(&mut errors) => TokenStream::new(),
        Attribute::Server => {
            let serving = serving::expand(&args, &module, &operations, errors.is_empty());
            let contract = contract(&args, &module, &operations);
            quote!(#contract #serving)
        }
        Attribute::Client => contract(&args, &module, &operations),
    };
    errors.behind(module.with(attribute, &args, &quote!(#options #generated)))
}

/// Names the types in the options, so that they mean what they mean around the module, where the
/// attribute stands, or else what they mean in it.
fn name_options(args: &mut Args) -> Option<TokenStream> {
    let mut aliases = TokenStream::new();
    for (name, option) in [("Framing", &mut args.framing), ("Format", &mut args.format)] {
        if let Some(ty) = option {
            let name = Ident::new(name, at_end(ty));
            let module = Ident::new("__options", at(ty));
            aliases.extend(quote! {
                #[allow(dead_code, reason = "what names it may be wrong")]
                pub(super) type #name = #ty;
            });
            *ty = parse_quote_spanned!(module.span()=> #module::#name);
        }
    }
    (!aliases.is_empty()).then(|| {
        quote! {
            mod __options {
                #[allow(unused_imports, clippy::wildcard_imports, reason = "either can name them")]
                use super::{*, super::*};
                #aliases
            }
        }
    })
}

/// The messages, and the client that sends and receives them.
fn contract(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let messages = messages::expand(args, operations);
    let client = client::expand(args, module, operations);
    quote!(#messages #client)
}
