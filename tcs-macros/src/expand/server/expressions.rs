//! Writes the code around the user's expressions and paths in options: the session, the greeting, the framing of a new
//! connection, and the words of rejections.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote_spanned};
use syn::Expr;

use super::{
    super::{call::state_reference, encoder, names::public_name},
    ServerExpansion,
};
use crate::{
    model::{handler::Session, protocol_type::Field},
    options::OptionName,
    spans::{end_of, place_of, start_of},
    syntax::mentions_one_of,
};

impl ServerExpansion<'_> {
    /// Writes the session of a new connection.
    pub(super) fn initial_session(&self) -> Option<TokenStream> {
        let Session { ty, .. } = self.server.session.as_ref()?;
        let is_shared = self.server.concurrency.is_some();
        let share = |span| is_shared.then(|| quote_spanned!(span=> ::std::sync::Arc::new));
        if let Some(expression) = &self.model.options.session {
            let span = place_of(self.server.ty.item_name);
            let scope = self.scope(&quote_spanned!(span=> info.peer()));
            let push = self.push(expression);
            let session = match share(start_of(expression)) {
                Some(share) => quote_spanned!(start_of(expression)=> #share(#expression)),
                None => expression.to_token_stream(),
            };
            return Some(quote_spanned!(start_of(expression)=> #scope #push #session));
        }
        let (default, span) = (
            self.model.options.library.item("DefaultSession", ty),
            start_of(ty),
        );
        let session = quote_spanned!(span=> <#ty as #default>::default_session());
        Some(match share(span) {
            Some(share) => quote_spanned!(span=> #share(#session)),
            None => session,
        })
    }

    /// Writes the method that makes the framing of a new connection. The states are in the scope of the expression.
    pub(super) fn framing_value(&self) -> Option<TokenStream> {
        let value = self.model.options.framing_value.as_ref()?;
        let (imports, states) = (self.imports_around(), self.states());
        Some(quote_spanned! {start_of(value)=>
            fn framing(&self) -> Self::Framing {
                #imports
                #(#states)*
                #value
            }
        })
    }

    pub(super) fn greeting(&self) -> Option<TokenStream> {
        let greeting = self.model.options.greeting.as_ref()?;
        let span = place_of(self.server.ty.item_name);
        let private = self.model.options.library.module(span);
        let scope = self.scope(&quote_spanned!(span=> peer));
        let session_name = self.server.session.iter().flat_map(|session| &session.name);
        let reborrow = self.server.concurrency.is_some();
        let reborrow = reborrow.then(|| quote_spanned!(span=> &**));
        let known = self.model.options.library.item("Greeting", greeting);
        // An error about the greeting covers the whole expression.
        let get = quote_spanned!(end_of(greeting)=> .get());
        let value = quote_spanned!(start_of(greeting)=> #known(#greeting) #get);
        let message = encoder(&self.model.options.library, greeting, &value);
        Some(quote_spanned! {span=>
            const HAS_GREETING: bool = true;

            fn greeting<'exchange>(
                &'exchange self,
                peer: &'exchange #private::Peer,
                session: &'exchange mut Self::Session,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                use #private::GreetingFallback as _;
                #scope
                #(let #session_name = #reborrow session;)*
                ::core::option::Option::Some(#message)
            }
        })
    }

    pub(super) fn reject_with(&self) -> Option<TokenStream> {
        let path = self.model.options.reject_with.as_ref()?;
        let span = start_of(path);
        let private = self.model.options.library.module(span);
        let words = quote_spanned!(span=> #private::in_words(#path, rejection));
        let message = encoder(&self.model.options.library, path, &words);
        Some(quote_spanned! {span=>
            fn reject_with<'exchange>(
                &'exchange self,
                rejection: &'exchange #private::Rejection,
            ) -> ::core::option::Option<impl #private::Encode<Self::Format>> {
                ::core::option::Option::Some(#message)
            }
        })
    }

    /// Brings the handle for events into the scope of a session's expression that names it. For other expressions, the
    /// handle would only take memory for each connection. A state of this name hides the handle.
    fn push(&self, expression: &Expr) -> Option<TokenStream> {
        self.model.options.given(OptionName::Push)?;
        let push = public_name("push");
        let mut states = self.server.ty.fields.iter();
        let is_named = mentions_one_of(expression, std::slice::from_ref(&push))
            && states.all(|state| state.name != push);
        let (span, private) = (place_of(self.server.ty.item_name), &self.private);
        is_named.then(
            || quote_spanned!(span=> let #push = #private::ConnectionInfo::push::<Self>(info);),
        )
    }

    /// Brings the peer, which has the given value, and the states into the scope of the user's expression.
    fn scope(&self, value: &TokenStream) -> TokenStream {
        let span = place_of(self.server.ty.item_name);
        let peer = public_name("peer");
        let states = self.states();
        quote_spanned! {span=>
            let #peer = #value;
            #(#states)*
        }
    }

    /// Brings the states into the scope of the user's expression.
    fn states(&self) -> impl Iterator<Item = TokenStream> {
        let span = place_of(self.server.ty.item_name);
        self.server.ty.fields.iter().map(move |state| {
            let value = state_reference(state, span);
            let Field { name, ty } = state;
            quote_spanned!(span=> let #name: &(#ty) = #value;)
        })
    }
}
