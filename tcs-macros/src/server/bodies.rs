//! Writes what answers a request: the call of the function; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};

use super::model::{Argument, Model, State};
use crate::{
    args::Args,
    emit::turbofish,
    item::Function,
    spans::{at, numbered, private},
};

/// What answers a request.
pub(crate) struct Bodies {
    pub(crate) process_request: TokenStream,
    /// The same without a future, where nothing waits.
    pub(crate) process_at_once: Option<TokenStream>,
}

impl Bodies {
    /// Of what never waits, with `info` and `session` in scope of the body.
    pub(crate) fn at_once(span: Span, body: TokenStream) -> Self {
        Self {
            process_request: quote_spanned! {span=>
                async move { self.process_at_once(context, request) }
            },
            process_at_once: Some(body),
        }
    }

    /// Of what waits, with `info` and `session` in scope of the body.
    pub(crate) fn waiting(span: Span, body: &TokenStream) -> Self {
        Self {
            process_request: quote_spanned! {span=>
                let info = context.info;
                let session = context.session;
                async move {
                    #body
                }
            },
            process_at_once: None,
        }
    }
}

/// How a function answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    AtOnce,
    Blocking,
    Waiting,
}

impl Way {
    pub(crate) fn of(function: &Function, is_blocking: bool) -> Self {
        if function.is_async() {
            Self::Waiting
        } else if is_blocking {
            Self::Blocking
        } else {
            Self::AtOnce
        }
    }
}

/// What answers the requests of one function.
pub(crate) fn bodies(
    args: &Args,
    function: &Function,
    model: &Model,
    krate: &TokenStream,
) -> Bodies {
    let ident = &function.sig.ident;
    let span = at(ident);
    let turbofish = turbofish(&model.generics);
    let target = quote_spanned!(span=> #ident #turbofish);
    let request = [quote_spanned!(span=> request)];
    let way = Way::of(function, args.given("blocking").is_some());
    let Call { extractions, value } = call(&target, ident, way, model, krate, &request);
    let body = quote_spanned! {span=>
        #extractions
        ::core::result::Result::Ok(#value)
    };
    match way {
        Way::AtOnce => Bodies::at_once(span, body),
        Way::Blocking | Way::Waiting => Bodies::waiting(span, &body),
    }
}

/// The method of what never waits, with `info` and `session` in scope of its body.
pub(super) fn at_once(span: Span, private: &TokenStream, body: &TokenStream) -> TokenStream {
    quote_spanned! {span=>
        const AT_ONCE: bool = true;

        fn process_at_once<'exchange>(
            &'exchange self,
            context: #private::Context<'exchange, Self::Session>,
            request: Self::Request<'exchange>,
        ) -> ::core::result::Result<Self::Reply<'exchange>, #private::Rejection> {
            let info = context.info;
            let session = context.session;
            #body
        }
    }
}

/// The call of a function at `place`, with `info` and `session` in scope; `requests` are what it takes
/// of the request, in order.
pub(crate) fn call(
    target: &TokenStream,
    place: &Ident,
    way: Way,
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
    let value = match way {
        Way::AtOnce => call,
        Way::Blocking => quote_spanned!(span=> info.block(move || #call).await),
        Way::Waiting => quote_spanned!(span=> #call.await),
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
