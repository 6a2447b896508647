//! Writes functions and modules as they were, without the helper attributes.

use std::mem::replace;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Attribute, FnArg, Lit, Path, parse_quote};

use crate::{
    args::{Args, Side},
    item::{Function, Module, ModuleItem},
    model::parameter::is_ours,
};

/// Writes a protocol function.
pub(super) fn function(args: &Args, function: &Function) -> TokenStream {
    let is_helper = |attr: &&Attribute| attr.path().is_ident("blocking");
    let attrs = function.attrs.iter().filter(|attr| !is_helper(attr));
    // The attribute that comes next removes the helpers.
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

/// Writes a module, with what is generated in it. A client leaves out the functions, but for those that
/// serde calls.
pub(super) fn module(args: &Args, module: &Module, generated: &TokenStream) -> TokenStream {
    let (attrs, inner, vis) = (&module.attrs, &module.inner, &module.vis);
    let (keyword, ident) = (&module.keyword, &module.ident);
    let is_client = args.side == Side::Client;
    let items = module.items.iter().map(|item| match item {
        ModuleItem::Operation(_) if is_client => TokenStream::new(),
        ModuleItem::Helper(function) if is_client && !is_in_attribute(module, function) => {
            TokenStream::new()
        }
        ModuleItem::Operation(function) => {
            let function = self::function(args, function);
            quote! {
                #[allow(private_interfaces, unreachable_pub, reason = "the messages say so")]
                #function
            }
        }
        ModuleItem::Helper(function) => function.to_token_stream(),
        ModuleItem::Other(item) => item.to_token_stream(),
    });
    let allowed = is_client.then(|| {
        quote! {
            #[allow(dead_code, unused_imports, reason = "the functions are left out")]
        }
    });
    quote! {
        #(#attrs)*
        #allowed
        #vis #keyword #ident {
            #(#inner)*
            #(#items)*
            #generated
        }
    }
}

/// Returns whether an attribute in another item names a function, as `#[serde(default = "function")]` does.
fn is_in_attribute(module: &Module, function: &Function) -> bool {
    module.items.iter().any(|item| match item {
        ModuleItem::Other(item) => {
            has_path_in_attribute(item.to_token_stream(), &function.sig.ident, false)
        }
        _ => false,
    })
}

/// Returns whether a text in an attribute is a path to `name`. If `is_attribute`, the tokens are those of one.
fn has_path_in_attribute(tokens: TokenStream, name: &Ident, is_attribute: bool) -> bool {
    let mut is_after_hash = false;
    tokens.into_iter().any(|token| {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_attribute = is_attribute || replace(&mut is_after_hash, is_hash);
        match token {
            TokenTree::Group(group) => has_path_in_attribute(group.stream(), name, is_attribute),
            TokenTree::Literal(literal) if is_attribute => {
                let Lit::Str(text) = Lit::new(literal) else {
                    return false;
                };
                let path = text.parse::<Path>();
                path.is_ok_and(|path| path.segments.last().is_some_and(|last| last.ident == *name))
            }
            _ => false,
        }
    })
}
