//! What is checked where a protocol is written, also if nobody makes use of it.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Generics;

use crate::{
    args::Args,
    generics,
    spans::{at, respan},
};

/// Checks the options against each other, as far as only types can tell.
///
/// A constant of the module cannot name the parameters of the type; the library checks those
/// protocols where they are used. `framing_of` names the framing by the type of the protocol.
pub(crate) fn checks(args: &Args, generics: &Generics, framing_of: &TokenStream) -> TokenStream {
    if !generics::names(generics).is_empty() {
        return TokenStream::new();
    }
    let mut tokens = TokenStream::new();
    // The compiler evaluates a block in a type wherever it stands, and says what is wrong each time.
    let framing = match &args.framing {
        Some(framing) if has_block(framing.to_token_stream()) => Some(framing_of.clone()),
        framing => framing.as_ref().map(ToTokens::to_token_stream),
    };
    let format = args.format.as_ref().map(ToTokens::to_token_stream);
    if let Some(path) = &args.refuse {
        let span = at(path);
        let private = private(args, span);
        let framing = or_default(framing.as_ref(), &private, "LengthPrefixed", span);
        tokens.extend(quote_spanned!(span=> const _: () = #private::needs_words::<#framing>();));
    }
    if let Some(given) = args.format.as_ref().or(args.framing.as_ref()) {
        let span = at(given);
        let private = private(args, span);
        let framing = or_default(framing.as_ref(), &private, "LengthPrefixed", span);
        let format = or_default(format.as_ref(), &private, "Plain", span);
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

fn private(args: &Args, span: Span) -> TokenStream {
    let krate = args.krate();
    respan(quote!(#krate::__private), span)
}

/// Tells whether an expression in braces stands anywhere in a type.
fn has_block(tokens: TokenStream) -> bool {
    for token in tokens {
        if let TokenTree::Group(group) = token
            && (group.delimiter() == Delimiter::Brace || has_block(group.stream()))
        {
            return true;
        }
    }
    false
}

fn or_default(
    given: Option<&TokenStream>,
    private: &TokenStream,
    name: &str,
    span: Span,
) -> TokenStream {
    if let Some(given) = given {
        return given.clone();
    }
    let name = Ident::new(name, span);
    quote_spanned!(span=> #private::#name)
}
