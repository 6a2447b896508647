//! Writes the client with a method for each operation; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Lifetime, ext::IdentExt as _};

use super::{
    messages::attrs,
    model::{Operation, Operations, borrows, generated},
    module::Module,
};
use crate::{args::Args, lifetimes, server::expand::or_else, spans::at};

/// Writes `Client`.
pub(super) fn expand(args: &Args, module: &Module, operations: &Operations<'_>) -> TokenStream {
    let krate = args.krate();
    let private = quote_spanned!(Span::mixed_site()=> #krate::__private);
    let framing = or_else(
        args.framing.as_ref(),
        quote_spanned!(Span::mixed_site()=> #private::LengthPrefixed),
    );
    let client = generated("Client");
    let docs = format!(
        " Calls the operations of `{}`: each is a method.",
        module.ident.unraw()
    );
    let methods = operations.is_carried.then(|| {
        let owned = operations.list.iter().map(|operation| in_turn(operation));
        let shared = operations
            .list
            .iter()
            .map(|operation| of_many(operation, &private));
        let owned: Vec<_> = owned.map(|method| method(&private)).collect();
        quote_spanned! {Span::mixed_site()=>
            #private::operations! {
                #[automatically_derived]
                #[allow(
                    dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
                    clippy::pedantic, clippy::nursery, reason = "they are what the functions are"
                )]
                impl<__S: #private::AsyncRead + #private::AsyncWrite + ::core::marker::Unpin>
                    #client<#private::Connection<#framing, __S>>
                {
                    #(#owned)*
                }

                #[automatically_derived]
                #[allow(
                    dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
                    clippy::pedantic, clippy::nursery, reason = "they are what the functions are"
                )]
                impl #client<#private::Channel<#framing>> {
                    #(#shared)*
                }
            }
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #[doc = #docs]
        ///
        /// Over a `Connection`, as `connect` makes it, one call follows the other, and a reply may
        /// borrow from the connection. Over a `Channel`, as `share` makes it, many tasks call at a
        /// time, each with a clone; a reply that borrows is processed by a closure.
        ///
        /// A call fails as `Connection::call` does: then its result is `Err`. Otherwise it is what
        /// the function returned, which may be a `Result` of its own.
        #[derive(Clone, Debug)]
        #[allow(unreachable_pub, reason = "it is as visible as the module")]
        #[must_use]
        pub struct #client<__C = #private::Connection<#framing>> {
            connection: __C,
        }

        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, reason = "they are there for each client")]
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

        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, reason = "they are there for each client")]
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

        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, reason = "they are there for each client")]
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

/// What the methods of an operation have in common.
struct Method {
    attrs: Vec<TokenStream>,
    ident: Ident,
    span: Span,
    parameters: TokenStream,
    /// The request, of the parameters.
    request: TokenStream,
    /// Takes the reply out, as `reply`.
    pattern: TokenStream,
}

fn method(operation: &Operation<'_>) -> Method {
    let Operation {
        function,
        variant,
        arguments,
        ..
    } = operation;
    let ident = function.sig.ident.clone();
    let span = at(&ident);
    let parameters = arguments.iter().map(|argument| {
        let name = &argument.name;
        let ty = lifetimes::unify(&argument.ty, "'_");
        quote_spanned!(Span::mixed_site()=> #name: #ty)
    });
    let names: Vec<_> = arguments.iter().map(|argument| &argument.name).collect();
    let (request, reply) = (generated("Request"), generated("Reply"));
    Method {
        attrs: attrs(operation, "the operation").collect(),
        span,
        parameters: quote_spanned!(Span::mixed_site()=> #(#parameters),*),
        request: quote_spanned!(span=> #request::#variant { #(#names),* }),
        pattern: quote_spanned!(span=> #reply::#variant(reply)),
        ident,
    }
}

/// The method over a connection, of which the reply may borrow.
fn in_turn<'o>(operation: &'o Operation<'_>) -> impl FnOnce(&TokenStream) -> TokenStream + use<'o> {
    let reply = lifetimes::unify(&operation.reply, "'connection");
    let method = method(operation);
    let borrows = borrows(&operation.reply);
    move |private| {
        let Method {
            attrs,
            ident,
            span,
            parameters,
            request,
            pattern,
        } = method;
        let contract = generated("Contract");
        let connection = Lifetime::new("'connection", Span::mixed_site());
        let (declared, lifetime) = if borrows {
            (
                Some(quote_spanned!(Span::mixed_site()=> <#connection>)),
                Some(&connection),
            )
        } else {
            (None, None)
        };
        quote_spanned! {span=>
            #(#attrs)*
            pub async fn #ident #declared (
                &#lifetime mut self,
                #parameters
            ) -> #private::Result<#reply> {
                let request = #request;
                self.connection
                    .call_for::<#contract, _>(request, |reply| match reply {
                        #pattern => ::core::option::Option::Some(reply),
                        _ => ::core::option::Option::None,
                    })
                    .await
            }
        }
    }
}

/// The method over a channel.
fn of_many(operation: &Operation<'_>, private: &TokenStream) -> TokenStream {
    let Method {
        attrs,
        ident,
        span,
        parameters,
        request,
        pattern,
    } = method(operation);
    let contract = generated("Contract");
    let comma = (!operation.arguments.is_empty()).then(|| quote_spanned!(Span::mixed_site()=> ,));
    if !borrows(&operation.reply) {
        let reply = &operation.reply;
        return quote_spanned! {span=>
            #(#attrs)*
            pub async fn #ident(&self, #parameters) -> #private::Result<#reply> {
                let request = #request;
                self.connection
                    .call_for::<#contract, _>(request, |reply| match reply {
                        #pattern => ::core::option::Option::Some(reply),
                        _ => ::core::option::Option::None,
                    })
                    .await
            }
        };
    }
    let borrowed = Lifetime::new("'reply", Span::mixed_site());
    let reply = lifetimes::unify(&operation.reply, "'reply");
    quote_spanned! {span=>
        #(#attrs)*
        ///
        /// Returns what `process` makes of the reply, which borrows.
        pub async fn #ident<__T>(
            &self,
            #parameters #comma
            process: impl for<#borrowed> ::core::ops::FnOnce(#reply) -> __T,
        ) -> #private::Result<__T> {
            let request = #request;
            self.connection
                .call_for::<#contract, _>(request, |reply| match reply {
                    #pattern => ::core::option::Option::Some(process(reply)),
                    _ => ::core::option::Option::None,
                })
                .await
        }
    }
}
