//! Aims errors: generated tokens stand at the user's place, with the macro's hygiene.
//!
//! So errors point at what the user wrote, while our local names stay out of the user's way. All of
//! one expansion shares one syntax context, so that `self` and our locals are found.
//!
//! rustc says an error once if it is found twice with everything equal: the message, the notes, the
//! suggestions, and all spans *with their syntax context*. What is generated from a mistake is
//! therefore not moved elsewhere or left out, but made to say the same:
//!
//! - A user's type that is repeated keeps its tokens and their spans. A type that is not found is then
//!   one error, wherever it stands.
//! - For a type that is not found, rustc suggests a type parameter after the token before the generics of
//!   the item. `impl` and `new` are therefore twins ([`twin`]) of the function's name: what is suggested
//!   for the implementation is then what is suggested for the function. A type inside `f::<…>` has another
//!   suggestion; it gets an [`alias`], declared at the function's name.
//! - A trait that a type must have is named the same way in each place, up to the names of lifetimes,
//!   and from the type's first token to its last ([`Library::item`]). It is a trait of the library that
//!   stands for all bounds, so that one error says it instead of one for each of them, and that says in
//!   `on_unimplemented` what to write.
//! - A bound on the implementation ([`Library::bound`]) is one error at the type, while everything that
//!   follows from it is taken as given. It has the user's hygiene: it does not mention the macro.
//! - "The future is not `Send`" is told where the future becomes an argument of the library's `send`, if
//!   that call has one span and one context. In an `async` block of several functions it would be told
//!   at the block.
//! - Constants are checked once where they are named by a type that was written once. A block in a type is
//!   evaluated wherever the type stands.
//! - A lint is heard only at a span of the user.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{Path, Type, spanned::Spanned as _};

/// The macro's hygiene at the first token of `tokens`.
pub(crate) fn at(tokens: &(impl ToTokens + ?Sized)) -> Span {
    Span::mixed_site().located_at(tokens.span())
}

/// The macro's hygiene at the last token of `tokens`.
pub(crate) fn at_end(tokens: &(impl ToTokens + ?Sized)) -> Span {
    let last = tokens.to_token_stream().into_iter().last();
    Span::mixed_site().located_at(last.map_or_else(Span::call_site, |token| token.span()))
}

/// A word of ours at the place of a name of the user's, with the user's hygiene.
pub(crate) fn twin(word: &str, name: &Ident) -> Ident {
    Ident::new(word, name.span())
}

/// The name of one of several.
pub(crate) fn numbered(name: &str, number: usize, span: Span) -> Ident {
    Ident::new(&format!("{name}_{number}"), span)
}

/// Moves every token to `span`; each keeps its own hygiene.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}

/// Where the library is: at `::tcs`, unless the option `crate` says otherwise.
#[derive(Default)]
pub(crate) struct Library(pub(crate) Option<Path>);

impl Library {
    /// The module with what expansions name; what was not written is at `span`.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        match &self.0 {
            None => quote_spanned!(span=> ::tcs::__private),
            Some(path) => quote_spanned!(span=> #path::__private),
        }
    }

    /// An item of that module, placed so that an error about it covers `place` from end to end.
    pub(crate) fn item(&self, item: &str, place: &(impl ToTokens + ?Sized)) -> TokenStream {
        let span = at(place);
        let module = respan(self.at(span), span);
        let item = Ident::new(item, at_end(place));
        quote_spanned!(span=> #module::#item)
    }

    /// `ty: item,`, placed so that an error about it covers the type and does not mention the macro.
    pub(crate) fn bound(&self, ty: &impl ToTokens, item: &str) -> TokenStream {
        let span = ty.span();
        let module = respan(self.at(span), span);
        let item = Ident::new(item, span.located_at(at_end(ty)));
        quote_spanned!(span=> #ty: #module::#item,)
    }
}

/// Declares another name for a type without parameters and lifetimes, which is then written once;
/// returns the declaration and the name, which covers the type from end to end.
///
/// What rustc suggests for a type that is not found is the same in the declaration as in the function
/// at `place`, whose name the alias has its span from.
pub(crate) fn alias(place: &Ident, name: &str, ty: &Type) -> [TokenStream; 2] {
    let (declared, used) = (twin(name, place), Ident::new(name, at(ty)));
    let brackets = quote_spanned!(at_end(ty)=> <>);
    [
        quote_spanned!(at(ty)=> type #declared = #ty;),
        quote_spanned!(at(ty)=> #used #brackets),
    ]
}
