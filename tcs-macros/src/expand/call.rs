//! Writes the call of a function of a server.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote_spanned};
use syn::Generics;

use super::names::variable;
use crate::{
    model::{
        generics,
        handler::{CallKind, Handler, ParameterSource, Session},
        protocol_type::Field,
        server::ServerImpl,
    },
    spans::{Library, place_of, start_of},
    syntax::{bare, is_unsized, same_tokens},
};

/// Calls a function of a server, with `self`, `info` and `session` in scope. Returns statements that take values from
/// the context or return the rejection, and an expression for the function's return value.
///
/// A parameter may see the session, unless the function has it as `&mut`.
pub(super) fn call(
    library: &Library,
    server: &ServerImpl<'_>,
    handler: &Handler<'_>,
) -> (Vec<TokenStream>, TokenStream) {
    let ident = &handler.function.sig.ident;
    let span = place_of(ident);
    let mut extractions = Vec::new();
    let session = handler.parameters.session();
    let lends_session = session.is_some_and(|session| session.mutability.is_some());
    let sources = handler.parameters.iter().enumerate();
    let values = sources.map(|(position, source)| match source {
        ParameterSource::Request => Ident::new("request", span).to_token_stream(),
        ParameterSource::Argument(name) => variable(name).to_token_stream(),
        ParameterSource::State(state) => shared_state(server, state),
        ParameterSource::Session(Session { ty, mutability, .. }) => {
            let span = start_of(ty);
            let value = match (&server.concurrency, mutability) {
                // `session` is an `Arc`.
                (Some(_), _) => quote_spanned!(span=> &**session),
                (None, None) => quote_spanned!(span=> &*session),
                (None, Some(_)) => quote_spanned!(span=> session),
            };
            match &server.session {
                // The types are two names of one type, or a mistake, which this trait explains.
                Some(of_all) if !same_tokens(ty, &of_all.ty) => {
                    let same_session = library.item("SameSession", ty);
                    let of_all = &of_all.ty;
                    let lend = mutability.map_or("shared", |_| "exclusive");
                    let lend = Ident::new(lend, span);
                    quote_spanned!(span=> <#ty as #same_session<#of_all>>::#lend(#value))
                }
                _ => value,
            }
        }
        ParameterSource::Framing(ty) => {
            let span = start_of(ty);
            let name = format_ident!("framing_{position}", span = span);
            let private = library.module(span);
            extractions.push(quote_spanned! {span=>
                let mut #name = #private::LentFraming::<Self::Framing>::take(info);
            });
            let changed = library.item("ChangedFraming", ty);
            quote_spanned!(span=> <#ty as #changed<Self::Framing>>::changed(&mut *#name))
        }
        ParameterSource::Context(ty) => {
            let name = format_ident!("extracted_{position}", span = span);
            let value = if lends_session {
                let from_context = library.item("FromContextAlone", ty);
                quote_spanned!(span=> <#ty as #from_context<'exchange>>::from_context_alone(info)?)
            } else {
                let from_session = library.item("FromSession", ty);
                quote_spanned! {span=>
                    <#ty as #from_session<'exchange, Self>>::from_session(self, &*session, info)?
                }
            };
            extractions.push(quote_spanned!(span=> let #name = #value;));
            name.to_token_stream()
        }
    });
    let call = function_call(ident, &handler.generics, values);
    let private = library.module(span);
    // For `fn find(name: &str, #[state] db: &Db, #[session] seen: &mut u8, peer: &Peer)`:
    //
    //     let extracted_3 = <&'exchange Peer as FromContextAlone<'exchange>>::from_context_alone(info)?;
    //     find(request, &self.db, session, extracted_3)
    //
    // `await` is in the code of the caller, so that the values that the future borrows live in the caller's frame.
    let value = match handler.kind {
        CallKind::Sync => call,
        CallKind::Blocking => quote_spanned!(span=> info.block(move || #call).await?),
        CallKind::Async => quote_spanned!(span=> #private::send(#call).await),
    };
    (extractions, value)
}

/// Writes a reference to the state of the protocol with the name of a parameter. If operations have different types for
/// a state, rustc reports that at the type of the parameter.
fn shared_state(server: &ServerImpl<'_>, parameter: &Field) -> TokenStream {
    let mut states = server.ty.fields.iter();
    let shared = states.find(|state| state.name == parameter.name);
    state_reference(shared.unwrap_or(parameter), start_of(&parameter.ty))
}

/// Writes a reference to a state of the protocol, whose field may own the state through a pointer.
pub(super) fn state_reference(Field { name, ty }: &Field, span: Span) -> TokenStream {
    let through = is_unsized(bare(ty)).then(|| quote_spanned!(span=> *));
    quote_spanned!(span=> &#through self.#name)
}

/// Calls the user's function with these values, and with its type and const parameters.
pub(super) fn function_call(
    ident: &Ident,
    generics: &Generics,
    values: impl Iterator<Item = TokenStream>,
) -> TokenStream {
    let (span, names) = (place_of(ident), generics::param_idents(generics));
    // The compiler cannot infer a parameter that occurs in no value, such as a constant.
    let turbofish = (!names.is_empty()).then(|| quote_spanned!(span=> ::<#(#names),*>));
    quote_spanned!(span=> #ident #turbofish (#(#values,)*))
}
