//! The user's place with the macro's hygiene.
//!
//! Errors point at what the user wrote, while our local names stay out of the user's way. All of
//! one expansion shares one syntax context, so that `self` and our locals are found.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Type, spanned::Spanned};

/// The macro's hygiene at the first token of `tokens`.
pub(crate) fn at(tokens: &(impl ToTokens + ?Sized)) -> Span {
    Span::mixed_site().located_at(tokens.span())
}

/// The macro's hygiene at the last token of `tokens`.
pub(crate) fn at_end(tokens: &impl ToTokens) -> Span {
    let last = tokens.to_token_stream().into_iter().last();
    Span::mixed_site().located_at(last.map_or_else(Span::call_site, |token| token.span()))
}

/// `krate::__private::item`, placed so that an error about it covers `place` from end to end.
pub(crate) fn private(krate: &TokenStream, item: &str, place: &impl ToTokens) -> TokenStream {
    let start = at(place);
    let item = Ident::new(item, at_end(place));
    let path = respan(quote!(#krate::__private::), start);
    quote!(#path #item)
}

/// `ty: krate::__private::item`, entirely at `place` and with the hygiene of the user, so that an
/// error about it covers `place` and does not mention the macro.
pub(crate) fn bound(
    ty: &Type,
    krate: &TokenStream,
    item: &str,
    place: &(impl ToTokens + Spanned),
) -> TokenStream {
    let start = place.span();
    let item = Ident::new(item, start.located_at(at_end(place)));
    let ty = respan(ty.to_token_stream(), start);
    let path = respan(quote_spanned!(start=> : #krate::__private::), start);
    quote!(#ty #path #item)
}

/// Moves every token to `span`; each keeps its own hygiene.
pub(crate) fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            if let TokenTree::Group(group) = &token {
                let inner = respan(group.stream(), span);
                token = TokenTree::Group(Group::new(group.delimiter(), inner));
            }
            token.set_span(token.span().located_at(span));
            token
        })
        .collect()
}
