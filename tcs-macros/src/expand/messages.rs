//! Writes the enums of requests and replies of all operations, and the contract that names them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{Generics, Path, ext::IdentExt as _, parse_quote};

use super::{
    message_serde, message_stream,
    names::{public_name, reply_type, request_type, request_variant, variable},
    options::{framing, is_event},
    protocol_type::{allowance, kept_attrs},
};
use crate::{
    model::operations::{Argument, Operation, Operations},
    options::{OptionName, Options},
    spans::{Library, alias, ident_at, start_of},
    syntax::lifetimes::{self, ELIDED, EXCHANGE, MESSAGE, STATIC},
};

/// Writes the enums with their implementations, and the contract.
pub(super) fn expand(options: &Options, operations: &Operations<'_>) -> TokenStream {
    let list = &operations.list;
    let (enums, debug) = (enums(list), debug_of_enums(list, &options.library));
    let contract = contract(options, operations);
    let streams = streams(options, operations);
    let implementations = message_serde::expand(list, &options.library);
    let span = Span::mixed_site();
    let (private, allowance) = (options.library.module(span), allowance(span));
    quote_spanned! {span=>
        #enums
        #debug
        #contract
        #streams

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

/// Returns an associated item of the contract, which follows from the options.
pub(super) fn contract_item(options: &Options, item: &str) -> TokenStream {
    let span = Span::mixed_site();
    let (contract, private) = (public_name("Contract"), options.library.module(span));
    let item = Ident::new(item, span);
    quote_spanned!(span=> <#contract as #private::Contract>::#item)
}

/// Returns documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let docs = format!(" Calls `{}`.", operation.name);
    kept_attrs(&operation.handler.function.attrs, &docs)
}

/// Declares the enums.
fn enums(list: &[Operation<'_>]) -> TokenStream {
    let span = Span::mixed_site();
    let requests = list.iter().map(|operation| {
        let (attrs, variant) = (attrs(operation), &operation.variant);
        let fields = operation.arguments.iter().map(|Argument { name, ty, .. }| {
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
    // The enums are `pub` like the operations, so a private type in an enum is an error, not a warning.
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

/// Implements `Debug` as a derive would, except for values that are secret, or whose type has no `Debug`.
fn debug_of_enums(list: &[Operation<'_>], library: &Library) -> TokenStream {
    let span = Span::mixed_site();
    let private = &library.module(span);
    let shown = |value: &Ident, is_secret: bool| {
        if is_secret {
            quote_spanned!(span=> &#private::Hidden::SECRET)
        } else {
            quote_spanned!(span=> #private::Shown(#value).get())
        }
    };
    let requests = list.iter().map(|operation| {
        let (pattern, name) = (request_variant(operation), operation.variant.to_string());
        let fields = operation.arguments.iter().map(|argument| {
            let name = argument.name.unraw().to_string();
            let value = shown(&variable(&argument.name), argument.is_secret);
            quote_spanned!(span=> .field(#name, #value))
        });
        quote_spanned!(span=> Self::#pattern => f.debug_struct(#name) #(#fields)* .finish())
    });
    let replies = list.iter().map(|operation| {
        let (variant, name) = (&operation.variant, operation.variant.to_string());
        let value = shown(&Ident::new("reply", span), operation.is_reply_secret);
        quote_spanned!(span=> Self::#variant(reply) => f.debug_tuple(#name).field(#value).finish())
    });
    let (request, reply) = (request_type(list, ELIDED), reply_type(list, ELIDED));
    // An enum without variants is matched by value.
    let value = if list.is_empty() {
        quote_spanned!(span=> *self)
    } else {
        quote_spanned!(span=> self)
    };
    let allowance = allowance(span);
    quote_spanned! {span=>
        #[allow(unused_imports, reason = "all values may have `Debug`")]
        #allowance
        const _: () = {
            use #private::ShownFallback as _;

            #[automatically_derived]
            impl ::core::fmt::Debug for #request {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    match #value { #(#requests,)* }
                }
            }

            #[automatically_derived]
            impl ::core::fmt::Debug for #reply {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    match #value { #(#replies,)* }
                }
            }
        };
    }
}

/// Declares the contract, the only place that names the types of the options.
///
/// The block imports the items around the module. So a name in an option has the meaning that it has there, beside the
/// attribute, or else its meaning in the module. All other names begin with `self`, so that they never mean an item
/// around the module.
fn contract(options: &Options, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let private = options.library.module(span);
    let contract = public_name("Contract");
    let framing = framing(options, span);
    let (check, format) = checked_format(options, operations);
    let list = &operations.list;
    let (request, reply) = (request_type(list, EXCHANGE), reply_type(list, EXCHANGE));
    let has_greeting = options.given(OptionName::Greeting).is_some();
    let allowance = allowance(span);
    // The type of an event may be as private as the module.
    let vis = match operations.pushes {
        Some(_) => operations.module.vis_inside(),
        None => parse_quote!(pub),
    };
    let is_event = is_event(options, &quote_spanned!(span=> self::#contract), span);
    // Outside of the block that imports the items around the module, like all code of the user.
    let is_push = options.is_push.as_ref().map(|path| {
        let (function, allowance) = (message_stream::is_push(path, "__is_push"), &allowance);
        quote_spanned!(span=> #allowance #function)
    });
    let pushes = operations.pushes.as_ref().map(|pushes| {
        message_stream::implement(
            pushes,
            is_push_of_module(options).as_ref(),
            &options.library,
            &operations.module.ident,
            &quote_spanned!(span=> self::#contract),
            &Generics::default(),
            &quote_spanned!(span=> <self::#contract as #private::Contract>::Format),
        )
    });
    quote_spanned! {span=>
        /// The framing, the format and the messages of all operations.
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
        #vis enum #contract {}
        #is_push

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
                    #is_event
                }

                #pushes
            };
        }
    }
}

/// Returns the path of the function in a module that tells events from replies.
pub(super) fn is_push_of_module(options: &Options) -> Option<Path> {
    options
        .is_push
        .as_ref()
        .map(|_| parse_quote!(self::__is_push))
}

/// Declares a type for each streamed reply or request, which names the type of its items or chunks. The type is also
/// the contract of its operation: the requests are those of all operations, and the reply is the function's return
/// type.
///
/// Each type is its own format, which reads and writes like the module's format, but takes the reply of the operation
/// out of the enum of all replies.
fn streams(options: &Options, operations: &Operations<'_>) -> TokenStream {
    // The types are not `pub`, because the type of an item may be as private as the module.
    let vis = operations.module.vis_inside();
    let span = Span::mixed_site();
    let (private, allowance) = (options.library.module(span), allowance(span));
    let item = |item| contract_item(options, item);
    let [framing, format] = ["Framing", "Format"].map(item);
    let (has_greeting, is_event) = (item("HAS_GREETING"), item("IS_EVENT"));
    let requests = |lifetime| request_type(&operations.list, lifetime);
    let (request, any_request) = (requests(EXCHANGE), requests(ELIDED));
    let (replies, reply_enum) = (reply_type(&operations.list, EXCHANGE), public_name("Reply"));
    let streams = operations.list.iter().filter_map(|operation| {
        let stream = operation.stream.as_ref()?;
        let text = if operation.takes_chunks() {
            "The chunks of the request of"
        } else {
            "The items of the reply to"
        };
        let (name, ident) = (&operation.variant, &operation.handler.function.sig.ident);
        let text = format!(" {text} `{}`.", operation.name);
        let implementation = message_stream::implement(
            stream,
            None,
            &options.library,
            ident,
            &name.to_token_stream(),
            &Generics::default(),
            &format,
        );
        let reply = lifetimes::unify(&operation.reply, EXCHANGE);
        // The keyword is at the function, so that rustc reports a clash of names there.
        let keyword = ident_at(ident, "enum");
        Some(quote_spanned! {span=>
            #[doc = #text]
            #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
            #vis #keyword #name {}

            // A derive would match the value, which a type of the user with this name has.
            #[automatically_derived]
            impl ::core::fmt::Debug for #name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(::core::stringify!(#name))
                }
            }

            #[automatically_derived]
            impl #private::Contract for #name {
                type Framing = #framing;
                type Format = #name;
                type Request<'exchange> = #request;
                type Reply<'exchange> = #reply;
                const HAS_GREETING: bool = #has_greeting;
                const IS_EVENT: ::core::option::Option<fn(&[u8]) -> bool> = #is_event;
            }

            #private::operations! {
                #allowance
                #implementation

                #[automatically_derived]
                impl #private::Encode<#name> for #any_request {
                    fn encode(
                        self,
                        out: &mut #private::Writer<'_>,
                    ) -> ::core::result::Result<(), #private::EncodeError> {
                        #private::Encode::<#format>::encode(self, out)
                    }
                }

                #[allow(unreachable_patterns, reason = "there may be one operation")]
                #allowance
                impl<'exchange> #private::Decode<'exchange, #name> for #reply {
                    fn decode(
                        frame: #private::Frame<'exchange>,
                    ) -> ::core::result::Result<Self, #private::DecodeError> {
                        match <#replies as #private::Decode<'exchange, #format>>::decode(frame)? {
                            #reply_enum::#name(reply) => ::core::result::Result::Ok(reply),
                            _ => ::core::result::Result::Err(#private::another_operation()),
                        }
                    }
                }
            }
        })
    });
    streams.collect()
}

/// Writes the format, and a check that it carries operations. If the format is missing or carries none, `NoFormat`
/// replaces it, in which any type of serde is a message. So there is one error about the format.
fn checked_format(
    options: &Options,
    operations: &Operations<'_>,
) -> (Option<TokenStream>, TokenStream) {
    let (list, module_name) = (&operations.list, &operations.module.ident);
    let Some(format) = &options.format else {
        let format = options.library.item("NoFormat", module_name);
        return (None, format.into_token_stream());
    };
    let private = options.library.module(start_of(format));
    let (declaration, path) = alias(module_name, "__Format", format);
    let (request, reply) = (request_type(list, STATIC), reply_type(list, STATIC));
    let assert_format = options.library.item("assert_operations_format", format);
    let messages = quote_spanned!(start_of(format)=> self::#request, self::#reply);
    let check = quote_spanned! {start_of(format)=>
        #[allow(unused_imports, reason = "it is for formats that are not fit")]
        use #private::FormatCheckFallback as _;
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
