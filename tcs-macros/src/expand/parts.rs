//! Small pieces of generated code that several writers need.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::{Expr, Lifetime, Type};

use crate::{aim::at, args::Args};

/// An identifier that the user's code can name.
pub(super) fn generated(name: &str) -> Ident {
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

/// A variable for an argument, which hides no function that has the name of the argument.
pub(super) fn variable(argument: &Ident) -> Ident {
    format_ident!("argument_{}", argument, span = at(argument))
}

/// The given type, or else the default.
pub(super) fn or_else(given: Option<&Type>, default: TokenStream) -> TokenStream {
    given.map_or(default, ToTokens::to_token_stream)
}

/// The framing of a server or of operations.
pub(super) fn framing(args: &Args, span: Span) -> TokenStream {
    let private = args.library.at(span);
    let default = quote_spanned!(span=> #private::LengthPrefixed);
    or_else(args.framing.as_ref(), default)
}

/// An encoder that evaluates the expression as it encodes, so that what the expression borrows from
/// its own temporaries lives long enough.
pub(super) fn encoder(args: &Args, expression: &Expr) -> TokenStream {
    let span = at(expression);
    let private = args.library.at(span);
    let encode = args.library.item("Encode", expression);
    quote_spanned! {span=>
        #private::encoder(move |out| {
            #private::Encoded(#encode::<Self::Format>::encode(#expression, out))
        })
    }
}

/// The lints that generated code is exempt from.
pub(super) fn allowance(span: Span) -> TokenStream {
    quote_spanned! {span=>
        #[allow(
            deprecated, unused_variables, clippy::all, clippy::pedantic, clippy::nursery,
            reason = "it is generated"
        )]
    }
}
