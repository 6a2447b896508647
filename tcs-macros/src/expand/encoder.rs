//! Writes encoders, which make a message when it is encoded.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};

use crate::{library::Library, spans::start_of};

/// Writes an encoder that evaluates `value` as it encodes, so that the temporaries from which the value borrows live
/// long enough. Errors about the value are at `written`.
pub(super) fn encoder(
    library: &Library,
    written: &impl ToTokens,
    value: &impl ToTokens,
) -> TokenStream {
    let span = start_of(written);
    let (private, encode) = (library.module(span), library.item("Encode", written));
    quote_spanned! {span=>
        #private::encoder(move |out| #private::Encoded(
            #encode::<Self::Format>::encode(#value, out)
        ))
    }
}
