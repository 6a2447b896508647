//! Writes checks of the options against each other, which only the compiler can make. They are made where
//! the protocol is written, also if nobody uses it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

use super::requirements::Requirements;
use crate::{
    aim::at,
    args::Side,
    model::{generics::names, protocol_type::ProtocolType},
};

/// Checks the options of a protocol.
///
/// A constant cannot name the parameters of the type, and would repeat an error about a type that the
/// protocol keeps. The library checks such a protocol where it is used.
pub(super) fn option_checks(
    ty: &ProtocolType<'_>,
    requirements: &Requirements<'_>,
) -> Option<TokenStream> {
    let (args, name) = (ty.args, &ty.name);
    if !ty.is_valid || !names(&ty.generics).is_empty() {
        return None;
    }
    // `'_` in a constant is `'static`, and the options are the same for all lifetimes.
    let lifetimes = ty.generics.lifetimes().map(|_| quote!('_));
    let protocol = quote!(#name<#(#lifetimes),*>);
    let rejection = args.reject_with.as_ref().map(|path| {
        let mistake = args.library.item("reject_with_mistake", path);
        check(path, &quote!(#mistake::<#protocol>()))
    });
    let format = args
        .format
        .as_ref()
        .filter(|_| requirements.checks.is_empty());
    let given = args.framing.as_ref().or(format);
    let pair = given.map(|given| check_pair(ty, &protocol, given));
    Some(quote!(#rejection #pair))
}

/// Checks that the framing and the format belong together.
fn check_pair(ty: &ProtocolType<'_>, protocol: &TokenStream, given: &Type) -> TokenStream {
    let (side, library) = (ty.args.side, &ty.args.library);
    let mistake = match side {
        Side::Server => library.item("server_mistake", given),
        Side::Client => library.item("client_mistake", given),
    };
    let trait_name = library.item(side.trait_name(), given);
    let private = ty.private(at(given));
    let mistake = quote_spanned! {at(given)=> {
        #[allow(unused_imports, reason = "it is for types that are not the same")]
        use #private::OtherPair as _;
        #mistake::<#protocol>(#private::Pair::<
            <#protocol as #trait_name>::Framing, <#protocol as #trait_name>::Format,
        >::IS_ONE_TYPE)
    }};
    check(given, &mistake)
}

/// Reports the mistake that an expression evaluates to, if it does.
fn check(place: &impl ToTokens, mistake: &TokenStream) -> TokenStream {
    quote_spanned! {at(place)=>
        const _: () = if let ::core::option::Option::Some(mistake) = #mistake {
            ::core::panic!("{}", mistake)
        };
    }
}
