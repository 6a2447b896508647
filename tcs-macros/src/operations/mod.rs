//! A module of functions: several operations in one protocol.
//!
//! `server_protocol` keeps the functions and adds everything; `client_protocol` leaves the functions out,
//! so that what remains is the contract and its client.

mod client;
mod merging;
mod messages;
mod model;
mod module;
mod names;
mod serving;

use std::mem;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Type, parse_quote_spanned};

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
    let mut operations = model::check(attribute, &args, &module, &mut errors);
    let options = name_options(&mut args);
    let generated = match attribute {
        _ if module.clashes(&mut errors) => TokenStream::new(),
        Attribute::Server => {
            let serving = serving::expand(&args, &module, &mut operations, errors.is_empty());
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
    if args.framing.is_none() && args.format.is_none() {
        return None;
    }
    let framing = args.framing.as_mut().map(|ty| alias("Framing", ty));
    let format = args.format.as_mut().map(|ty| alias("Format", ty));
    Some(quote! {
        mod __options {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "either can name them")]
            use super::{*, super::*};
            #framing
            #format
        }
    })
}

/// Declares a name for a type, and replaces it by that.
fn alias(name: &str, ty: &mut Type) -> TokenStream {
    let name = Ident::new(name, at_end(ty));
    let module = Ident::new("__options", at(ty));
    let named = parse_quote_spanned!(module.span()=> #module::#name);
    let written = mem::replace(ty, named);
    quote! {
        #[allow(dead_code, reason = "what names it may be wrong")]
        pub(super) type #name = #written;
    }
}

/// The messages, and the client that sends and receives them.
fn contract(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let messages = messages::expand(args, operations);
    let client = client::expand(args, module, operations);
    quote!(#messages #client)
}
