//! Writes the call of a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::Generics;

use super::parts::numbered;
use crate::{
    aim::at,
    args::Args,
    model::{
        Field, generics,
        server::{Argument, CallKind, Handler, Protocol, Session},
    },
    syntax::{bare, is_unsized},
};

/// Calls a function of a server, with `self`, `info` and `session` in scope. What it takes of the
/// request is in the variables `requests`. `wrap` makes the reply of what the function returned.
pub(super) fn call(
    args: &Args,
    protocol: &Protocol<'_>,
    handler: &Handler<'_>,
    requests: Vec<Ident>,
    wrap: impl FnOnce(TokenStream) -> TokenStream,
) -> TokenStream {
    let library = &args.library;
    let ident = &handler.function.sig.ident;
    let span = at(ident);
    let mut requests = requests.into_iter();
    let mut extractions = Vec::new();
    let arguments = handler.arguments.iter().map(|argument| match argument {
        Argument::Request => requests.next().to_token_stream(),
        Argument::State(borrowed) => {
            // Where operations have different types for a state, rustc says so at the one here.
            let mut states = protocol.states.iter();
            let kept = states.find(|kept| kept.name == borrowed.name);
            state(kept.unwrap_or(borrowed), at(&borrowed.ty))
        }
        Argument::Session(Session { ty, mutable, .. }) => {
            let reborrow = (!mutable).then(|| quote_spanned!(at(ty)=> &*));
            quote_spanned!(at(ty)=> #reborrow session)
        }
        Argument::Extracted(ty) => {
            let name = numbered("extracted", extractions.len(), span);
            let from_context = library.item("FromContext", ty);
            extractions.push(quote_spanned! {span=>
                let #name = <#ty as #from_context<'exchange>>::from_context(info)?;
            });
            name.to_token_stream()
        }
    });
    let arguments: Vec<_> = arguments.collect();
    let turbofish = turbofish(&handler.generics, span);
    let call = quote_spanned!(span=> #ident #turbofish (#(#arguments,)*));
    let private = library.at(span);
    let value = wrap(match handler.kind {
        CallKind::Sync => call,
        CallKind::Blocking => quote_spanned!(span=> info.block(move || #call).await),
        CallKind::Async => quote_spanned!(span=> #private::send(#call).await),
    });
    quote_spanned! {span=>
        #(#extractions)*
        ::core::result::Result::Ok(#value)
    }
}

/// The type and const arguments of a call of the function.
pub(super) fn turbofish(generics: &Generics, span: Span) -> Option<TokenStream> {
    let names = generics::names(generics);
    (!names.is_empty()).then(|| quote_spanned!(span=> ::<#(#names),*>))
}

/// A reference to a state of the protocol, whose field may own it through a pointer.
pub(super) fn state(Field { name, ty }: &Field, span: Span) -> TokenStream {
    let through = is_unsized(bare(ty)).then(|| quote_spanned!(span=> *));
    quote_spanned!(span=> &#through self.#name)
}
