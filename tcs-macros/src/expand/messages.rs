//! Writes the enums of requests and replies of all operations, and the contract that names them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Generics, ext::IdentExt as _};

use super::{
    message_serde,
    names::{public_name, reply_type, request_type},
    options::type_or,
    protocol_type::{allowance, attrs_of, debug},
};
use crate::{
    args::{Args, OptionName},
    model::{
        Field,
        operations::{Operation, Operations},
    },
    spans::{alias, start_of},
    syntax::lifetimes::{ELIDED, EXCHANGE, MESSAGE, STATIC},
};

/// Writes the enums, what they implement, and the contract.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let list = &operations.list;
    let (enums, debug) = (enums(list), debug_of_enums(list));
    let contract = contract(args, operations);
    let implementations = message_serde::expand(list, &args.library);
    let span = Span::mixed_site();
    let (private, allowance) = (args.library.private(span), allowance(span));
    quote_spanned! {span=>
        #enums
        #debug
        #contract

        #private::operations! { @check }
        #private::operations! {
            #[allow(unreachable_patterns, unused_mut, reason = "an operation may have no argument")]
            #allowance
            const _: () = {
                use #private::serde as __serde;
                #implementations
            };
        }
    }
}

/// Returns an associated type of the contract, which is what the options say.
pub(super) fn contract_item(args: &Args, item: &str) -> TokenStream {
    let span = Span::mixed_site();
    let (contract, private) = (public_name("Contract"), args.library.private(span));
    let item = Ident::new(item, span);
    quote_spanned!(span=> <#contract as #private::Contract>::#item)
}

/// Returns documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let docs = format!(" Calls `{}`.", operation.name);
    attrs_of(operation.function, &docs)
}

/// Declares the enums.
fn enums(list: &[Operation<'_>]) -> TokenStream {
    let span = Span::mixed_site();
    let requests = list.iter().map(|operation| {
        let (attrs, variant) = (attrs(operation), &operation.variant);
        let fields = operation.arguments.iter().map(|Field { name, ty }| {
            let text = format!(" The argument `{}`.", name.unraw());
            quote_spanned!(span=> #[doc = #text] #name: #ty)
        });
        quote_spanned!(span=> #attrs #variant { #(#fields),* })
    });
    let replies = list.iter().map(|operation| {
        let text = format!(" What `{}` returned.", operation.name);
        let Operation { variant, reply, .. } = operation;
        quote_spanned!(span=> #[doc = #text] #variant(#reply))
    });
    let (request, reply) = (request_type(list, MESSAGE), reply_type(list, MESSAGE));
    // The enums are `pub` like the operations, so a private type in one is an error, not a warning.
    let allowed = quote_spanned! {span=>
        #[allow(
            deprecated, unreachable_pub, clippy::exhaustive_enums, clippy::large_enum_variant,
            variant_size_differences, reason = "their shape follows the signatures"
        )]
        #[deny(private_interfaces, reason = "whoever sees the operation sees its messages")]
    };
    quote_spanned! {span=>
        /// A request: an operation with its arguments.
        #allowed
        pub enum #request { #(#requests),* }

        /// A reply: what the operation of the same name returned.
        #allowed
        pub enum #reply { #(#replies),* }
    }
}

/// Shows the operation of a message and nothing of its values, which may be secret or have no `Debug`.
fn debug_of_enums(list: &[Operation<'_>]) -> TokenStream {
    let span = Span::mixed_site();
    let variants = list.iter().map(|operation| &operation.variant);
    let names = list.iter().map(|operation| &operation.name);
    let shown = quote_spanned!(span=> match *self { #(Self::#variants { .. } => #names),* });
    let types = [request_type(list, ELIDED), reply_type(list, ELIDED)];
    let debug = types.map(|ty| debug(&ty, &Generics::default(), &shown));
    quote_spanned! {span=>
        #[allow(deprecated, unreachable_code, reason = "one may be, or there may be none")]
        const _: () = {
            #(#debug)*
        };
    }
}

/// Declares the contract. It is the one place that names the types of the options.
///
/// The block imports what is around the module. So a name in an option means what it means there, where
/// the attribute is, or else what it means in the module. All other names begin with `self`, so that they
/// are not those around it.
fn contract(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = args.library.private(span);
    let contract = public_name("Contract");
    let framing = type_or(args.framing.as_ref(), "LengthPrefixed", &args.library, span);
    let (check, format) = format(args, operations);
    let list = &operations.list;
    let (request, reply) = (request_type(list, EXCHANGE), reply_type(list, EXCHANGE));
    let has_greeting = args.given(OptionName::Greeting).is_some();
    let allowance = allowance(span);
    quote_spanned! {span=>
        /// The messages of all operations: from which [`Client`] is derived.
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
        pub enum #contract {}

        #private::operations! {
            #allowance
            const _: () = {
                #[allow(unused_imports, reason = "the options may need nothing of it")]
                use super::*;
                #check

                #[automatically_derived]
                impl #private::Contract for self::#contract {
                    type Framing = #framing;
                    type Format = #format;
                    type Request<'exchange> = self::#request;
                    type Reply<'exchange> = self::#reply;
                    const HAS_GREETING: bool = #has_greeting;
                }
            };
        }
    }
}

/// Writes the format, and a check that it carries operations. Instead of one that is missing or carries none,
/// it is `NoFormat`, in which any type of serde is a message. So there is one error about it.
fn format(args: &Args, operations: &Operations<'_>) -> (Option<TokenStream>, TokenStream) {
    let (list, module_name) = (&operations.list, &operations.module.ident);
    let Some(format) = &args.format else {
        return (None, args.library.item("NoFormat", module_name));
    };
    let private = args.library.private(start_of(format));
    let (declaration, path) = alias(module_name, "__Format", format);
    let (request, reply) = (request_type(list, STATIC), reply_type(list, STATIC));
    let assert_format = args.library.item("assert_operations_format", format);
    let messages = quote_spanned!(start_of(format)=> self::#request, self::#reply);
    let check = quote_spanned! {start_of(format)=>
        #[allow(unused_imports, reason = "it is for formats that are not fit")]
        use #private::UnfitFormat as _;
        #declaration
        const _: fn() = #assert_format::<#path, #messages>;
    };
    let format = quote_spanned! {start_of(format)=>
        <#private::Choice<
            #path, { #private::FormatCheck::<#path, #messages>::IS_FIT }
        > as #private::ChosenFormat>::Format
    };
    (Some(check), format)
}
