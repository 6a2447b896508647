//! The paths by which generated code names the library.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{Path, spanned::Spanned as _, token};

use crate::spans::{end_of, start_of};

/// The path of the library: `::tcs`, unless the option `crate` says otherwise.
#[derive(Default)]
pub(crate) struct Library(pub(crate) Option<Path>);

/// The path of the module of the library that expansions use, or of an item in this module.
///
/// `to_tokens` writes token after token. A stored stream of tokens would cost a call into the compiler at each use.
pub(crate) struct LibraryPath<'a> {
    library: Option<&'a Path>,
    span: Span,
    item: Option<Ident>,
}

impl Library {
    /// Returns the module that expansions use; tokens that the user did not write are at `span`.
    pub(crate) const fn module(&self, span: Span) -> LibraryPath<'_> {
        LibraryPath {
            library: self.0.as_ref(),
            span,
            item: None,
        }
    }

    /// Returns an item of that module, at `span`.
    pub(crate) fn item_at(&self, item: &str, span: Span) -> LibraryPath<'_> {
        self.path(item, span, span)
    }

    /// Returns an item of that module, placed so that an error about the item covers all of `written`.
    pub(crate) fn item(&self, item: &str, written: &(impl ToTokens + ?Sized)) -> LibraryPath<'_> {
        self.path(item, start_of(written), end_of(written))
    }

    /// Returns `ty: item,`, placed so that an error about this bound covers the type and does not mention the macro.
    pub(crate) fn bound(&self, ty: &impl ToTokens, item: &str) -> TokenStream {
        let span = ty.span();
        let path = self.path(item, span, span.located_at(end_of(ty)));
        quote_spanned!(span=> #ty: #path,)
    }

    fn path(&self, item: &str, start: Span, end: Span) -> LibraryPath<'_> {
        // rustc underlines a path from its first token to its last.
        let item = Some(Ident::new(item, end));
        let library = self.0.as_ref();
        LibraryPath {
            library,
            span: start,
            item,
        }
    }
}

impl ToTokens for LibraryPath<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let separator = token::PathSep {
            spans: [self.span; 2],
        };
        match self.library {
            Some(path) if self.item.is_some() => {
                tokens.extend(respan(path.to_token_stream(), self.span));
            }
            Some(path) => path.to_tokens(tokens),
            None => {
                separator.to_tokens(tokens);
                Ident::new("tcs", self.span).to_tokens(tokens);
            }
        }
        separator.to_tokens(tokens);
        Ident::new("__private", self.span).to_tokens(tokens);
        if let Some(item) = &self.item {
            separator.to_tokens(tokens);
            item.to_tokens(tokens);
        }
    }
}

/// Moves every token to `span`, with its own hygiene.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        // A path in the option `crate` has the user's names, which the macro's hygiene would not find.
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}
