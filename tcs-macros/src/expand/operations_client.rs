//! Writes the client of a module, with a method for each operation.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Type, ext::IdentExt as _};

use super::{
    messages::{attrs, contract_item},
    names::public_name,
};
use crate::{
    library::LibraryPath,
    model::operations::{Argument, Operation, Operations},
    options::Options,
    spans::start_of,
    syntax::{
        is_converted,
        lifetimes::{self, ELIDED},
    },
};

/// The kind of connection over which a client calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Connection,
    Channel,
    BlockingConnection,
    BlockingChannel,
}

impl Over {
    const ALL: [Self; 4] = [
        Self::Connection,
        Self::Channel,
        Self::BlockingConnection,
        Self::BlockingChannel,
    ];

    /// Returns `true` if many tasks or threads call at a time, so that a reply cannot borrow.
    const fn is_channel(self) -> bool {
        matches!(self, Self::Channel | Self::BlockingChannel)
    }

    const fn is_async(self) -> bool {
        matches!(self, Self::Connection | Self::Channel)
    }

    /// Returns the type, without its framing.
    fn ty(self, private: &LibraryPath<'_>) -> TokenStream {
        let span = Span::mixed_site();
        match self {
            Self::Connection => quote_spanned!(span=> #private::Connection),
            Self::Channel => quote_spanned!(span=> #private::Channel),
            Self::BlockingConnection => quote_spanned!(span=> #private::blocking::Connection),
            Self::BlockingChannel => quote_spanned!(span=> #private::blocking::Channel),
        }
    }
}

/// Writes `Client`, with its methods over each kind of connection.
pub(super) fn expand(options: &Options, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = &options.library.module(span);
    let (framing, client) = (contract_item(options, "Framing"), public_name("Client"));
    let module = operations.module.ident.unraw();
    let docs = format!(" Calls the operations of `{module}`: each is a method.");
    let implementations = Over::ALL.map(|over| {
        let connection = over.ty(private);
        // The other connections have no method for a streamed operation, because a plain call would fail at the first
        // item.
        let methods = operations.list.iter().filter_map(|operation| {
            if operation.stream.is_none() {
                Some(method(operation, private, over))
            } else if operation.takes_chunks() {
                (!over.is_channel()).then(|| upload_method(operation, private, over))
            } else {
                over.is_async()
                    .then(|| stream_method(operation, private, &framing, over))
            }
        });
        quote_spanned! {span=>
            #[automatically_derived]
            #[allow(
                dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
                clippy::pedantic, clippy::nursery, reason = "their shape follows the signatures"
            )]
            impl #client<#connection<#framing>> {
                #(#methods)*
            }
        }
    });
    let contract = public_name("Contract");
    let events = operations.pushes.as_ref().map(|_| {
        let connection = Over::Connection.ty(private);
        quote_spanned! {span=>
            #private::client! { @events #client, #connection<#framing>, #contract }
        }
    });
    quote_spanned! {span=>
        #private::operations! {
            #private::client! { #client, #framing, #docs }
            #events

            #(#implementations)*
        }
    }
}

/// Writes a method. Over a connection, the reply may borrow from `self`. Over a channel, it cannot, so a
/// closure processes a reply that borrows.
fn method(operation: &Operation<'_>, private: &LibraryPath<'_>, over: Over) -> TokenStream {
    let ident = &operation.handler.function.sig.ident;
    let span = start_of(ident);
    let parameters = parameters(operation);
    let fields = fields(operation);
    let ty = elided(&operation.reply);
    let (asyncness, wait) = over
        .is_async()
        .then(|| (quote_spanned!(span=> async), quote_spanned!(span=> .await)))
        .unzip();
    let (signature, value) = if over.is_channel() && lifetimes::borrows(&operation.reply) {
        let signature = quote_spanned! {span=>
            ///
            /// Returns what `process` makes of the reply, which borrows.
            pub #asyncness fn #ident<__T>(
                &self,
                #(#parameters)*
                process: impl ::core::ops::FnOnce(#ty) -> __T,
            ) -> #private::Result<__T>
        };
        (signature, quote_spanned!(span=> process(reply)))
    } else {
        let mutability = (!over.is_channel()).then(|| quote_spanned!(span=> mut));
        let signature = quote_spanned! {span=>
            pub #asyncness fn #ident(&#mutability self, #(#parameters)*) -> #private::Result<#ty>
        };
        (signature, quote_spanned!(span=> reply))
    };
    let [request, reply, contract] = ["Request", "Reply", "Contract"].map(public_name);
    let (attrs, variant) = (attrs(operation), &operation.variant);
    let may_repeat = (over.is_channel() && operation.is_idempotent)
        .then(|| quote_spanned!(span=> .idempotent()));
    quote_spanned! {span=>
        #attrs
        #signature {
            let request = #request::#variant { #(#fields),* };
            self.connection
                #may_repeat
                .call_for::<#contract, _>(request, |reply| match reply {
                    #reply::#variant(reply) => ::core::option::Option::Some(#value),
                    _ => ::core::option::Option::None,
                })
                #wait
        }
    }
}

/// Writes a method that returns the items of a streamed reply. Over a channel, only framings with ids have this method.
fn stream_method(
    operation: &Operation<'_>,
    private: &LibraryPath<'_>,
    framing: &TokenStream,
    over: Over,
) -> TokenStream {
    let ident = &operation.handler.function.sig.ident;
    let span = start_of(ident);
    let (parameters, fields) = (parameters(operation), fields(operation));
    let (attrs, variant, request) = (attrs(operation), &operation.variant, public_name("Request"));
    let (receiver, items, bound) = if over.is_channel() {
        (
            quote_spanned!(span=> &self),
            quote_spanned!(span=> #private::ChannelItems<#variant>),
            // With the lifetime, rustc checks the bound where the method is called, and not here.
            Some(quote_spanned!(span=> where for<'__c> #framing: #private::HasIds)),
        )
    } else {
        (
            quote_spanned!(span=> &mut self),
            quote_spanned!(span=> #private::Items<'_, #variant>),
            None,
        )
    };
    let result = quote_spanned!(span=> #private::Result<#items>);
    quote_spanned! {span=>
        #attrs
        ///
        /// Returns the items of its reply, as `stream` does.
        pub async fn #ident(#receiver, #(#parameters)*) -> #result #bound {
            let request = #request::#variant { #(#fields),* };
            self.connection.stream::<#variant>(request).await
        }
    }
}

/// Writes a method that sends a request, and returns the `Upload` that sends its chunks.
fn upload_method(operation: &Operation<'_>, private: &LibraryPath<'_>, over: Over) -> TokenStream {
    let ident = &operation.handler.function.sig.ident;
    let span = start_of(ident);
    let (parameters, fields) = (parameters(operation), fields(operation));
    let (attrs, variant, request) = (attrs(operation), &operation.variant, public_name("Request"));
    let (asyncness, wait) = over
        .is_async()
        .then(|| (quote_spanned!(span=> async), quote_spanned!(span=> .await)))
        .unzip();
    let path = (!over.is_async()).then(|| quote_spanned!(span=> blocking::));
    quote_spanned! {span=>
        #attrs
        ///
        /// Returns what sends its chunks, as `Connection::upload` does.
        pub #asyncness fn #ident(
            &mut self,
            #(#parameters)*
        ) -> #private::Result<#private::#path Upload<'_, #variant>> {
            let request = #request::#variant { #(#fields),* };
            self.connection.upload::<#variant>(request) #wait
        }
    }
}

fn elided(ty: &Type) -> Type {
    lifetimes::unify(ty, ELIDED)
}

/// Writes the parameters of a method.
fn parameters(operation: &Operation<'_>) -> Vec<TokenStream> {
    let parameters = operation.arguments.iter().map(|Argument { name, ty, .. }| {
        let elided = elided(ty);
        if is_converted(ty) {
            quote_spanned!(start_of(ty)=> #name: impl ::core::convert::Into<#elided>,)
        } else {
            quote_spanned!(Span::mixed_site()=> #name: #elided,)
        }
    });
    parameters.collect()
}

/// Writes the fields of the request. The method converts them before the call, so that the future holds only the
/// request while it waits, and not the values before the conversion.
fn fields(operation: &Operation<'_>) -> Vec<TokenStream> {
    let span = start_of(&operation.handler.function.sig.ident);
    let fields = operation.arguments.iter().map(|Argument { name, ty, .. }| {
        if is_converted(ty) {
            quote_spanned!(span=> #name: ::core::convert::Into::into(#name))
        } else {
            quote_spanned!(span=> #name)
        }
    });
    fields.collect()
}
