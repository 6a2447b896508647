//! Writes the item as it was, and the types of its protocol.

mod call;
mod checks;
mod client;
mod item;
mod messages;
mod methods;
mod parts;
mod server;
mod shape;

use std::mem;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{Type, parse_quote_spanned, visit_mut::VisitMut as _};

use crate::{
    aim::{at, at_end},
    args::{Args, Attribute},
    item::{Item, Module},
    model::{Model, operations::Operations},
    syntax::Deeper,
};

/// Writes an item and what is added to it.
pub(crate) fn expand(args: &Args, item: &Item, model: &Model<'_>) -> TokenStream {
    match item {
        Item::Function(function) => {
            let mut tokens = item::without_helpers(args, function);
            match model {
                Model::Server(function) => tokens.extend(server::function(args, function)),
                Model::Client(function) => tokens.extend(client::function(args, function)),
                Model::Operations(_) | Model::Nothing => {}
            }
            tokens
        }
        Item::Module(module) => match model {
            Model::Operations(operations) => expand_module(args.clone(), module, operations),
            _ => item::module(args, module, &TokenStream::new()),
        },
        Item::Other(tokens) => tokens.clone(),
    }
}

/// Adds the messages, their client and, unless the functions are left out, a server to a module.
fn expand_module(mut args: Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let options = move_options(&mut args);
    let library = args.library.0.iter_mut();
    library.for_each(|path| Deeper(1).visit_path_mut(path));
    if !operations.has_format {
        // Any type of serde is a message in it, so that there is one error about the format.
        let format = args.library.item("NoFormat", &module.ident);
        args.format = Some(parse_quote_spanned!(at(&module.ident)=> #format));
    }
    let mut generated = options.into_token_stream();
    generated.extend(messages::expand(&args, operations));
    generated.extend(methods::expand(&args, operations));
    if args.attribute == Attribute::Server {
        generated.extend(server::module(&args, operations));
    }
    item::module(&args, module, &generated)
}

/// Declares names for the types in the options, and replaces the types by these names. So the types
/// mean what they mean around the module, where the attribute is, or else what they mean in it.
fn move_options(args: &mut Args) -> Option<TokenStream> {
    let framing = args.framing.as_mut().map(|ty| move_type("__Framing", ty));
    let format = args.format.as_mut().map(|ty| move_type("__Format", ty));
    (framing.is_some() || format.is_some()).then(|| {
        quote! {
            mod __options {
                #[allow(unused_imports, clippy::wildcard_imports, reason = "either can name them")]
                use super::{*, super::*};
                #framing
                #format
            }
        }
    })
}

/// Declares a name for a type of an option, and replaces the type by that name.
fn move_type(name: &str, ty: &mut Type) -> TokenStream {
    let name = Ident::new(name, at_end(ty));
    let module = Ident::new("__options", at(ty));
    let named = parse_quote_spanned!(module.span()=> #module::#name);
    let mut written = mem::replace(ty, named);
    Deeper(2).visit_type_mut(&mut written);
    quote! {
        #[allow(dead_code, reason = "what names it may be wrong")]
        pub(super) type #name = #written;
    }
}
