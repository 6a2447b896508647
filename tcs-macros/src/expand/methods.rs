//! Writes the client with a method for each operation.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{Lifetime, ext::IdentExt as _};

use super::{
    messages::attrs,
    parts::{framing, generated},
};
use crate::{
    aim::at,
    args::Args,
    item::Module,
    lifetimes::{self, borrows},
    model::operations::{Operation, Operations},
    types::Field,
};

/// Writes `Client`.
pub(super) fn expand(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = args.library.at(span);
    let (framing, client) = (framing(args, span), generated("Client"));
    let docs = format!(
        " Calls the operations of `{}`: each is a method.",
        module.ident.unraw()
    );
    let methods = operations
        .is_carried
        .then(|| methods(operations, &framing, &private));
    quote_spanned! {span=>
        #private::client! { #client, #framing, #docs }
        #methods
    }
}

/// The methods over a connection, and those over a channel.
fn methods(
    operations: &Operations<'_>,
    framing: &TokenStream,
    private: &TokenStream,
) -> TokenStream {
    let list = || operations.list.iter();
    let in_turn = list().map(|operation| method(operation, Over::Connection, private));
    let of_many = list().map(|operation| method(operation, Over::Channel, private));
    let allowed = quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        #[allow(
            dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
            clippy::pedantic, clippy::nursery, reason = "they are what the functions are"
        )]
    };
    let client = generated("Client");
    quote_spanned! {Span::mixed_site()=>
        #private::operations! {
            #allowed
            impl<__S: #private::AsyncRead + #private::AsyncWrite + ::core::marker::Unpin>
                #client<#private::Connection<#framing, __S>>
            {
                #(#in_turn)*
            }

            #allowed
            impl #client<#private::Channel<#framing>> {
                #(#of_many)*
            }
        }
    }
}

/// What a method calls over.
#[derive(Clone, Copy)]
enum Over {
    /// A `Connection`. The reply may borrow from it.
    Connection,
    /// A `Channel`. The reply cannot borrow from it, so a closure processes the reply.
    Channel,
}

fn method(operation: &Operation<'_>, over: Over, private: &TokenStream) -> TokenStream {
    let (variant, arguments) = (&operation.variant, &operation.arguments);
    let ident = &operation.exchange.function.sig.ident;
    let span = at(ident);
    let lifetime = Lifetime::new("'reply", Span::mixed_site());
    let reply_type = lifetimes::unify(&operation.reply, "'reply");
    let mut docs = None;
    let mut generics = None;
    let mut process = None;
    let mut returned = reply_type.to_token_stream();
    let mut value = quote_spanned!(span=> reply);
    let receiver = match over {
        Over::Connection if borrows(&operation.reply) => {
            generics = Some(quote_spanned!(span=> <#lifetime>));
            quote_spanned!(span=> &#lifetime mut self)
        }
        Over::Connection => quote_spanned!(span=> &mut self),
        Over::Channel => quote_spanned!(span=> &self),
    };
    if let Over::Channel = over
        && borrows(&operation.reply)
    {
        docs = Some(quote_spanned! {span=>
            ///
            /// Returns what `process` makes of the reply, which borrows.
        });
        generics = Some(quote_spanned!(span=> <__T>));
        process = Some(quote_spanned! {span=>
            process: impl for<#lifetime> ::core::ops::FnOnce(#reply_type) -> __T,
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
    let (request, reply) = (generated("Request"), generated("Reply"));
    let contract = generated("Contract");
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
