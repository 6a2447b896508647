//! Writes the client with a method for each operation; cannot fail.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{Lifetime, ext::IdentExt as _};

use super::{generated, messages::attrs, or_else};
use crate::{
    aim::at,
    args::Args,
    item::Module,
    lifetimes::{self, borrows},
    model::{
        Field,
        operations::{Operation, Operations},
    },
};

/// Writes `Client`.
pub(super) fn expand(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let private = args.library.at(Span::mixed_site());
    let framing = or_else(
        args.framing.as_ref(),
        quote_spanned!(Span::mixed_site()=> #private::LengthPrefixed),
    );
    let client = generated("Client");
    let docs = format!(
        " Calls the operations of `{}`: each is a method.",
        module.ident.unraw()
    );
    let methods = operations
        .is_carried
        .then(|| methods(operations, &framing, &private));
    let allowed = quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, reason = "they are there for each client")]
    };
    quote_spanned! {Span::mixed_site()=>
        #[doc = #docs]
        ///
        /// Over a `Connection`, as `connect` makes it, one call follows the other, and a reply may
        /// borrow from the connection. Over a `Channel`, as `share` makes it, many tasks call at a
        /// time, each with a clone; a reply that borrows is processed by a closure.
        ///
        /// A server's greeting is waited for and dropped by the first call over a `Connection`; so call
        /// before you `share`, or receive it yourself and hand the connection to `over`.
        ///
        /// A call fails as `Connection::call` does: then its result is `Err`. Otherwise it is what
        /// the function returned, which may be a `Result` of its own.
        #[derive(Clone, Debug)]
        #[allow(unreachable_pub, reason = "it is as visible as the module")]
        #[must_use]
        pub struct #client<__C = #private::Connection<#framing>> {
            connection: __C,
        }

        #allowed
        impl #client {
            /// Connects with the default options; for others, see [`over`](Self::over).
            ///
            /// # Errors
            ///
            /// Those of `ConnectOptions::connect`.
            pub async fn connect(
                address: impl ::core::convert::Into<#private::Address>,
            ) -> #private::Result<Self> {
                let connection = #private::Connection::connect(address).await?;
                ::core::result::Result::Ok(Self { connection })
            }
        }

        #allowed
        impl<__C> #client<__C> {
            /// Calls over a `Connection` or a `Channel` that is there.
            pub const fn over(connection: __C) -> Self {
                Self { connection }
            }

            /// Returns the connection.
            #[must_use]
            #[allow(clippy::missing_const_for_fn, reason = "it may have something to drop")]
            pub fn into_inner(self) -> __C {
                self.connection
            }
        }

        #allowed
        impl<__S> #client<#private::Connection<#framing, __S>>
        where
            __S: #private::AsyncRead + #private::AsyncWrite + ::core::marker::Unpin
                + ::core::marker::Send + 'static,
        {
            /// Lets many tasks call, each with a clone.
            ///
            /// # Errors
            ///
            /// Those of `Connection::into_channel`.
            pub fn share(self) -> #private::Result<#client<#private::Channel<#framing>>> {
                let connection = self.connection.into_channel()?;
                ::core::result::Result::Ok(#client { connection })
            }
        }

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
    let in_turn = list().map(|operation| Method::in_turn(operation).expand(operation, private));
    let of_many = list().map(|operation| Method::of_many(operation).expand(operation, private));
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

/// What differs between the methods of an operation.
struct Method {
    docs: TokenStream,
    generics: TokenStream,
    receiver: TokenStream,
    /// What is taken besides the arguments.
    more: TokenStream,
    returned: TokenStream,
    /// What is made of `reply`.
    value: TokenStream,
}

impl Method {
    /// The method over a connection, of which the reply may borrow.
    fn in_turn(operation: &Operation<'_>) -> Self {
        let span = at(&operation.exchange.function.sig.ident);
        let connection = Lifetime::new("'connection", Span::mixed_site());
        let reply = lifetimes::unify(&operation.reply, "'connection");
        let borrows = borrows(&operation.reply);
        let generics = borrows.then(|| quote_spanned!(Span::mixed_site()=> <#connection>));
        let lifetime = borrows.then_some(connection);
        Self {
            docs: TokenStream::new(),
            generics: generics.unwrap_or_default(),
            receiver: quote_spanned!(span=> &#lifetime mut self),
            more: TokenStream::new(),
            returned: reply.to_token_stream(),
            value: quote_spanned!(span=> reply),
        }
    }

    /// The method over a channel.
    fn of_many(operation: &Operation<'_>) -> Self {
        let span = at(&operation.exchange.function.sig.ident);
        let receiver = quote_spanned!(span=> &self);
        if !borrows(&operation.reply) {
            return Self {
                receiver,
                ..Self::in_turn(operation)
            };
        }
        let borrowed = Lifetime::new("'reply", Span::mixed_site());
        let reply = lifetimes::unify(&operation.reply, "'reply");
        Self {
            docs: quote_spanned! {span=>
                ///
                /// Returns what `process` makes of the reply, which borrows.
            },
            generics: quote_spanned!(span=> <__T>),
            receiver,
            more: quote_spanned! {span=>
                process: impl for<#borrowed> ::core::ops::FnOnce(#reply) -> __T,
            },
            returned: quote_spanned!(span=> __T),
            value: quote_spanned!(span=> process(reply)),
        }
    }

    fn expand(&self, operation: &Operation<'_>, private: &TokenStream) -> TokenStream {
        let Self {
            docs,
            generics,
            receiver,
            more,
            returned,
            value,
        } = self;
        let Operation {
            variant,
            arguments,
            exchange,
            ..
        } = operation;
        let ident = &exchange.function.sig.ident;
        let span = at(ident);
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
                #more
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
}
