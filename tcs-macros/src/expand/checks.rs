//! Writes what is checked where a protocol is written, also if nobody makes use of it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::Generics;

use crate::{aim::at, args::Args, generics, types::has_block};

/// Checks the options against each other, as far as only types can tell.
///
/// A constant of the module cannot name the parameters of the type; the library checks those
/// protocols where they are used. `framing_of` names the framing by the type of the protocol.
pub(super) fn checks(args: &Args, generics: &Generics, framing_of: &TokenStream) -> TokenStream {
    let mut tokens = TokenStream::new();
    if !generics::names(generics).is_empty() {
        return tokens;
    }
    // The compiler evaluates a block in a type wherever it stands, and says what is wrong each time.
    let framing = args.framing.as_ref().map(|framing| {
        if has_block(framing) {
            framing_of.clone()
        } else {
            framing.to_token_stream()
        }
    });
    let or_default = |given: Option<TokenStream>, name: &str, place: &dyn ToTokens| {
        given.unwrap_or_else(|| args.library.item(name, place))
    };
    if let Some(path) = &args.reject_with {
        let private = args.library.at(at(path));
        let framing = or_default(framing.clone(), "LengthPrefixed", path);
        tokens
            .extend(quote_spanned!(at(path)=> const _: () = #private::needs_words::<#framing>();));
    }
    if let Some(given) = args.format.as_ref().or(args.framing.as_ref()) {
        let span = at(given);
        let private = args.library.at(span);
        let format = args.format.as_ref().map(ToTokens::to_token_stream);
        let framing = or_default(framing, "LengthPrefixed", given);
        let format = or_default(format, "Plain", given);
        tokens.extend(quote_spanned! {span=>
            const _: () = {
                #[allow(unused_imports, reason = "they are used where the types do not answer")]
                use #private::{Differs as _, IsNone as _};
                #private::fits(
                    #private::Asked::<#framing>::IS_CODEC,
                    #private::Asked::<#format>::IS_CODEC,
                    #private::Pair::<#framing, #format>::SAME,
                )
            };
        });
    }
    tokens
}

/// Has the compiler judge the parameters of a framing where it is named, if no parameter of the type
/// can occur in them.
///
/// `mistake` is a function that finds it by the type, so that what is not a framing is one error.
pub(super) fn framing_check(
    args: &Args,
    generics: &Generics,
    mistake: &TokenStream,
) -> Option<TokenStream> {
    let is_alone = generics.params.is_empty();
    let framing = args.framing.as_ref().filter(|_| is_alone)?;
    Some(quote_spanned! {at(framing)=>
        const _: () = if let ::core::option::Option::Some(mistake) = #mistake() {
            ::core::panic!("{}", mistake)
        };
    })
}
