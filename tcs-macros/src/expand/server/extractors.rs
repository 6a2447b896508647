//! Writes the checks that the type of an argument is not an extractor.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::Type;

use crate::{
    library::Library,
    model::{
        generics::param_idents,
        operations::{Argument, Operations},
        protocol_type::ProtocolType,
    },
    spans::{alias, start_of},
    syntax::{
        bare, is_value,
        lifetimes::{self, STATIC},
        mentions_word,
    },
};

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
                    use #private::NoExtractor as _;
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
