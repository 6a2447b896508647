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
    let private = &args.library.private(span);
    let (framing, client) = (contract_item(args, "Framing"), public_name("Client"));
    let module = operations.module.ident.unraw();
    let docs = format!(" Calls the operations of `{module}`: each is a method.");
    let methods = |is_over_channel| {
        let list = operations.list.iter();
        list.map(move |operation| method(operation, private, is_over_channel))
    };
    let (over_connection, over_channel) = (methods(false), methods(true));
    let allowed = quote_spanned! {span=>
        #[automatically_derived]
        #[allow(
            dead_code, deprecated, unreachable_pub, unreachable_patterns, clippy::all,
            clippy::pedantic, clippy::nursery, reason = "their shape follows the signatures"
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

/// Writes a method. Over a `Connection`, the reply may borrow from `self`. Over a `Channel`, it cannot, so a
/// closure processes a reply that borrows.
fn method(operation: &Operation<'_>, private: &TokenStream, is_over_channel: bool) -> TokenStream {
    let ident = &operation.function.sig.ident;
    let span = start_of(ident);
    let elided = |ty: &Type| lifetimes::unify(ty, ELIDED);
    let arguments = operation.arguments.iter();
    let parameters = arguments.clone().map(|Field { name, ty }| {
        let ty = elided(ty);
        quote_spanned!(Span::mixed_site()=> #name: #ty,)
    });
    let ty = elided(&operation.reply);
    let (signature, value) = if is_over_channel && lifetimes::borrows(&operation.reply) {
        let signature = quote_spanned! {span=>
            ///
            /// Returns what `process` makes of the reply, which borrows.
            pub async fn #ident<__T>(
                &self,
                #(#parameters)*
                process: impl ::core::ops::FnOnce(#ty) -> __T,
            ) -> #private::Result<__T>
        };
        (signature, quote_spanned!(span=> process(reply)))
    } else {
        let mutability = (!is_over_channel).then(|| quote_spanned!(span=> mut));
        let signature = quote_spanned! {span=>
            pub async fn #ident(&#mutability self, #(#parameters)*) -> #private::Result<#ty>
        };
        (signature, quote_spanned!(span=> reply))
    };
    let [request, reply, contract] = ["Request", "Reply", "Contract"].map(public_name);
    let (attrs, variant) = (attrs(operation), &operation.variant);
    let names = arguments.map(|argument| &argument.name);
    quote_spanned! {span=>
        #attrs
        #signature {
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
