//! Writes encoders: messages that are made when they are encoded.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};

use crate::{library::Library, spans::start_of};

/// Writes an encoder that evaluates `value` as it encodes, so that what the value borrows from its own
/// temporaries lives long enough. An error about it is reported at `written`.
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
