//! The paths by which generated code names the library.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use crate::spans::{end_of, start_of};

/// The path of the library: `::tcs`, unless the option `crate` says otherwise.
#[derive(Default)]
pub(crate) struct Library(pub(crate) Option<Path>);

impl Library {
    /// Returns the module that expansions use; tokens that the user did not write are at `span`.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        match &self.0 {
            None => quote_spanned!(span=> ::tcs::__private),
            Some(path) => quote_spanned!(span=> #path::__private),
        }
    }

    /// Returns an item of that module, placed so that an error about it covers all of `written`.
    pub(crate) fn item(&self, item: &str, written: &(impl ToTokens + ?Sized)) -> TokenStream {
        self.path(item, start_of(written), end_of(written))
    }

    /// Returns `ty: item,`, placed so that an error about it covers the type and does not mention the
    /// macro.
    pub(crate) fn bound(&self, ty: &impl ToTokens, item: &str) -> TokenStream {
        let span = ty.span();
        let path = self.path(item, span, span.located_at(end_of(ty)));
        quote_spanned!(span=> #ty: #path,)
    }

    fn path(&self, item: &str, start: Span, end: Span) -> TokenStream {
        // rustc underlines a path from its first token to its last.
        let module = respan(self.private(start), start);
        let item = Ident::new(item, end);
        quote_spanned!(start=> #module::#item)
    }
}

/// Moves every token to `span`; each keeps its own hygiene.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        // A path of the option `crate` has names of the user's, which the macro's hygiene would not find.
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}
