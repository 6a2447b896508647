//! Writes the call of a function of a server.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{Generics, Type};

use super::parts::numbered;
use crate::{
    aim::at,
    library::Library,
    model::{
        Field, generics,
        handler::{ArgumentSource, CallKind, Handler, Session},
        server::Protocol,
    },
    syntax::{bare, is_unsized},
};

/// The call of a function, with `self`, `info` and `session` in scope.
pub(super) struct Call {
    /// Statements that take arguments from the context, or leave with the rejection.
    pub(super) extractions: TokenStream,
    /// What the function returns.
    pub(super) value: TokenStream,
}

impl Call {
    /// Calls a function with what it takes of the request, which is in the variables `requests`.
    pub(super) fn new(
        protocol: &Protocol<'_>,
        handler: &Handler<'_>,
        requests: Vec<Ident>,
    ) -> Self {
        let library = &protocol.ty.args.library;
        let ident = &handler.function.sig.ident;
        let span = at(ident);
        let mut requests = requests.into_iter();
        let mut extractions = TokenStream::new();
        let arguments = handler.sources.iter().enumerate();
        let arguments = arguments.map(|(place, source)| match source {
            ArgumentSource::Request => requests.next().to_token_stream(),
            ArgumentSource::State(state) => shared_state(protocol, state),
            ArgumentSource::Session(Session { ty, mutable, .. }) => {
                let reborrow = (!mutable).then(|| quote_spanned!(at(ty)=> &*));
                quote_spanned!(at(ty)=> #reborrow session)
            }
            ArgumentSource::Context(ty) => {
                let name = numbered("extracted", place, span);
                extractions.extend(extraction(&name, ty, library));
                name.to_token_stream()
            }
        });
        let arguments: Vec<_> = arguments.collect();
        let turbofish = turbofish(&handler.generics, span);
        let call = quote_spanned!(span=> #ident #turbofish (#(#arguments,)*));
        let private = library.at(span);
        let value = match handler.kind {
            CallKind::Sync => call,
            CallKind::Blocking => quote_spanned!(span=> info.block(move || #call).await),
            CallKind::Async => quote_spanned!(span=> #private::send(#call).await),
        };
        Self { extractions, value }
    }
}

/// A reference to the state of the protocol that has the name of a parameter's. Where operations have
/// different types for a state, rustc says so at the parameter's.
fn shared_state(protocol: &Protocol<'_>, parameter: &Field) -> TokenStream {
    let mut states = protocol.states.iter();
    let shared = states.find(|state| state.name == parameter.name);
    state(shared.unwrap_or(parameter), at(&parameter.ty))
}

/// A reference to a state of the protocol, whose field may own it through a pointer.
pub(super) fn state(Field { name, ty }: &Field, span: Span) -> TokenStream {
    let through = is_unsized(bare(ty)).then(|| quote_spanned!(span=> *));
    quote_spanned!(span=> &#through self.#name)
}

/// Takes an argument from the context.
fn extraction(name: &Ident, ty: &Type, library: &Library) -> TokenStream {
    let from_context = library.item("FromContext", ty);
    quote_spanned! {name.span()=>
        let #name = <#ty as #from_context<'exchange>>::from_context(info)?;
    }
}

/// The type and const arguments of a call of the function.
pub(super) fn turbofish(generics: &Generics, span: Span) -> Option<TokenStream> {
    let names = generics::names(generics);
    (!names.is_empty()).then(|| quote_spanned!(span=> ::<#(#names),*>))
}
