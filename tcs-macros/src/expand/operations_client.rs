//! Writes the client of a module, whose methods the library declares.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;

use super::{
    messages::{attrs, contract_item},
    names::public_name,
};
use crate::{
    model::operations::{Argument, Operation, Operations},
    options::Options,
    spans::{place_of, start_of},
    syntax::{
        is_converted,
        lifetimes::{self, ELIDED},
    },
};

/// Describes each operation once. The library's macro `client` makes a method of it over each kind of connection.
pub(super) fn expand(options: &Options, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = options.library.module(span);
    let framing = contract_item(options, "Framing");
    let [client, contract] = ["Client", "Contract"].map(public_name);
    let module = operations.module.ident.unraw();
    let docs = format!(" Calls the operations of `{module}`: each is a method.");
    let methods = operations.list.iter().map(method);
    let pushes = operations
        .pushes
        .as_ref()
        .map(|_| quote_spanned!(span=> { events }));
    quote_spanned! {span=>
        #private::operations! {
            #private::client! { #client, #framing, #contract, #docs, [#pushes] #(#methods)* }
        }
    }
}

/// Describes the method of an operation.
fn method(operation: &Operation<'_>) -> TokenStream {
    // For `fn find(name: &str) -> Option<u8>`:
    //
    //     { reply owned [/** … */] find(name: &'_ str,) -> (Option<u8>), Request::Find { name: name }, Reply::Find, [] }
    let ident = &operation.handler.function.sig.ident;
    let span = place_of(ident);
    let (parameters, fields): (Vec<_>, Vec<_>) = operation.arguments.iter().map(argument).unzip();
    let (attrs, variant) = (attrs(operation), &operation.variant);
    let [request, reply] = ["Request", "Reply"].map(public_name);
    let may_repeat = operation
        .is_idempotent
        .then(|| quote_spanned!(span=> .idempotent()));
    let ty = lifetimes::unify(&operation.reply, ELIDED);
    let (kind, returned) = if operation.takes_chunks() {
        (quote_spanned!(span=> chunks), variant.to_token_stream())
    } else if operation.stream.is_some() {
        (quote_spanned!(span=> items), variant.to_token_stream())
    } else if lifetimes::borrows(&operation.reply) {
        (quote_spanned!(span=> reply borrowed), ty.to_token_stream())
    } else {
        (quote_spanned!(span=> reply owned), ty.to_token_stream())
    };
    quote_spanned! {span=>
        {
            #kind [#attrs] #ident(#(#parameters,)*) -> (#returned),
            #request::#variant { #(#fields),* }, #reply::#variant, [#may_repeat]
        }
    }
}

/// Writes the parameter of a method for an argument, and the field of the request.
fn argument(Argument { name, ty, .. }: &Argument<'_>) -> (TokenStream, TokenStream) {
    let elided = lifetimes::unify(ty, ELIDED);
    if is_converted(ty) {
        (
            quote_spanned!(start_of(ty)=> #name: impl ::core::convert::Into<#elided>),
            quote_spanned!(place_of(name)=> #name: ::core::convert::Into::into(#name)),
        )
    } else {
        let span = Span::mixed_site();
        (
            quote_spanned!(span=> #name: #elided),
            quote_spanned!(span=> #name),
        )
    }
}
