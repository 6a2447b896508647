//! Writes functions and modules as they were, without the helper attributes.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Attribute, FnArg, parse_quote};

use crate::{
    args::{Args, Side},
    item::{Function, Module, ModuleItem},
    model::parameter::is_ours,
    syntax::mentions,
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
        ModuleItem::Helper(function) if is_client && !is_in_text(module, function) => {
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

/// Returns whether an attribute of an item names a function, as `#[serde(default = "function")]` does.
fn is_in_text(module: &Module, function: &Function) -> bool {
    let text = format!("\"{}\"", function.sig.ident);
    let mut items = module.items.iter();
    items.any(|item| matches!(item, ModuleItem::Other(item) if mentions(item, &[&text])))
}
