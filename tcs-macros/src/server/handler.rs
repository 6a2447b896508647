//! Writes how requests are processed: the call of the function; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};

use super::model::{Argument, Model, State};
use crate::{
    args::Args,
    emit::turbofish,
    item::Function,
    spans::{at, numbered, private},
};

/// How requests are processed.
pub(crate) struct Handler {
    /// The body of `process_request`.
    pub(crate) body: TokenStream,
    /// Whether the future may have to wait.
    pub(crate) waits: bool,
}

impl Handler {
    /// Processes requests into `result`, in which `info` and `session` are in scope, and `?` and
    /// `.await` may stand.
    pub(crate) fn new(place: &Ident, result: &TokenStream, waits: bool) -> Self {
        let body = quote_spanned! {at(place)=>
            let info = context.info;
            let session = context.session;
            async move {
                #result
            }
        };
        Self { body, waits }
    }

    /// Stands in for a function that does not compile.
    pub(crate) fn stub(place: &Ident) -> Self {
        Self {
            body: quote_spanned!(at(place)=> async { ::core::unimplemented!() }),
            waits: true,
        }
    }
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Sync,
    Blocking,
    Async,
}

impl CallKind {
    pub(crate) fn of(function: &Function, is_blocking: bool) -> Self {
        if function.is_async() {
            Self::Async
        } else if is_blocking {
            Self::Blocking
        } else {
            Self::Sync
        }
    }
}

/// How the requests of one function are processed.
pub(crate) fn handler(
    args: &Args,
    function: &Function,
    model: &Model,
    krate: &TokenStream,
) -> Handler {
    let ident = &function.sig.ident;
    let span = at(ident);
    let turbofish = turbofish(&model.generics);
    let target = quote_spanned!(span=> #ident #turbofish);
    let request = [quote_spanned!(span=> request)];
    let kind = CallKind::of(function, args.given("blocking").is_some());
    let Call { extractions, value } = call(&target, ident, kind, model, krate, &request);
    let result = quote_spanned! {span=>
        #extractions
        ::core::result::Result::Ok(#value)
    };
    Handler::new(ident, &result, kind != CallKind::Sync)
}

/// The call of a function at `place`, with `info` and `session` in scope; `requests` are what it takes
/// of the request, in order.
pub(crate) fn call(
    target: &TokenStream,
    place: &Ident,
    kind: CallKind,
    model: &Model,
    krate: &TokenStream,
    requests: &[TokenStream],
) -> Call {
    let span = at(place);
    let mut extractions = TokenStream::new();
    let mut extracted = 0;
    let mut requests = requests.iter();
    let mut arguments = TokenStream::new();
    for argument in &model.arguments {
        match argument {
            Argument::Request => requests.next().to_tokens(&mut arguments),
            Argument::State(index) => {
                if let Some(state) = model.states.get(*index) {
                    arguments.extend(state_value(span, state));
                }
            }
            Argument::Session => arguments.extend(match &model.session {
                Some(session) if session.mutable => quote_spanned!(span=> session),
                _ => quote_spanned!(span=> &*session),
            }),
            Argument::Extracted(ty) => {
                let name = numbered("extracted", extracted, span);
                extracted += 1;
                let from_context = private(krate, "FromContext", ty);
                extractions.extend(quote_spanned! {span=>
                    let #name = <#ty as #from_context<'exchange>>::from_context(info)?;
                });
                name.to_tokens(&mut arguments);
            }
        }
        arguments.extend(quote_spanned!(span=> ,));
    }
    let call = quote_spanned!(span=> #target (#arguments));
    let value = match kind {
        CallKind::Sync => call,
        CallKind::Blocking => quote_spanned!(span=> info.block(move || #call).await),
        CallKind::Async => quote_spanned!(span=> #call.await),
    };
    Call { extractions, value }
}

/// What a call of the function returns, and what must be extracted before.
pub(crate) struct Call {
    pub(crate) extractions: TokenStream,
    pub(crate) value: TokenStream,
}

pub(super) fn state_value(span: Span, State { name, through, .. }: &State) -> TokenStream {
    if *through {
        quote_spanned!(span=> &*self.#name)
    } else {
        quote_spanned!(span=> &self.#name)
    }
}
