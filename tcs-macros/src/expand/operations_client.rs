//! Writes the client of a module, with a method for each operation.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Type, ext::IdentExt as _};

use super::{
    messages::{attrs, contract_item},
    names::public_name,
};
use crate::{
    args::Args,
    model::{
        Field,
        operations::{Operation, Operations},
    },
    spans::start_of,
    syntax::lifetimes::{self, ELIDED},
};

/// Writes `Client`, with its methods over a connection, and those over a channel.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = args.library.private(span);
    let (framing, client) = (contract_item(args, "Framing"), public_name("Client"));
    let module = operations.module.ident.unraw();
    let docs = format!(" Calls the operations of `{module}`: each is a method.");
    let list = operations.list.iter();
    let over_connection = list
        .clone()
        .map(|operation| method_over_connection(operation, &private));
    let over_channel = list.map(|operation| method_over_channel(operation, &private));
    let allowed = quote_spanned! {span=>
        #[automatically_derived]
        #[allow(
            dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
            clippy::pedantic, clippy::nursery, reason = "they are what the functions are"
        )]
    };
    quote_spanned! {span=>
        #private::operations! {
            #private::client! { #client, #framing, #docs }

            #allowed
            impl #client<#private::Connection<#framing>> {
                #(#over_connection)*
            }

            #allowed
            impl #client<#private::Channel<#framing>> {
                #(#over_channel)*
            }
        }
    }
}

/// Writes the method over a `Connection`. The reply may borrow from it.
fn method_over_connection(operation: &Operation<'_>, private: &TokenStream) -> TokenStream {
    let span = start_of(&operation.handler.function.sig.ident);
    method(operation, private, &quote_spanned!(span=> &mut self))
}

/// Writes a method that returns the reply.
fn method(operation: &Operation<'_>, private: &TokenStream, receiver: &TokenStream) -> TokenStream {
    let ident = &operation.handler.function.sig.ident;
    let span = start_of(ident);
    let (attrs, parameters, reply) = (attrs(operation), parameters(operation), reply(operation));
    let body = body(operation, &quote_spanned!(span=> reply));
    quote_spanned! {span=>
        #attrs
        pub async fn #ident(#receiver, #parameters) -> #private::Result<#reply> {
            #body
        }
    }
}

/// Writes the method over a `Channel`. The reply cannot borrow from it, so a closure processes a reply
/// that borrows.
fn method_over_channel(operation: &Operation<'_>, private: &TokenStream) -> TokenStream {
    let ident = &operation.handler.function.sig.ident;
    let span = start_of(ident);
    if !lifetimes::borrows(&operation.reply) {
        return method(operation, private, &quote_spanned!(span=> &self));
    }
    let (attrs, parameters, reply) = (attrs(operation), parameters(operation), reply(operation));
    let body = body(operation, &quote_spanned!(span=> process(reply)));
    quote_spanned! {span=>
        #attrs
        ///
        /// Returns what `process` makes of the reply, which borrows.
        pub async fn #ident<__T>(
            &self,
            #parameters
            process: impl ::core::ops::FnOnce(#reply) -> __T,
        ) -> #private::Result<__T> {
            #body
        }
    }
}

fn parameters(operation: &Operation<'_>) -> TokenStream {
    let parameters = operation.arguments.iter().map(|Field { name, ty }| {
        let elided = lifetimes::unify(ty, ELIDED);
        quote_spanned!(Span::mixed_site()=> #name: #elided,)
    });
    parameters.collect()
}

/// The type of the reply, which borrows from `self`, or for a closure from its parameter.
fn reply(operation: &Operation<'_>) -> Type {
    lifetimes::unify(&operation.reply, ELIDED)
}

/// Sends the request, and evaluates to `value`, which is made of the variable `reply`.
fn body(operation: &Operation<'_>, value: &TokenStream) -> TokenStream {
    let [request, reply, contract] = ["Request", "Reply", "Contract"].map(public_name);
    let variant = &operation.variant;
    let names = operation.arguments.iter().map(|argument| &argument.name);
    quote_spanned! {start_of(&operation.handler.function.sig.ident)=>
        let request = #request::#variant { #(#names),* };
        self.connection
            .call_for::<#contract, _>(request, |reply| match reply {
                #reply::#variant(reply) => ::core::option::Option::Some(#value),
                _ => ::core::option::Option::None,
            })
            .await
    }
}
