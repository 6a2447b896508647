//! Writes the items of a model. The last checks, of names and options together, happen here as well.

mod call;
mod checks;
mod client;
mod messages;
mod methods;
mod parts;
mod server;
mod shape;

use std::mem;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Type, parse_quote_spanned};

use crate::{
    aim::{at, at_end},
    args::{Args, Attribute},
    errors::Errors,
    item::{Function, Module},
    model::{name::type_name, operations::Operations},
};

/// Expands to the item as written, followed by what is made of it, followed by what is wrong.
///
/// Whatever is wrong, the item is kept; and once its name is known, so is the type. A mistake in one
/// place must not become an error at every use.
pub(crate) fn expand(attribute: Attribute, args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(attribute, args, &mut errors);
    let expanded = if Module::is_one(&item) {
        syn::parse2(item.clone()).map(|mut parsed: Module| {
            parsed.wrong.drain(..).for_each(|error| errors.push(error));
            module(attribute, args, &parsed, &mut errors)
        })
    } else {
        let parsed = Function::of(attribute, item.clone());
        parsed.map(|parsed| function(attribute, &args, &parsed, &mut errors))
    };
    let tokens = expanded.unwrap_or_else(|error| {
        errors.push(error);
        item
    });
    errors.after(tokens)
}

/// Adds a type to a function.
fn function(
    attribute: Attribute,
    args: &Args,
    function: &Function,
    errors: &mut Errors,
) -> TokenStream {
    function.check(attribute, errors);
    if !function.has_body() {
        let cure = "a protocol function has a body: write `{ … }`";
        errors.at(&function.sig.ident, cure);
    }
    let name = type_name(args, function, attribute.name(), errors);
    let mut tokens = function.kept(args);
    if let Some(name) = name.filter(|_| !function.is_member()) {
        tokens.extend(match attribute {
            Attribute::Server => server::function(args, function, &name, errors),
            Attribute::Client => client::function(args, function, &name, errors),
        });
    }
    tokens
}

/// Adds to a module of functions its messages, their client and, unless they are left out, a server.
fn module(
    attribute: Attribute,
    mut args: Args,
    module: &Module,
    errors: &mut Errors,
) -> TokenStream {
    let mut operations = Operations::check(attribute, &args, module, errors);
    let options = name_options(&mut args);
    let mut generated = TokenStream::new();
    if !module.clashes(errors) {
        generated.extend(messages::expand(&args, &operations));
        generated.extend(methods::expand(&args, module, &operations));
        if attribute == Attribute::Server {
            let is_right = errors.is_empty();
            generated.extend(server::module(&args, module, &mut operations, is_right));
        }
    }
    module.with(attribute, &args, &quote!(#options #generated))
}

/// Names the types in the options, so that they mean what they mean around the module, where the
/// attribute stands, or else what they mean in it.
fn name_options(args: &mut Args) -> Option<TokenStream> {
    let framing = args.framing.as_mut().map(|ty| alias("Framing", ty));
    let format = args.format.as_mut().map(|ty| alias("Format", ty));
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
