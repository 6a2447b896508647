//! Writes the enums of requests and replies of all operations, and the contract that names them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{Generics, ext::IdentExt as _};

use super::{
    message_serde,
    names::{GeneratedType, public_name, variable},
    options::type_or,
    protocol_type::{allowance, attrs_of, debug},
};
use crate::{
    args::{Args, OptionName},
    model::{
        Field,
        operations::{Operation, Operations},
    },
    spans::{Alias, start_of},
    syntax::lifetimes::{self, ELIDED, EXCHANGE, MESSAGE, STATIC},
};

/// The types of the enums.
pub(super) struct MessageTypes {
    pub(super) request: GeneratedType,
    pub(super) reply: GeneratedType,
}

/// Writes the enums, what they implement, and the contract.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let list = &operations.list;
    let mut replies = list.iter().map(|operation| &operation.reply);
    let ty = |name, borrows| {
        let ident = public_name(name);
        GeneratedType { ident, borrows }
    };
    let messages = MessageTypes {
        request: ty("Request", list.iter().any(Operation::borrows)),
        reply: ty("Reply", replies.any(lifetimes::borrows)),
    };
    let (enums, debug) = (enums(list, &messages), debug_of_enums(list, &messages));
    let contract = contract(args, operations, &messages);
    let implementations = message_serde::expand(list, &messages, &args.library);
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

/// Returns the request of an operation, as a pattern or an expression: each argument is in its variable.
pub(super) fn request_variant(operation: &Operation<'_>) -> TokenStream {
    let names = operation.arguments.iter().map(|argument| &argument.name);
    let variables = names.clone().map(variable);
    let variant = &operation.variant;
    quote_spanned!(Span::mixed_site()=> #variant { #(#names: #variables),* })
}

/// Returns documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let docs = format!(" Asks for the operation `{}`.", operation.name);
    attrs_of(operation.handler.function, &docs)
}

/// Declares the enums.
fn enums(list: &[Operation<'_>], messages: &MessageTypes) -> TokenStream {
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
        let (variant, reply) = (&operation.variant, &operation.reply);
        quote_spanned!(span=> #[doc = #text] #variant(#reply))
    });
    let (request, reply) = (messages.request.with(MESSAGE), messages.reply.with(MESSAGE));
    // The enums are `pub` like the operations, so a private type in one is an error, not a warning.
    let allowed = quote_spanned! {span=>
        #[allow(
            deprecated, unreachable_pub, clippy::exhaustive_enums, clippy::large_enum_variant,
            variant_size_differences, reason = "they are what the functions are"
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
fn debug_of_enums(list: &[Operation<'_>], messages: &MessageTypes) -> TokenStream {
    let span = Span::mixed_site();
    let variants = list.iter().map(|operation| &operation.variant);
    let names = list.iter().map(|operation| &operation.name);
    let shown = quote_spanned!(span=> match *self { #(Self::#variants { .. } => #names),* });
    let MessageTypes { request, reply } = messages;
    let debug = [request, reply].map(|ty| debug(&ty.with(ELIDED), &Generics::default(), &shown));
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
fn contract(args: &Args, operations: &Operations<'_>, messages: &MessageTypes) -> TokenStream {
    let span = Span::mixed_site();
    let private = args.library.private(span);
    let contract = public_name("Contract");
    let framing = type_or(args.framing.as_ref(), "LengthPrefixed", &args.library, span);
    let MessageTypes { request, reply } = messages;
    let (check, format) = format(args, operations, messages);
    let (request, reply) = (request.with(EXCHANGE), reply.with(EXCHANGE));
    let has_greeting = args.given(OptionName::Greeting).is_some();
    let allowance = allowance(span);
    quote_spanned! {span=>
        /// The messages of all operations: what [`Client`] is made of.
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
fn format(
    args: &Args,
    operations: &Operations<'_>,
    MessageTypes { request, reply }: &MessageTypes,
) -> (Option<TokenStream>, TokenStream) {
    let module_name = &operations.module.ident;
    let Some(format) = &args.format else {
        return (None, args.library.item("NoFormat", module_name));
    };
    let private = args.library.private(start_of(format));
    let Alias { declaration, path } = Alias::new(module_name, "__Format", format);
    let (request, reply) = (request.with(STATIC), reply.with(STATIC));
    let assert_format = args.library.item("assert_operations_format", format);
    let messages = quote_spanned!(start_of(format)=> self::#request, self::#reply);
    let check = quote_spanned! {start_of(format)=>
        #[allow(unused_imports, reason = "it is for formats that are not fit")]
        use #private::UnfitFormat as _;
        #declaration
        const _: fn() = #assert_format::<#path, #messages>;
    };
    let format = quote_spanned! {start_of(format)=>
        #private::FormatIfFit<#path, { #private::FormatCheck::<#path, #messages>::IS_FIT }>
    };
    (Some(check), format)
}
