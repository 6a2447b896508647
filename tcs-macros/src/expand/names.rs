//! The names of generated types and variables.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::Lifetime;

use crate::spans::start_of;

/// Returns a name that the user's code can use.
pub(super) fn public_name(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// A generated type, which has a lifetime if it borrows.
pub(super) struct GeneratedType {
    pub(super) ident: Ident,
    pub(super) borrows: bool,
}

impl GeneratedType {
    /// Returns the type with this lifetime, if it has one.
    pub(super) fn with(&self, lifetime: &str) -> TokenStream {
        let (ident, span) = (&self.ident, Span::mixed_site());
        let generics = self.borrows.then(|| {
            let lifetime = Lifetime::new(lifetime, span);
            quote_spanned!(span=> <#lifetime>)
        });
        quote_spanned!(span=> #ident #generics)
    }
}

/// Returns the variable of an argument, which hides no function that has the argument's name.
pub(super) fn variable(argument: &Ident) -> Ident {
    format_ident!("argument_{}", argument, span = start_of(argument))
}
