//! Writes the client of a module, with a method for each operation.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;

use super::{
    messages::attrs,
    parts::{framing, generated},
};
use crate::{
    aim::at,
    args::Args,
    model::{
        Field,
        operations::{Operation, Operations},
    },
    syntax::lifetimes,
};

/// Writes `Client`, with its methods over a connection, and those over a channel.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = args.library.at(span);
    let (framing, client) = (framing(args, span), generated("Client"));
    let module = operations.module.ident.unraw();
    let docs = format!(" Calls the operations of `{module}`: each is a method.");
    let list = || operations.list.iter();
    let over_connection =
        list().map(|operation| method(operation, Transport::Connection, &private));
    let over_channel = list().map(|operation| method(operation, Transport::Channel, &private));
    let allowed = quote_spanned! {span=>
        #[automatically_derived]
        #[allow(
            dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
            clippy::pedantic, clippy::nursery, reason = "they are what the functions are"
        )]
    };
    quote_spanned! {span=>
        #private::client! { #client, #framing, #docs }

        #private::operations! {
            #allowed
            impl<__S: #private::AsyncRead + #private::AsyncWrite + ::core::marker::Unpin>
                #client<#private::Connection<#framing, __S>>
            {
                #(#over_connection)*
            }

            #allowed
            impl #client<#private::Channel<#framing>> {
                #(#over_channel)*
            }
        }
    }
}

/// What a method of the client calls over.
#[derive(Clone, Copy)]
enum Transport {
    /// A `Connection`. The reply may borrow from it.
    Connection,
    /// A `Channel`. The reply cannot borrow from it, so a closure processes the reply.
    Channel,
}

fn method(operation: &Operation<'_>, transport: Transport, private: &TokenStream) -> TokenStream {
    let (variant, arguments) = (&operation.variant, &operation.arguments);
    let ident = &operation.handler.function.sig.ident;
    let span = at(ident);
    let reply_type = lifetimes::unify(&operation.reply, "'reply");
    let is_borrowed = lifetimes::borrows(&operation.reply);
    let mut generics = None;
    let receiver = match transport {
        Transport::Connection if is_borrowed => {
            generics = Some(quote_spanned!(span=> <'reply>));
            quote_spanned!(span=> &'reply mut self)
        }
        Transport::Connection => quote_spanned!(span=> &mut self),
        Transport::Channel => quote_spanned!(span=> &self),
    };
    let (mut docs, mut process) = (None, None);
    let mut returned = reply_type.to_token_stream();
    let mut value = quote_spanned!(span=> reply);
    if let (Transport::Channel, true) = (transport, is_borrowed) {
        docs = Some(quote_spanned! {span=>
            ///
            /// Returns what `process` makes of the reply, which borrows.
        });
        generics = Some(quote_spanned!(span=> <__T>));
        process = Some(quote_spanned! {span=>
            process: impl for<'reply> ::core::ops::FnOnce(#reply_type) -> __T,
        });
        returned = quote_spanned!(span=> __T);
        value = quote_spanned!(span=> process(reply));
    }
    let attrs = attrs(operation);
    let names = arguments.iter().map(|argument| &argument.name);
    let parameters = arguments.iter().map(|Field { name, ty }| {
        let ty = lifetimes::unify(ty, "'_");
        quote_spanned!(Span::mixed_site()=> #name: #ty,)
    });
    let [request, reply, contract] = ["Request", "Reply", "Contract"].map(generated);
    quote_spanned! {span=>
        #attrs
        #docs
        pub async fn #ident #generics (
            #receiver,
            #(#parameters)*
            #process
        ) -> #private::Result<#returned> {
            let request = #request::#variant { #(#names),* };
            self.connection
                .call_for::<#contract, _>(request, |reply| match reply {
                    #reply::#variant(reply) => ::core::option::Option::Some(#value),
                    _ => ::core::option::Option::None,
                })
                .await
        }
    }
}
