//! Writes the implementation of `ServerProtocol`; cannot fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::Type;

use super::{
    handler::{Handler, handler, state_value},
    model::{Model, Session, State},
};
use crate::{
    args::Args,
    checks::checks,
    emit::{Origin, Shape, allowance, judged, parameter_bounds, sending, type_bound, where_clause},
    item::Function,
    spans::{self, at, private, respan},
};

/// Writes the type and what it implements; with a stub for a body unless the function `is_right`.
pub(crate) fn expand(
    args: &Args,
    function: &Function,
    name: &Ident,
    model: &Model,
    is_right: bool,
) -> TokenStream {
    let krate = args.krate();
    let shape = Shape {
        origin: Origin::of(function),
        name,
        generics: &model.generics,
        fields: &model.fields,
    };
    let handler = is_right.then(|| handler(args, function, model, &krate));
    let expansion = Expansion {
        args,
        place: &function.sig.ident,
        model,
        krate,
    };
    shape.declare(&expansion.implementation(name, handler))
}

/// What a protocol does besides answering.
pub(crate) struct Expansion<'a> {
    pub(crate) args: &'a Args,
    /// Where errors belong that are about no single token.
    pub(crate) place: &'a Ident,
    pub(crate) model: &'a Model,
    pub(crate) krate: TokenStream,
}

impl Expansion<'_> {
    /// Writes the implementation; with stubs where there is no `handler`.
    pub(crate) fn implementation(&self, name: &Ident, handler: Option<Handler>) -> TokenStream {
        let Self {
            args,
            model,
            krate,
            place,
        } = self;
        let is_right = handler.is_some();
        let span = at(name);
        let private = quote_spanned!(span=> #krate::__private);
        let framing = or_else(args.framing.as_ref(), quote!(#private::LengthPrefixed));
        let format = or_else(args.format.as_ref(), quote!(#private::Plain));
        let session = model.session.as_ref().map_or_else(
            || quote_spanned!(span=> type Session = ();),
            |Session { ty, .. }| quote_spanned!(at(ty)=> type Session = #ty;),
        );
        let request = or_else(model.request.as_ref(), quote!(#private::Unknown));
        let reply = or_else(model.reply.as_ref(), quote!(#private::Unknown));
        let stub = quote_spanned!(span=> ::core::unimplemented!());
        let (open_session, greeting, refuse) = if is_right {
            (self.open_session(), self.greeting(), self.refuse())
        } else {
            (stub, None, None)
        };
        let Handler { body, waits } = handler.unwrap_or_else(|| Handler::stub(place));
        let waits = (!waits).then(|| quote_spanned!(span=> const WAITS: bool = false;));
        let half_close = args
            .given("half_close")
            .map(|option| quote_spanned!(at(option)=> const ENDS_AT_HALF_CLOSE: bool = true;));
        let (impl_generics, type_generics, _) = model.generics.split_for_impl();
        let where_clause = where_clause(span, &model.generics, &self.bounds(is_right));
        let allowance = allowance(span);
        let framing_of = quote_spanned!(span=> <#name as #private::ServerProtocol>::Framing);
        let checks = is_right.then(|| checks(args, &model.generics, &framing_of));
        let future = quote_spanned! {at(*place)=>
            impl ::core::future::Future<
                Output = ::core::result::Result<Self::Reply<'exchange>, #private::Rejection>
            > + ::core::marker::Send
        };
        let mistake = quote_spanned!(span=> #private::server_mistake::<#name>);
        let judged = judged(args.framing.as_ref(), &model.generics, &mistake);
        quote_spanned! {span=>
            #judged

            #[automatically_derived]
            #allowance
            impl #impl_generics #private::ServerProtocol for #name #type_generics #where_clause {
                type Framing = #framing;
                type Format = #format;
                #session
                type Request<'exchange> = #request;
                type Reply<'exchange> = #reply;

                fn open_session(&self, peer: &#private::Peer) -> Self::Session {
                    #open_session
                }

                #greeting

                #refuse

                #half_close

                fn process_request<'exchange>(
                    &'exchange self,
                    context: #private::Context<'exchange, Self::Session>,
                    request: Self::Request<'exchange>,
                ) -> #future {
                    #body
                }

                #waits
            }

            #checks
        }
    }

    /// What the types must be, as far as the function is right.
    fn bounds(&self, is_right: bool) -> TokenStream {
        let Self { model, krate, .. } = self;
        if !is_right {
            return parameter_bounds(&model.generics, krate, "State");
        }
        let mut bounds = state_bounds(model, krate);
        if let Some(Session { ty, .. }) = &model.session {
            bounds.extend(type_bound(ty, krate, "Carried", ty));
        }
        bounds
    }

    fn open_session(&self) -> TokenStream {
        let Self {
            args, model, krate, ..
        } = self;
        let Some(session) = &model.session else {
            return TokenStream::new();
        };
        if let Some(expression) = &args.session {
            let scope = self.scope();
            return quote!(#scope #expression);
        }
        let ty = &session.ty;
        let start = private(krate, "Start", ty);
        quote_spanned!(at(ty)=> <#ty as #start>::start())
    }

    fn greeting(&self) -> Option<TokenStream> {
        let Self {
            args, model, krate, ..
        } = self;
        let expression = args.greeting.as_ref()?;
        let span = at(self.place);
        let scope = self.scope();
        let session = match &model.session {
            Some(Session {
                name: Some(name), ..
            }) => quote_spanned! {span=>
                #[allow(unused_variables, reason = "the greeting need not mention it")]
                let #name = session;
            },
            _ => TokenStream::new(),
        };
        let message = sending(krate, &quote_spanned!(span=> Self::Format), expression);
        Some(quote_spanned! {span=>
            const GREETS: bool = true;

            fn greeting<'exchange>(
                &'exchange self,
                peer: &'exchange #krate::__private::Peer,
                session: &'exchange mut Self::Session,
            ) -> ::core::option::Option<impl #krate::__private::Encode<Self::Format>> {
                #scope
                #session
                ::core::option::Option::Some(#message)
            }
        })
    }

    fn refuse(&self) -> Option<TokenStream> {
        let Self { args, krate, .. } = self;
        let path = args.refuse.as_ref()?;
        let span = at(path);
        let private = respan(quote!(#krate::__private), span);
        let encode = spans::private(krate, "Encode", path);
        Some(quote_spanned! {span=>
            fn refuse<'exchange>(
                &'exchange self,
                refusal: &'exchange #private::Rejection,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                const { #private::needs_words::<Self::Framing>() }
                let words: fn(&'exchange #private::Rejection) -> _ = #path;
                ::core::option::Option::Some(#private::sending(move |out| {
                    #encode::<Self::Format>::encode(words(refusal), out)
                }))
            }
        })
    }

    /// Brings the peer and the states into the scope of an expression of the user's.
    fn scope(&self) -> TokenStream {
        let span = at(self.place);
        let peer = Ident::new("peer", Span::call_site());
        let allowed = quote_spanned! {span=>
            #[allow(unused_variables, reason = "the expression need not mention it")]
        };
        let mut scope = quote_spanned!(span=> #allowed let #peer = peer;);
        for state in &self.model.states {
            let State { name, borrowed, .. } = state;
            let value = state_value(span, state);
            scope.extend(quote_spanned!(span=> #allowed let #name: &(#borrowed) = #value;));
        }
        scope
    }
}

/// Each state, and each type parameter, must be shareable; the bound stands at the user's type.
pub(crate) fn state_bounds(model: &Model, krate: &TokenStream) -> TokenStream {
    let mut bounds = parameter_bounds(&model.generics, krate, "State");
    for (field, state) in model.fields.iter().zip(&model.states) {
        bounds.extend(type_bound(&field.ty, krate, "State", &state.borrowed));
    }
    bounds
}

/// Returns the type that is given, or else the default.
pub(crate) fn or_else(given: Option<&Type>, default: TokenStream) -> TokenStream {
    match given {
        Some(given) => given.to_token_stream(),
        None => default,
    }
}
