//! Writes the types that the options select, and checks of the options against each other.

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

/// The checks of a protocol's options that only the compiler can make.
///
/// The checks are constants beside the implementation, so that rustc evaluates them even if the program does not use
/// the protocol, with two exceptions: a constant cannot name the parameters of the type, and beside the checks of the
/// types that the protocol keeps, it would repeat an error about the format. These checks are in the body of a method,
/// and evaluated where a program uses the protocol.
#[derive(Default)]
pub(super) struct OptionChecks {
    pub(super) beside: TokenStream,
    pub(super) in_use: TokenStream,
}

impl OptionChecks {
    /// Writes the checks of a protocol, unless there is an error. `is_bounded` says that the types that the protocol
    /// keeps are checked.
    pub(super) fn of(model: &Model<'_>, ty: &ProtocolType<'_>, is_bounded: bool) -> Self {
        let mut written = Self::default();
        if !model.is_valid {
            return written;
        }
        let options = model.options;
        let protocol = |is_in_use| {
            if is_in_use {
                return quote!(Self);
            }
            // `'_` in a constant is `'static`, and the options are the same for all lifetimes.
            let (name, lifetimes) = (&ty.name, ty.generics.lifetimes().map(|_| quote!('_)));
            quote!(#name<#(#lifetimes),*>)
        };
        let is_generic = !param_idents(&ty.generics).is_empty();
        let checks = [
            rejection_check(options, &protocol(is_generic)),
            upload_check(model, &protocol(is_generic)),
        ];
        written.add(checks, is_generic);
        let is_in_use = is_generic || options.framing.is_none() && is_bounded;
        written.add([pair_check(options, &protocol(is_in_use))], is_in_use);
        written
    }

    fn add(&mut self, checks: impl IntoIterator<Item = Option<TokenStream>>, is_in_use: bool) {
        for check in checks.into_iter().flatten() {
            if is_in_use {
                self.in_use.extend(quote!(const { #check }));
            } else {
                self.beside.extend(quote!(const _: () = #check;));
            }
        }
    }
}

/// Writes the check of `reject_with`.
fn rejection_check(options: &Options, protocol: &TokenStream) -> Option<TokenStream> {
    let path = options.reject_with.as_ref()?;
    let error = options.library.item("reject_with_error", path);
    Some(check(path, &quote!(#error::<#protocol>())))
}

/// Writes the check of the framing of a module with an upload.
fn upload_check(model: &Model<'_>, protocol: &TokenStream) -> Option<TokenStream> {
    let ident = upload_of(model)?;
    let error = model.options.library.item("upload_error", ident);
    Some(check(ident, &quote!(#error::<#protocol>())))
}

/// Writes the check that the framing and the format belong together.
fn pair_check(options: &Options, protocol: &TokenStream) -> Option<TokenStream> {
    let (side, library) = (options.side, &options.library);
    let given = options.framing.as_ref().or(options.format.as_ref())?;
    let error = match side {
        Side::Server => library.item("server_error", given),
        Side::Client => library.item("client_error", given),
    };
    let trait_name = library.item(side.trait_name(), given);
    let span = start_of(given);
    let private = library.module(span);
    // The types cannot be the same if one of them is a default.
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
    Some(check(given, &error))
}

/// Returns the name of an operation that takes chunks, in a module with a framing.
fn upload_of<'a>(model: &Model<'a>) -> Option<&'a Ident> {
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
