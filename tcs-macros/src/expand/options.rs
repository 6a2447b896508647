//! Writes the types that the options select.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Type;

use crate::options::{OptionName, Options};

/// Returns the framing that the options give, or the default at `span`.
pub(super) fn framing(options: &Options, span: Span) -> TokenStream {
    type_or(options.framing.as_ref(), "LengthPrefixed", options, span)
}

/// Returns the format that the options give, or the default at `span`.
pub(super) fn format(options: &Options, span: Span) -> TokenStream {
    type_or(options.format.as_ref(), "Plain", options, span)
}

/// Writes the constant by which clients tell events from replies, if the options say how. `protocol` is a type with
/// `Pushes`.
pub(super) fn is_event(
    options: &Options,
    protocol: &TokenStream,
    span: Span,
) -> Option<TokenStream> {
    options.given(OptionName::Push)?;
    options.given(OptionName::IsPush)?;
    let private = options.library.module(span);
    Some(quote_spanned! {span=>
        const IS_EVENT: ::core::option::Option<fn(&[u8]) -> bool> =
            ::core::option::Option::Some(<#protocol as #private::Pushes>::is_push);
    })
}

fn type_or(given: Option<&Type>, default: &str, options: &Options, span: Span) -> TokenStream {
    let default = || {
        let (private, default) = (options.library.module(span), Ident::new(default, span));
        quote_spanned!(span=> #private::#default)
    };
    given.map_or_else(default, ToTokens::to_token_stream)
}
