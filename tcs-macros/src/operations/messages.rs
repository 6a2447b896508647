//! Writes the request and the reply of all operations, and how they are written; cannot fail.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Attribute, Generics, ext::IdentExt as _};

use super::{
    model::{Operation, Operations, generated},
    pieces::{self, argument_writer, reply_writer},
    reading,
};
use crate::{args::Args, emit::Field, generics::with_lifetime, server::expand::or_else};

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
    let requests = operations.list.iter().map(|operation| {
        let Operation {
            variant, arguments, ..
        } = operation;
        let attrs = attrs(operation, "the operation");
        let fields = arguments.iter().map(|Field { name, ty }| {
            let text = format!(" The argument `{}`.", name.unraw());
            quote_spanned!(Span::mixed_site()=> #[doc = #text] #name: #ty)
        });
        quote_spanned!(Span::mixed_site()=> #(#attrs)* #variant { #(#fields),* })
    });
    let replies = operations.list.iter().map(|operation| {
        let Operation {
            variant,
            reply,
            name,
            ..
        } = operation;
        let text = format!(" What `{name}` returned.");
        quote_spanned!(Span::mixed_site()=> #[doc = #text] #variant(#reply))
    });
    let contract = operations
        .is_carried
        .then(|| implementations(args, operations, &request, &reply, &private));
    let (request_ident, request_generics) = (&request.ident, &request.generics);
    let (reply_ident, reply_generics) = (&reply.ident, &reply.generics);
    let debugs = [
        debug(
            operations,
            &request,
            &quote_spanned!(Span::mixed_site()=> { .. }),
        ),
        debug(
            operations,
            &reply,
            &quote_spanned!(Span::mixed_site()=> (..)),
        ),
    ];
    let allowed = quote_spanned! {Span::mixed_site()=>
        #[allow(
            deprecated, unreachable_pub, clippy::exhaustive_enums, clippy::large_enum_variant,
            variant_size_differences, reason = "they are what the functions are"
        )]
        #[deny(private_interfaces, reason = "whoever sees the operation sees its messages")]
    };
    quote_spanned! {span=>
        /// What is asked: an operation with its arguments.
        #allowed
        pub enum #request_ident #request_generics { #(#requests),* }

        /// What is answered: what the operation of the same name returned.
        #allowed
        pub enum #reply_ident #reply_generics { #(#replies),* }

        const _: () = {
            #(#debugs)*
        };

        #contract
    }
}

/// Documentation, allowances and deprecation of an operation.
pub(super) fn attrs<'o>(
    operation: &'o Operation<'_>,
    what: &str,
) -> impl Iterator<Item = TokenStream> + use<'o> {
    let docs = (!operation.function.has_docs()).then(|| {
        let text = format!(" Asks for {what} `{}`.", operation.name);
        quote_spanned!(Span::mixed_site()=> #[doc = #text])
    });
    let shared = operation
        .function
        .shared_attrs()
        .map(|attr: &Attribute| quote_spanned!(Span::mixed_site()=> #attr));
    docs.into_iter().chain(shared)
}

/// Shows the operation and nothing of its values, which may be secret or have no `Debug`.
fn debug(operations: &Operations<'_>, message: &Message, fields: &TokenStream) -> TokenStream {
    let ident = &message.ident;
    let (impl_generics, type_generics, _) = message.generics.split_for_impl();
    let arms = operations
        .list
        .iter()
        .map(|Operation { variant, name, .. }| quote_spanned!(Span::mixed_site()=> Self::#variant #fields => #name));
    let body = if operations.list.is_empty() {
        quote_spanned!(Span::mixed_site()=> match *self {})
    } else {
        quote_spanned!(Span::mixed_site()=> f.write_str(match self { #(#arms),* }))
    };
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        #[allow(deprecated, reason = "an operation may be")]
        impl #impl_generics ::core::fmt::Debug for #ident #type_generics {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #body
            }
        }
    }
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
    let writing = [
        write_request(operations, request),
        write_reply(operations, reply),
    ];
    let pieces = pieces::expand(operations, request, reply, &args.krate());
    let reading = reading::expand(operations, request, reply, private);
    let (request, reply) = (request.with("'exchange"), reply.with("'exchange"));
    let greets = args.greeting.is_some();
    let exchange = syn::Lifetime::new("'exchange", Span::mixed_site());
    quote_spanned! {Span::mixed_site()=>
        /// The messages of all operations: what [`Client`] is made of.
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
        pub enum #contract {}

        #private::operations! {
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
                #(#writing)*
                #reading
            };
        }
    }
}

fn write_request(operations: &Operations<'_>, message: &Message) -> TokenStream {
    let span = Span::mixed_site();
    let arms = operations
        .list
        .iter()
        .enumerate()
        .map(|(number, operation)| {
            let Operation {
                variant,
                name,
                arguments,
                ..
            } = operation;
            let names: Vec<_> = arguments.iter().map(|argument| &argument.name).collect();
            let bound: Vec<_> = (0..arguments.len())
                .map(|place| format_ident!("argument_{place}", span = span))
                .collect();
            let writers = (0..arguments.len()).map(|place| argument_writer(number, place));
            let count = Literal::usize_suffixed(arguments.len());
            let number = literal(number);
            let mutable = (!arguments.is_empty()).then(|| quote_spanned!(span=> mut));
            quote_spanned! {span=>
                Self::#variant { #(#names: #bound),* } => {
                    let #mutable message = __serde::Serializer::serialize_struct_variant(
                        to, "Request", #number, #name, #count,
                    )?;
                    #(#writers(#bound, &mut message)?;)*
                    __serde::ser::SerializeStructVariant::end(message)
                }
            }
        });
    serialize(operations, message, &quote_spanned!(span=> #(#arms)*))
}

fn write_reply(operations: &Operations<'_>, message: &Message) -> TokenStream {
    let span = Span::mixed_site();
    let arms = operations
        .list
        .iter()
        .enumerate()
        .map(|(number, Operation { variant, .. })| {
            let writer = reply_writer(number);
            let number = literal(number);
            quote_spanned!(span=> Self::#variant(reply) => #writer(reply, #number, to),)
        });
    serialize(operations, message, &quote_spanned!(span=> #(#arms)*))
}

/// A number as serde has it.
fn literal(number: usize) -> Literal {
    Literal::u32_suffixed(u32::try_from(number).unwrap_or(u32::MAX))
}

fn serialize(operations: &Operations<'_>, message: &Message, arms: &TokenStream) -> TokenStream {
    let ident = &message.ident;
    let (impl_generics, type_generics, _) = message.generics.split_for_impl();
    let body = if operations.list.is_empty() {
        quote_spanned!(Span::mixed_site()=> match *self {})
    } else {
        quote_spanned!(Span::mixed_site()=> match self { #arms })
    };
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        #[allow(deprecated, clippy::all, clippy::pedantic, clippy::nursery, reason = "it is generated")]
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
