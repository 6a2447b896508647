//! The user's place with the macro's hygiene.
//!
//! Errors point at what the user wrote, while our local names stay out of the user's way. All of
//! one expansion shares one syntax context, so that `self` and our locals are found.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt as _, quote, quote_spanned};
use syn::spanned::Spanned as _;

/// The macro's hygiene at the first token of `tokens`.
pub(crate) fn at(tokens: &dyn ToTokens) -> Span {
    Span::mixed_site().located_at(tokens.span())
}

/// The macro's hygiene at the last token of `tokens`.
pub(crate) fn at_end(tokens: &dyn ToTokens) -> Span {
    let mut last = Span::call_site();
    for token in tokens.to_token_stream() {
        last = token.span();
    }
    Span::mixed_site().located_at(last)
}

/// The name of one of several.
pub(crate) fn numbered(name: &str, number: usize, span: Span) -> Ident {
    Ident::new(&format!("{name}_{number}"), span)
}

/// `krate::__private::item`, placed so that an error about it covers `place` from end to end.
pub(crate) fn private(krate: &TokenStream, item: &str, place: &dyn ToTokens) -> TokenStream {
    let start = at(place);
    let item = Ident::new(item, at_end(place));
    let path = respan(quote!(#krate::__private::), start);
    quote!(#path #item)
}

/// `ty: krate::__private::item,`, entirely at `place` and with the hygiene of the user, so that an
/// error about it covers `place` and does not mention the macro.
pub(crate) fn bound(
    ty: &dyn ToTokens,
    krate: &TokenStream,
    item: &str,
    place: &dyn ToTokens,
) -> TokenStream {
    let start = place.span();
    let item = Ident::new(item, start.located_at(at_end(place)));
    let ty = respan(ty.to_token_stream(), start);
    let path = respan(quote_spanned!(start=> : #krate::__private::), start);
    quote!(#ty #path #item,)
}

/// All of the items, one behind the other.
pub(crate) fn all<T: ToTokens>(items: &[T]) -> TokenStream {
    let mut tokens = TokenStream::new();
    for item in items {
        item.to_tokens(&mut tokens);
    }
    tokens
}

/// All of the items, each with a comma behind it.
pub(crate) fn list<T: ToTokens>(items: &[T]) -> TokenStream {
    let mut tokens = TokenStream::new();
    for item in items {
        tokens.extend(quote!(#item,));
    }
    tokens
}

/// Moves every token to `span`; each keeps its own hygiene.
pub(crate) fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let mut moved = TokenStream::new();
    for mut token in tokens {
        if let TokenTree::Group(group) = &token {
            let inner = respan(group.stream(), span);
            token = TokenTree::Group(Group::new(group.delimiter(), inner));
        }
        token.set_span(token.span().located_at(span));
        moved.append(token);
    }
    moved
}
