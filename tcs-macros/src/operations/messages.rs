//! Writes the request and the reply of all operations, and how they are written; cannot fail.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote_spanned;
use syn::{Generics, ext::IdentExt as _};

use super::{
    model::{Operation, Operations},
    names::generated,
    pieces::{self, argument_writer, reply_writer},
    reading,
};
use crate::{
    args::Args,
    emit::{self, Field, allowance},
    generics::with_lifetime,
    server::expand::or_else,
    spans::numbered,
};

/// One of the two enums.
pub(super) struct Message {
    pub(super) ident: Ident,
    /// With `'a` if it borrows.
    pub(super) generics: Generics,
}

impl Message {
    pub(super) fn request(operations: &Operations<'_>) -> Self {
        Self::new("Request", operations.request_borrows())
    }

    pub(super) fn reply(operations: &Operations<'_>) -> Self {
        Self::new("Reply", operations.reply_borrows())
    }

    fn new(name: &str, borrows: bool) -> Self {
        let mut generics = Generics::default();
        if borrows {
            with_lifetime(&mut generics, "'a");
        }
        let ident = generated(name);
        Self { ident, generics }
    }

    /// Returns the type with this lifetime, if it has one.
    pub(super) fn with(&self, lifetime: &str) -> TokenStream {
        let ident = &self.ident;
        let lifetime = syn::Lifetime::new(lifetime, Span::mixed_site());
        let arguments = (!self.generics.params.is_empty())
            .then(|| quote_spanned!(Span::mixed_site()=> <#lifetime>));
        quote_spanned!(Span::mixed_site()=> #ident #arguments)
    }
}

/// Writes the enums, what they implement, and the contract that names them.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let krate = args.krate();
    let span = Span::mixed_site();
    let private = quote_spanned!(span=> #krate::__private);
    let request = Message::request(operations);
    let reply = Message::reply(operations);
    let (mut requests, mut replies) = (TokenStream::new(), TokenStream::new());
    let (mut request_names, mut reply_names) = (TokenStream::new(), TokenStream::new());
    for operation in &operations.list {
        let Operation {
            variant,
            arguments,
            reply,
            name,
            ..
        } = operation;
        let mut fields = TokenStream::new();
        for Field { name, ty } in arguments {
            let text = format!(" The argument `{}`.", name.unraw());
            fields.extend(quote_spanned!(span=> #[doc = #text] #name: #ty,));
        }
        let attrs = attrs(operation);
        requests.extend(quote_spanned!(span=> #attrs #variant { #fields },));
        let text = format!(" What `{name}` returned.");
        replies.extend(quote_spanned!(span=> #[doc = #text] #variant(#reply),));
        request_names.extend(quote_spanned!(span=> Self::#variant { .. } => #name,));
        reply_names.extend(quote_spanned!(span=> Self::#variant(..) => #name,));
    }
    let contract = operations
        .is_carried
        .then(|| implementations(args, operations, &request, &reply, &private));
    let (request_ident, request_generics) = (&request.ident, &request.generics);
    let (reply_ident, reply_generics) = (&reply.ident, &reply.generics);
    let debug_request = debug(&request, &request_names);
    let debug_reply = debug(&reply, &reply_names);
    let allowed = quote_spanned! {span=>
        #[allow(
            deprecated, unreachable_pub, clippy::exhaustive_enums, clippy::large_enum_variant,
            variant_size_differences, reason = "they are what the functions are"
        )]
        #[deny(private_interfaces, reason = "whoever sees the operation sees its messages")]
    };
    quote_spanned! {span=>
        /// What is asked: an operation with its arguments.
        #allowed
        pub enum #request_ident #request_generics { #requests }

        /// What is answered: what the operation of the same name returned.
        #allowed
        pub enum #reply_ident #reply_generics { #replies }

        const _: () = {
            #debug_request
            #debug_reply
        };

        #contract
    }
}

/// Documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let shared = operation.function.shared_attrs();
    if operation.function.has_docs() {
        return shared;
    }
    let text = format!(" Asks for the operation `{}`.", operation.name);
    quote_spanned!(Span::mixed_site()=> #[doc = #text] #shared)
}

/// Shows the operation and nothing of its values, which may be secret or have no `Debug`.
fn debug(message: &Message, names: &TokenStream) -> TokenStream {
    let body = if names.is_empty() {
        quote_spanned!(Span::mixed_site()=> match *self {})
    } else {
        quote_spanned!(Span::mixed_site()=> f.write_str(match self { #names }))
    };
    emit::debug(Span::mixed_site(), &message.ident, &message.generics, &body)
}

fn implementations(
    args: &Args,
    operations: &Operations<'_>,
    request: &Message,
    reply: &Message,
    private: &TokenStream,
) -> TokenStream {
    let contract = generated("Contract");
    let format = &args.format;
    let framing = or_else(
        args.framing.as_ref(),
        quote_spanned!(Span::mixed_site()=> #private::LengthPrefixed),
    );
    let write_request = write_request(operations, request);
    let write_reply = write_reply(operations, reply);
    let pieces = pieces::expand(operations, request, reply, &args.krate());
    let reading = reading::expand(operations, request, reply, private);
    let (request, reply) = (request.with("'exchange"), reply.with("'exchange"));
    let greets = args.greeting.is_some();
    let exchange = syn::Lifetime::new("'exchange", Span::mixed_site());
    let allowance = allowance(Span::mixed_site());
    quote_spanned! {Span::mixed_site()=>
        /// The messages of all operations: what [`Client`] is made of.
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
        pub enum #contract {}

        #private::operations! {
            #[allow(unused_mut, unused_variables, reason = "an operation may have no argument")]
            #allowance
            const _: () = {
                use #private::serde as __serde;

                #[automatically_derived]
                impl #private::Contract for #contract {
                    type Framing = #framing;
                    type Format = #format;
                    type Request<#exchange> = #request;
                    type Reply<#exchange> = #reply;
                    const GREETS: bool = #greets;
                }

                #pieces
                #write_request
                #write_reply
                #reading
            };
        }
    }
}

fn write_request(operations: &Operations<'_>, message: &Message) -> TokenStream {
    let span = Span::mixed_site();
    let mut arms = TokenStream::new();
    for operation in &operations.list {
        let mut writers = TokenStream::new();
        for place in 0..operation.arguments.len() {
            let writer = argument_writer(operation.number, place);
            let bound = numbered("argument", place, span);
            writers.extend(quote_spanned!(span=> #writer(#bound, &mut message)?;));
        }
        let name = &operation.name;
        let number = literal(operation.number);
        let count = Literal::usize_suffixed(operation.arguments.len());
        let bound = operation.bound(span);
        arms.extend(quote_spanned! {span=>
            Self::#bound => {
                let mut message = __serde::Serializer::serialize_struct_variant(
                    to, "Request", #number, #name, #count,
                )?;
                #writers
                __serde::ser::SerializeStructVariant::end(message)
            }
        });
    }
    serialize(message, &arms)
}

fn write_reply(operations: &Operations<'_>, message: &Message) -> TokenStream {
    let span = Span::mixed_site();
    let mut arms = TokenStream::new();
    for Operation {
        variant, number, ..
    } in &operations.list
    {
        let writer = reply_writer(*number);
        let number = literal(*number);
        arms.extend(quote_spanned!(span=> Self::#variant(reply) => #writer(reply, #number, to),));
    }
    serialize(message, &arms)
}

/// A number as serde has it.
fn literal(number: usize) -> Literal {
    Literal::u32_suffixed(u32::try_from(number).unwrap_or(u32::MAX))
}

fn serialize(message: &Message, arms: &TokenStream) -> TokenStream {
    let ident = &message.ident;
    let (impl_generics, type_generics, _) = message.generics.split_for_impl();
    let body = if arms.is_empty() {
        quote_spanned!(Span::mixed_site()=> match *self {})
    } else {
        quote_spanned!(Span::mixed_site()=> match self { #arms })
    };
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl #impl_generics __serde::Serialize for #ident #type_generics {
            fn serialize<__S: __serde::Serializer>(
                &self,
                to: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #body
            }
        }
    }
}
