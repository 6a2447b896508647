//! Writes the types that options decide, and checks of the options against each other.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

use crate::{
    model::{Model, ModelItem, generics::param_idents, protocol_type::ProtocolType},
    options::{OptionName, Options, Side},
    spans::start_of,
};

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
    let private = options.library.private(span);
    Some(quote_spanned! {span=>
        const IS_EVENT: ::core::option::Option<fn(&[u8]) -> bool> =
            ::core::option::Option::Some(<#protocol as #private::Pushes>::is_push);
    })
}

fn type_or(given: Option<&Type>, default: &str, options: &Options, span: Span) -> TokenStream {
    let default = || {
        let (private, default) = (options.library.private(span), Ident::new(default, span));
        quote_spanned!(span=> #private::#default)
    };
    given.map_or_else(default, ToTokens::to_token_stream)
}

/// Writes the checks of a protocol's options that only the compiler can make. They are made where the protocol
/// is written, also if nobody uses it.
///
/// A constant cannot name the parameters of the type. With the checks of what the protocol keeps, it would
/// repeat an error about the format. Then [`checks_in_use`] has them.
pub(super) fn option_checks(
    model: &Model<'_>,
    ty: &ProtocolType<'_>,
    is_bounded: bool,
) -> Option<TokenStream> {
    let (options, name) = (model.options, &ty.name);
    if !model.is_valid || !param_idents(&ty.generics).is_empty() {
        return None;
    }
    // `'_` in a constant is `'static`, and the options are the same for all lifetimes.
    let lifetimes = ty.generics.lifetimes().map(|_| quote!('_));
    let protocol = quote!(#name<#(#lifetimes),*>);
    let [rejection, upload, pair] = checks(options, upload_of(model), &protocol);
    let pair = pair.filter(|_| options.framing.is_some() || !is_bounded);
    let checks = rejection.iter().chain(&upload).chain(&pair);
    Some(quote!(#(const _: () = #checks;)*))
}

/// Writes the checks that [`option_checks`] may lack, for the body of a method. They are made where a program uses the
/// protocol. `upload` is what [`upload_of`] returns.
pub(super) fn checks_in_use(
    options: &Options,
    ty: &ProtocolType<'_>,
    upload: Option<&Ident>,
) -> TokenStream {
    if options.framing.is_some() && param_idents(&ty.generics).is_empty() {
        return TokenStream::new();
    }
    let checks = checks(options, upload, &quote!(Self)).into_iter().flatten();
    quote!(#(const { #checks })*)
}

/// Writes the check of `reject_with`, that of the framing of a module with an upload, and the check that the framing and
/// the format belong together.
fn checks(
    options: &Options,
    upload: Option<&Ident>,
    protocol: &TokenStream,
) -> [Option<TokenStream>; 3] {
    let (side, library) = (options.side, &options.library);
    let rejection = options.reject_with.as_ref().map(|path| {
        let error = library.item("reject_with_error", path);
        check(path, &quote!(#error::<#protocol>()))
    });
    let upload = upload.map(|ident| {
        let error = library.item("upload_error", ident);
        check(ident, &quote!(#error::<#protocol>()))
    });
    let given = options.framing.as_ref().or(options.format.as_ref());
    let pair = given.map(|given| {
        let error = match side {
            Side::Server => library.item("server_error", given),
            Side::Client => library.item("client_error", given),
        };
        let trait_name = library.item(side.trait_name(), given);
        let private = library.private(start_of(given));
        let span = start_of(given);
        // No default is the same as something else.
        let error = if options.framing.is_some() && options.format.is_some() {
            quote_spanned! {span=> {
                #[allow(unused_imports, reason = "it is for types that are not the same")]
                use #private::OtherPair as _;
                #error::<#protocol>(#private::Pair::<
                    <#protocol as #trait_name>::Framing, <#protocol as #trait_name>::Format,
                >::IS_ONE_TYPE)
            }}
        } else {
            quote_spanned!(span=> #error::<#protocol>(false))
        };
        check(given, &error)
    });
    [rejection, upload, pair]
}

/// Returns the name of an operation that takes chunks, in a module with a framing.
pub(super) fn upload_of<'a>(model: &Model<'a>) -> Option<&'a Ident> {
    model.options.framing.as_ref()?;
    let ModelItem::Operations(operations) = &model.item else {
        return None;
    };
    let mut list = operations.list.iter();
    let upload = list.find(|operation| operation.takes_chunks())?;
    Some(&upload.handler.function.sig.ident)
}

/// Writes an expression that reports an error at `option`, if `error` evaluates to one.
fn check(option: &impl ToTokens, error: &TokenStream) -> TokenStream {
    quote_spanned! {start_of(option)=>
        if let ::core::option::Option::Some(error) = #error {
            ::core::panic!("{}", error)
        }
    }
}
