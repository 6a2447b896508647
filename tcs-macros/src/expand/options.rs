//! Writes the types that options decide, and checks of the options against each other.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

use super::trait_impl::TraitImpl;
use crate::{args::Side, library::Library, model::generics::names, spans::start_of};

/// Returns the type that an option gives, or else the library's type of this name, at `span`.
pub(super) fn type_or(
    given: Option<&Type>,
    default: &str,
    library: &Library,
    span: Span,
) -> TokenStream {
    let default = || {
        let (private, default) = (library.private(span), Ident::new(default, span));
        quote_spanned!(span=> #private::#default)
    };
    given.map_or_else(default, ToTokens::to_token_stream)
}

/// Checks the options of a protocol, as far as only the compiler can. They are checked where the protocol is
/// written, also if nobody uses it.
///
/// A constant cannot name the parameters of the type, and would repeat an error about a type that the
/// protocol keeps. The library checks such a protocol where it is used.
pub(super) fn option_checks(implementation: &TraitImpl<'_>) -> Option<TokenStream> {
    let TraitImpl { model, ty, .. } = implementation;
    let (args, name) = (model.args, &ty.name);
    if !model.is_valid || !names(&ty.generics).is_empty() {
        return None;
    }
    // `'_` in a constant is `'static`, and the options are the same for all lifetimes.
    let lifetimes = ty.generics.lifetimes().map(|_| quote!('_));
    let protocol = quote!(#name<#(#lifetimes),*>);
    let rejection = args.reject_with.as_ref().map(|path| {
        let mistake = args.library.item("reject_with_mistake", path);
        check(path, &quote!(#mistake::<#protocol>()))
    });
    let format = args.format.as_ref();
    let format = format.filter(|_| implementation.checks.is_empty());
    let given = args.framing.as_ref().or(format);
    let pair = given.map(|given| check_pair(args.side, &args.library, &protocol, given));
    Some(quote!(#rejection #pair))
}

/// Checks that the framing and the format belong together. A mistake is reported at `given`.
fn check_pair(side: Side, library: &Library, protocol: &TokenStream, given: &Type) -> TokenStream {
    let mistake = match side {
        Side::Server => library.item("server_mistake", given),
        Side::Client => library.item("client_mistake", given),
    };
    let trait_name = library.item(side.trait_name(), given);
    let private = library.private(start_of(given));
    let mistake = quote_spanned! {start_of(given)=> {
        #[allow(unused_imports, reason = "it is for types that are not the same")]
        use #private::OtherPair as _;
        #mistake::<#protocol>(#private::Pair::<
            <#protocol as #trait_name>::Framing, <#protocol as #trait_name>::Format,
        >::IS_ONE_TYPE)
    }};
    check(given, &mistake)
}

/// Reports the mistake that an expression evaluates to, if it does, at `option`.
fn check(option: &impl ToTokens, mistake: &TokenStream) -> TokenStream {
    quote_spanned! {start_of(option)=>
        const _: () = if let ::core::option::Option::Some(mistake) = #mistake {
            ::core::panic!("{}", mistake)
        };
    }
}
