//! Writes functions and modules as they were, without the helper attributes.

use std::mem::replace;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Attribute, FnArg, Lit, parse_quote};

use crate::{
    args::{Args, Side},
    item::{Function, Module, ModuleItem},
    model::parameter::is_ours,
};

/// Writes a protocol function.
pub(super) fn write_function(args: &Args, function: &Function) -> TokenStream {
    let is_blocking = |attr: &&Attribute| attr.path().is_ident("blocking");
    let attrs = function.attrs.iter().filter(|attr| !is_blocking(attr));
    // The attribute that is expanded next removes the helper attributes.
    let is_last = function.other_protocol_attrs().next().is_none();
    let (vis, body) = (&function.vis, &function.body);
    let mut sig = function.sig.clone();
    // The expressions of these options have the states and the session in scope.
    let has_scope = args.session.is_some() || args.greeting.is_some();
    for input in &mut sig.inputs {
        if let FnArg::Typed(parameter) = input {
            let count = parameter.attrs.len();
            parameter.attrs.retain(|attr| !is_last || !is_ours(attr));
            if has_scope && parameter.attrs.len() < count {
                parameter.attrs.push(parse_quote! {
                    #[allow(unused_variables, reason = "an option may be all that needs it")]
                });
            }
        }
    }
    quote! {
        #(#attrs)*
        #[allow(
            clippy::future_not_send, clippy::missing_const_for_fn, clippy::must_use_candidate,
            clippy::needless_pass_by_value, clippy::ptr_arg, clippy::trivially_copy_pass_by_ref,
            clippy::unnecessary_wraps, clippy::unused_async,
            reason = "the protocol decides about the signature"
        )]
        #vis #sig #body
    }
}

/// Writes a module, with what is generated in it. A client leaves out the operations, and the functions that only
/// they call.
pub(super) fn write_module(args: &Args, module: &Module, generated: &TokenStream) -> TokenStream {
    let (attrs, inner, vis) = (&module.attrs, &module.inner, &module.vis);
    let (keyword, ident) = (&module.keyword, &module.ident);
    let items = match args.side {
        Side::Server => items_at_server(args, module),
        Side::Client => items_at_client(module),
    };
    let allowed = (args.side == Side::Client).then(
        || quote!(#[allow(dead_code, unused_imports, reason = "the operations are left out")]),
    );
    quote! {
        #(#attrs)*
        #allowed
        #vis #keyword #ident {
            #(#inner)*
            #items
            #generated
        }
    }
}

fn items_at_server(args: &Args, module: &Module) -> TokenStream {
    let items = module.items.iter().map(|item| match item {
        ModuleItem::Operation(function) => {
            let function = write_function(args, function);
            quote! {
                #[allow(private_interfaces, unreachable_pub, reason = "the module decides the visibility")]
                #function
            }
        }
        ModuleItem::PrivateFunction(function) => function.to_token_stream(),
        ModuleItem::Other(item) => item.to_token_stream(),
    });
    items.collect()
}

/// Returns the items of a module that stay at a client: its types, and the private functions that these name.
fn items_at_client(module: &Module) -> TokenStream {
    let (mut kept, mut private) = (TokenStream::new(), Vec::new());
    for item in &module.items {
        match item {
            ModuleItem::Operation(_) => {}
            ModuleItem::PrivateFunction(function) => private.push(function),
            ModuleItem::Other(item) => item.to_tokens(&mut kept),
        }
    }
    // A function that stays may name another one.
    let find = |kept: &TokenStream, private: &[&Function]| {
        let mut private = private.iter();
        private.position(|function| names(kept.clone(), &function.sig.ident, false))
    };
    while let Some(position) = find(&kept, &private) {
        private.remove(position).to_tokens(&mut kept);
    }
    kept
}

/// Returns the last name of a path, without generic arguments.
fn path_end(path: &str) -> Option<&str> {
    path.split("::<").next()?.rsplit("::").next()
}

/// Returns whether tokens name a function. If `is_attribute`, they are those of an attribute, whose texts may
/// be paths, as in `#[serde(default = "function")]`.
fn names(tokens: TokenStream, name: &Ident, is_attribute: bool) -> bool {
    let mut is_after_hash = false;
    tokens.into_iter().any(|token| {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_attribute = is_attribute || replace(&mut is_after_hash, is_hash);
        match token {
            TokenTree::Group(group) => names(group.stream(), name, is_attribute),
            TokenTree::Ident(word) => word == *name,
            TokenTree::Literal(literal) if is_attribute => match Lit::new(literal) {
                // Not parsed, because rustc would report any text that is not tokens, such as "isn't" in documentation.
                Lit::Str(text) => path_end(&text.value()).is_some_and(|end| name == end),
                _ => false,
            },
            _ => false,
        }
    })
}
