//! Writes how a request is answered: the call of its function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::Generics;

use crate::{
    aim::{Library, at, numbered},
    args::Args,
    generics,
    model::server::{Argument, CallKind, Exchange, Protocol, Session},
    types::{Field, bare, is_unsized, same},
};

/// Calls the function of an exchange, with `self`, `info` and `session` in scope; what it takes of the
/// request is in `requests`. `make` makes the reply of what it returned.
pub(super) fn call(
    args: &Args,
    protocol: &Protocol<'_>,
    exchange: &Exchange<'_>,
    requests: Vec<Ident>,
    make: impl FnOnce(TokenStream) -> TokenStream,
) -> TokenStream {
    let library = &args.library;
    let ident = &exchange.function.sig.ident;
    let span = at(ident);
    let mut requests = requests.into_iter();
    let mut extractions = Vec::new();
    let arguments: Vec<_> = exchange
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Request => requests.next().to_token_stream(),
            Argument::State(state) => shared(library, protocol, state, span),
            Argument::Session(session) => kept(library, protocol, session, span),
            Argument::Extracted(ty) => {
                let name = numbered("extracted", extractions.len(), span);
                let from_context = library.item("FromContext", ty);
                extractions.push(quote_spanned! {span=>
                    let #name = <#ty as #from_context<'exchange>>::from_context(info)?;
                });
                name.to_token_stream()
            }
        })
        .collect();
    let turbofish = turbofish(&exchange.generics, span);
    let call = quote_spanned!(span=> #ident #turbofish (#(#arguments,)*));
    let private = library.at(span);
    let value = make(match exchange.kind {
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

/// A reference to a state, as the function borrows it.
fn shared(library: &Library, protocol: &Protocol<'_>, written: &Field, span: Span) -> TokenStream {
    let ty = &written.ty;
    match protocol
        .states
        .iter()
        .find(|known| known.name == written.name)
    {
        Some(usual) if !same(&usual.ty, ty) => {
            let (same_state, value) = (library.item("SameState", ty), state(usual, at(ty)));
            let usual = &usual.ty;
            quote_spanned!(at(ty)=> <#ty as #same_state<#usual>>::of(#value))
        }
        _ => state(written, span),
    }
}

/// A reference to the session, as the function borrows it.
fn kept(library: &Library, protocol: &Protocol<'_>, session: &Session, span: Span) -> TokenStream {
    let ty = &session.ty;
    match &protocol.session {
        Some(usual) if !same(&usual.ty, ty) => {
            let (same_session, usual) = (library.item("SameSession", ty), &usual.ty);
            quote_spanned!(at(ty)=> <#ty as #same_session<#usual>>::of(session))
        }
        _ if session.mutable => quote_spanned!(span=> session),
        _ => quote_spanned!(span=> &*session),
    }
}
