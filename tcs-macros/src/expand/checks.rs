//! Writes the checks that only the compiler can make: of the options against each other, and of the types of arguments.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;

use crate::{
    model::{
        Model, ModelItem,
        generics::param_idents,
        operations::{Argument, Operations},
        protocol_type::ProtocolType,
    },
    options::{Options, Side},
    spans::{Library, alias, start_of},
    syntax::{
        bare, is_value,
        lifetimes::{self, STATIC},
        mentions_word,
    },
};

/// The checks of a protocol's options that only the compiler can make.
///
/// The checks are constants beside the implementation, so that rustc evaluates them even if the program does not use
/// the protocol, with two exceptions: a constant cannot name the parameters of the type, and beside the checks of the
/// types that the protocol keeps, it would repeat an error about the format. These checks are in the body of a method,
/// and evaluated where a program uses the protocol.
#[derive(Default)]
pub(super) struct OptionChecks {
    pub(super) beside: Vec<TokenStream>,
    pub(super) in_use: Vec<TokenStream>,
}

impl OptionChecks {
    /// Writes the checks of a protocol, unless there is an error. `is_bounded` says that the types that the protocol
    /// keeps are checked.
    pub(super) fn of(model: &Model<'_>, ty: &ProtocolType<'_>, is_bounded: bool) -> Self {
        let mut written = Self::default();
        if !model.is_valid {
            return written;
        }
        let (options, library) = (model.options, &model.options.library);
        let protocol = |is_in_use| {
            if is_in_use {
                return quote!(Self);
            }
            // `'_` in a constant is `'static`, and the options are the same for all lifetimes.
            let (name, lifetimes) = (&ty.name, ty.generics.lifetimes().map(|_| quote!('_)));
            quote!(#name<#(#lifetimes),*>)
        };
        let is_generic = !param_idents(&ty.generics).is_empty();
        if let Some(path) = &options.reject_with {
            let error = library.item("reject_with_error", path);
            let protocol = protocol(is_generic);
            written.add(path, &quote!(#error::<#protocol>()), is_generic);
        }
        if let Some(upload) = upload_of(model) {
            let error = library.item("upload_error", upload);
            let protocol = protocol(is_generic);
            written.add(upload, &quote!(#error::<#protocol>()), is_generic);
        }
        if let Some(given) = options.framing.as_ref().or(options.format.as_ref()) {
            let is_in_use = is_generic || options.framing.is_none() && is_bounded;
            let error = pair_error(options, given, &protocol(is_in_use));
            written.add(given, &error, is_in_use);
        }
        written
    }

    /// Adds a check that reports an error at `option`, if the expression `error` evaluates to one.
    fn add(&mut self, option: &impl ToTokens, error: &TokenStream, is_in_use: bool) {
        let check = quote_spanned! {start_of(option)=>
            if let ::core::option::Option::Some(error) = #error {
                ::core::panic!("{}", error)
            }
        };
        if is_in_use {
            self.in_use.push(quote!(const { #check }));
        } else {
            self.beside.push(quote!(const _: () = #check;));
        }
    }
}

/// Writes the error if the framing and the format do not belong together, at `given`, which is one of them.
fn pair_error(options: &Options, given: &Type, protocol: &TokenStream) -> TokenStream {
    let (side, library) = (options.side, &options.library);
    let error = match side {
        Side::Server => library.item("server_error", given),
        Side::Client => library.item("client_error", given),
    };
    let span = start_of(given);
    // The types cannot be the same if one of them is a default.
    if options.framing.is_none() || options.format.is_none() {
        return quote_spanned!(span=> #error::<#protocol>(false));
    }
    let (trait_name, private) = (library.item(side.trait_name(), given), library.module(span));
    quote_spanned! {span=> {
        #[allow(unused_imports, reason = "it is for types that are not the same")]
        use #private::PairFallback as _;
        #error::<#protocol>(#private::Pair::<
            <#protocol as #trait_name>::Framing, <#protocol as #trait_name>::Format,
        >::IS_ONE_TYPE)
    }}
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

/// Writes the checks that no argument has a type that a function takes from the connection: any client could send a
/// value of it.
///
/// A constant cannot name the parameters of a protocol, so a generic protocol has no checks.
pub(super) fn extractor_checks(
    library: &Library,
    protocol: &ProtocolType<'_>,
    operations: &Operations<'_>,
) -> TokenStream {
    let mut checks = TokenStream::new();
    if !param_idents(&protocol.generics).is_empty() {
        return checks;
    }
    let protocol = &protocol.name;
    for operation in &operations.list {
        for Argument { name, ty, .. } in &operation.arguments {
            let is_data = is_value(ty) || matches!(bare(ty), Type::Reference(_));
            // An address may be data as well as the peer's address.
            if is_data || mentions_word(ty, "SocketAddr") {
                continue;
            }
            let ident = &operation.handler.function.sig.ident;
            let ty = lifetimes::unify(ty, STATIC);
            let (span, private) = (start_of(&ty), library.module(start_of(&ty)));
            let (declaration, path) = alias(ident, "__Argument", &ty);
            let text = format!(
                "the type of `{name}` is made of the connection, and a client would send it: write `#[context]` before `{name}`"
            );
            checks.extend(quote_spanned! {span=>
                const _: () = {
                    #[allow(unused_imports, reason = "it is for other types")]
                    use #private::ExtractorCheckFallback as _;
                    #declaration
                    if #private::ExtractorCheck::<#path, #protocol>::IS_EXTRACTOR {
                        ::core::panic!(#text)
                    }
                };
            });
        }
    }
    checks
}
