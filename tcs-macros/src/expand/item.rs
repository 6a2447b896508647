//! Writes the user's functions and modules again, without the helper attributes.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, Lit, Type, parse_quote};

use super::in_clippy;
use crate::{
    item::{Function, Module, ModuleItem},
    model::{operation_attrs::is_operation_attr, operations::Operations, parameter::is_ours},
    options::{Options, Side},
    syntax::with_marks,
};

/// Writes a protocol function.
pub(super) fn write_function(options: &Options, function: &Function) -> TokenStream {
    let attrs = function.attrs.iter();
    let attrs = attrs.filter(|attr| !is_operation_attr(attr));
    // If another attribute of this crate follows, its expansion removes the helper attributes.
    let is_last = function.other_protocol_attrs().next().is_none();
    let (vis, body) = (&function.vis, &function.body);
    let mut sig = function.sig.clone();
    // The expressions of these options have the states and the session in scope.
    let has_scope = options.session.is_some() || options.greeting.is_some();
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
    // rustc has reported a type that does not parse. Without a token after the type, rustc would report it again, at
    // all parameters.
    if !sig.inputs.trailing_punct()
        && let Some(FnArg::Typed(parameter)) = sig.inputs.last_mut()
        && let Type::Verbatim(_) = *parameter.ty
    {
        *parameter.ty = parse_quote!(impl ::core::marker::Sized);
    }
    let allowed = in_clippy(|| {
        quote! {
            #[allow(
                clippy::future_not_send, clippy::missing_const_for_fn, clippy::must_use_candidate,
                clippy::needless_pass_by_value, clippy::ptr_arg, clippy::trivially_copy_pass_by_ref,
                clippy::unnecessary_wraps, clippy::unused_async,
                reason = "the protocol decides about the signature"
            )]
        }
    });
    quote! {
        #(#attrs)*
        #allowed
        #vis #sig #body
    }
}

/// Writes a module, with the items that are generated in it. A client leaves out the operations, and the functions that
/// only their bodies call.
pub(super) fn write_module(
    options: &Options,
    operations: &Operations<'_>,
    generated: &TokenStream,
) -> TokenStream {
    let module = operations.module;
    let (attrs, inner, vis) = (&module.attrs, &module.inner, &module.vis);
    let (keyword, ident) = (&module.keyword, &module.ident);
    let items = match options.side {
        Side::Server => items_at_server(options, module),
        Side::Client => items_at_client(options, operations),
    };
    let allowed = (options.side == Side::Client).then(
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

fn items_at_server(options: &Options, module: &Module) -> TokenStream {
    let items = module.items.iter().map(|item| match item {
        // This operation would cause a further error, because rustc does not accept `self` here either.
        ModuleItem::Operation(function) if function.sig.receiver().is_some() => TokenStream::new(),
        ModuleItem::Operation(function) => {
            let function = write_function(options, function);
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

/// Writes the items that stay at a client: the types, and the private functions that a type, a message or an option
/// names.
fn items_at_client(options: &Options, operations: &Operations<'_>) -> TokenStream {
    let (mut kept, mut private) = (TokenStream::new(), Vec::new());
    for item in &operations.module.items {
        match item {
            ModuleItem::Operation(_) => {}
            ModuleItem::PrivateFunction(function) => private.push(function),
            ModuleItem::Other(item) => item.to_tokens(&mut kept),
        }
    }
    let (framing, format) = (&options.framing, &options.format);
    let (push, is_push) = (&options.push, &options.is_push);
    let messages = operations.list.iter().flat_map(|operation| {
        let arguments = operation.arguments.iter().map(|argument| &argument.ty);
        let stream = operation.stream.iter().flat_map(|stream| &stream.message);
        arguments.chain([&operation.reply]).chain(stream)
    });
    let named = quote!(#framing #format #push #is_push #(#messages)*);
    // A function that stays may name another one.
    while let Some(position) = private.iter().position(|function| {
        let is_named = |tokens| mentions(tokens, &function.sig.ident, false);
        is_named(kept.clone()) || is_named(named.clone())
    }) {
        private.remove(position).to_tokens(&mut kept);
    }
    kept
}

/// Returns the last name of a path, without generic arguments.
fn path_end(path: &str) -> Option<&str> {
    path.split("::<").next()?.rsplit("::").next()
}

/// Returns `true` if tokens mention a function. If `is_attribute`, the tokens are from an attribute, whose texts may be
/// paths, as in `#[serde(default = "function")]`.
fn mentions(tokens: TokenStream, name: &Ident, is_attribute: bool) -> bool {
    with_marks(tokens).into_iter().any(|(token, marks)| {
        let is_attribute = is_attribute || marks[1] == '#';
        match (token, marks) {
            (TokenTree::Group(group), _) => mentions(group.stream(), name, is_attribute),
            // A field or a method, but not the end of a range, as in `0..count()`.
            (TokenTree::Ident(_), [before, '.', ..]) if before != '.' => false,
            // A field, a variable or a parameter, but not the start of a path.
            (TokenTree::Ident(_), [.., ':', after]) if after != ':' => false,
            (TokenTree::Ident(word), _) => word == *name,
            (TokenTree::Literal(literal), _) if is_attribute => match Lit::new(literal) {
                // The text is not parsed, because rustc would report a text that is not tokens, such as "isn't" in
                // documentation.
                Lit::Str(text) => path_end(&text.value()).is_some_and(|end| name == end),
                _ => false,
            },
            _ => false,
        }
    })
}
