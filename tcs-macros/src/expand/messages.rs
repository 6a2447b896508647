//! Writes the request and the reply of all operations, and how they are read and written.
//!
//! What reads an argument or a reply, and what writes it, name one trait in the same words, so that a
//! type that is not a message is one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote_spanned};
use syn::{Generics, Lifetime, Type, ext::IdentExt as _};

use super::{
    parts::{allowance, framing, generated},
    shape::debug,
};
use crate::{
    aim::{Library, at},
    args::Args,
    generics::with_lifetime,
    lifetimes::borrows,
    model::operations::{Operation, Operations},
    types::Field,
};

/// One of the two enums.
pub(super) struct Message {
    pub(super) ident: Ident,
    /// With `'a` if it borrows.
    pub(super) generics: Generics,
}

impl Message {
    pub(super) fn request(operations: &Operations<'_>) -> Self {
        Self::new("Request", operations.list.iter().any(Operation::borrows))
    }

    pub(super) fn reply(operations: &Operations<'_>) -> Self {
        let is_borrowed = |operation: &Operation<'_>| borrows(&operation.reply);
        Self::new("Reply", operations.list.iter().any(is_borrowed))
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
        let lifetime = (!self.generics.params.is_empty()).then(|| {
            let lifetime = Lifetime::new(lifetime, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> <#lifetime>)
        });
        quote_spanned!(Span::mixed_site()=> #ident #lifetime)
    }
}

/// Writes the enums, what they implement, and the contract that names them.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
    let request = Message::request(operations);
    let reply = Message::reply(operations);
    let list = || operations.list.iter();
    let requests = list().map(|operation| {
        let (attrs, variant) = (attrs(operation), &operation.variant);
        let fields = operation.arguments.iter().map(|Field { name, ty }| {
            let text = format!(" The argument `{}`.", name.unraw());
            quote_spanned!(span=> #[doc = #text] #name: #ty)
        });
        quote_spanned!(span=> #attrs #variant { #(#fields),* })
    });
    let replies = list().map(|operation| {
        let text = format!(" What `{}` returned.", operation.name);
        let (variant, reply) = (&operation.variant, &operation.reply);
        quote_spanned!(span=> #[doc = #text] #variant(#reply))
    });
    // Shows the operation and nothing of its values, which may be secret or have no `Debug`.
    let variants = list().map(|operation| &operation.variant);
    let names = list().map(|operation| &operation.name);
    let shown = quote_spanned!(span=> match *self { #(Self::#variants { .. } => #names),* });
    let shown = quote_spanned!(span=> f.write_str(#shown));
    let debug = [&request, &reply].map(|message| debug(&message.ident, &message.generics, &shown));
    let contract = operations
        .is_carried
        .then(|| implementations(args, operations, &request, &reply));
    let (request_ident, request_generics) = (&request.ident, &request.generics);
    let (reply_ident, reply_generics) = (&reply.ident, &reply.generics);
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
        pub enum #request_ident #request_generics { #(#requests),* }

        /// What is answered: what the operation of the same name returned.
        #allowed
        pub enum #reply_ident #reply_generics { #(#replies),* }

        #[allow(deprecated, unreachable_code, reason = "one may be, or there may be none")]
        const _: () = {
            #(#debug)*
        };

        #contract
    }
}

/// Documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let shared = operation.exchange.function.shared_attrs();
    if operation.exchange.function.has_docs() {
        return shared;
    }
    let text = format!(" Asks for the operation `{}`.", operation.name);
    quote_spanned!(Span::mixed_site()=> #[doc = #text] #shared)
}

fn implementations(
    args: &Args,
    operations: &Operations<'_>,
    request: &Message,
    reply: &Message,
) -> TokenStream {
    let span = Span::mixed_site();
    let library = &args.library;
    let private = library.at(span);
    let contract = generated("Contract");
    let format = &args.format;
    let framing = framing(args, span);
    let list = || operations.list.iter();
    let arguments = list().map(|operation| arguments(operation, library));
    let requests = list()
        .map(|operation| request_arms(operation, library))
        .unzip();
    let requests = implementation(request, operations, requests, &private);
    let replies = list()
        .map(|operation| reply_arms(operation, library))
        .unzip();
    let replies = implementation(reply, operations, replies, &private);
    let (request, reply) = (request.with("'exchange"), reply.with("'exchange"));
    let greets = args.greeting.is_some();
    let exchange = Lifetime::new("'exchange", span);
    let allowance = allowance(span);
    quote_spanned! {span=>
        /// The messages of all operations: what [`Client`] is made of.
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub, clippy::exhaustive_enums, reason = "it never gets a value")]
        pub enum #contract {}

        #private::operations! {
            #[allow(unreachable_patterns, unused_mut, reason = "an operation may have no argument")]
            #allowance
            const _: () = {
                use #private::serde as __serde;

                #[automatically_derived]
                impl #private::Contract for #contract {
                    type Framing = #framing;
                    type Format = #format;
                    type Request<#exchange> = #request;
                    type Reply<#exchange> = #reply;
                    const HAS_GREETING: bool = #greets;
                }

                #(#arguments)*
                #requests
                #replies
            };
        }
    }
}

/// How the request of an operation is read, and an arm of a `match` that writes it.
///
/// The arguments are read into a tuple struct, which may be filled in any order.
fn request_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let span = Span::mixed_site();
    let private = library.at(span);
    let (number, name, arguments) = (operation.number, &operation.name, &operation.arguments);
    let (message, bound) = (operation.bound(span), operation.bound_arguments(span));
    let count = bound.len();
    let none = vec![quote_spanned!(span=> ::core::option::Option::None); count];
    let writers = arguments
        .iter()
        .zip(&bound)
        .map(|(Field { name, ty }, bound)| {
            let (write, name) = (
                method(ty, "Argument", library, "write"),
                name.unraw().to_string(),
            );
            quote_spanned!(at(ty)=> #write(#bound, #name, &mut to)?;)
        });
    let ident = reading(operation);
    let read = quote_spanned! {span=>
        match #private::arguments(#ident(#(#none),*), from)? {
            #ident(#(::core::option::Option::Some(#bound)),*) => {
                ::core::result::Result::Ok(Self::#message)
            }
            _ => ::core::result::Result::Err(#private::incomplete()),
        }
    };
    let write = quote_spanned! {span=>
        Self::#message => {
            let mut to = __serde::Serializer::serialize_struct_variant(
                to, Self::NAME, #number, #name, #count,
            )?;
            #(#writers)*
            __serde::ser::SerializeStructVariant::end(to)
        }
    };
    (read, write)
}

/// The same for the reply.
fn reply_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let (number, name, variant) = (operation.number, &operation.name, &operation.variant);
    let reply = &operation.reply;
    let [read, write] = ["read", "write"].map(|name| method(reply, "Returned", library, name));
    (
        quote_spanned!(at(reply)=> #read(from).map(Self::#variant)),
        quote_spanned!(at(reply)=> Self::#variant(reply) => #write(reply, #number, #name, to)),
    )
}

/// `<ty as trait>::method`, at the type.
fn method(ty: &Type, item: &str, library: &Library, method: &str) -> TokenStream {
    let span = at(ty);
    let de = de();
    let item = library.item(item, ty);
    let method = Ident::new(method, span);
    quote_spanned!(span=> <#ty as #item<#de>>::#method)
}

/// What the arguments of an operation are read into.
fn reading(operation: &Operation<'_>) -> Ident {
    format_ident!("__Arguments{}", operation.number)
}

/// Declares what the arguments of an operation are read into.
fn arguments(operation: &Operation<'_>, library: &Library) -> TokenStream {
    let span = Span::mixed_site();
    let private = library.at(span);
    let (name, arguments) = (&operation.name, &operation.arguments);
    let mut generics = Generics::default();
    if operation.borrows() {
        with_lifetime(&mut generics, "'a");
    }
    let (impl_generics, de, ident) = (reader_generics(&generics), de(), reading(operation));
    let (_, type_generics, _) = generics.split_for_impl();
    let types = arguments.iter().map(|argument| &argument.ty);
    let names = arguments
        .iter()
        .map(|argument| argument.name.unraw().to_string());
    let places: Vec<_> = (0..arguments.len()).map(syn::Index::from).collect();
    let readers = arguments
        .iter()
        .zip(&places)
        .map(|(Field { ty, .. }, place)| {
            let read = method(ty, "Argument", library, "read");
            quote_spanned! {at(ty)=>
                #place => #read(from).map(|value| self.#place = ::core::option::Option::Some(value))
            }
        });
    quote_spanned! {span=>
        struct #ident #generics(#(::core::option::Option<#types>),*);

        #[automatically_derived]
        impl<#impl_generics> #private::Arguments<#de> for #ident #type_generics {
            const OPERATION: &'static str = #name;
            const NAMES: &'static [&'static str] = &[#(#names),*];

            #[inline]
            fn has(&self, place: usize) -> bool {
                match place {
                    #(#places => self.#places.is_some(),)*
                    _ => false,
                }
            }

            #[inline]
            fn read<__D: __serde::Deserializer<#de>>(
                &mut self,
                place: usize,
                from: __D,
            ) -> ::core::result::Result<(), __D::Error> {
                match place {
                    #(#readers,)*
                    _ => ::core::result::Result::Err(#private::incomplete()),
                }
            }
        }
    }
}

/// Has serde read and write a message.
fn implementation(
    message: &Message,
    operations: &Operations<'_>,
    (read, mut write): (Vec<TokenStream>, Vec<TokenStream>),
    private: &TokenStream,
) -> TokenStream {
    let Message { ident, generics } = message;
    let (reader_generics, de) = (reader_generics(generics), de());
    let (impl_generics, type_generics, _) = generics.split_for_impl();
    let message = ident.to_string();
    let names = operations.list.iter().map(|operation| &operation.name);
    let places = 0..read.len();
    if write.is_empty() {
        write.push(quote_spanned!(Span::mixed_site()=> _ => match *self {}));
    }
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl<#reader_generics> #private::Message<#de> for #ident #type_generics {
            const NAME: &'static str = #message;
            const OPERATIONS: &'static [&'static str] = &[#(#names),*];

            #[inline]
            fn read<__A: __serde::de::VariantAccess<#de>>(
                operation: usize,
                from: __A,
            ) -> ::core::result::Result<Self, __A::Error> {
                match operation {
                    #(#places => #read,)*
                    _ => ::core::result::Result::Err(#private::incomplete()),
                }
            }

            #[inline]
            fn write<__S: __serde::Serializer>(
                &self,
                to: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                match self {
                    #(#write,)*
                }
            }
        }

        #[automatically_derived]
        impl #impl_generics __serde::Serialize for #ident #type_generics {
            fn serialize<__S: __serde::Serializer>(
                &self,
                to: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #private::Message::write(self, to)
            }
        }

        #[automatically_derived]
        impl<#reader_generics> __serde::Deserialize<#de> for #ident #type_generics {
            fn deserialize<__D: __serde::Deserializer<#de>>(
                from: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                #private::read_message(from)
            }
        }
    }
}

/// The lifetime of the bytes.
fn de() -> Lifetime {
    Lifetime::new("'de", Span::mixed_site())
}

/// The generics of what reads into a type, with `'de` in front.
fn reader_generics(generics: &Generics) -> TokenStream {
    let de = de();
    let params = &generics.params;
    if params.is_empty() {
        de.to_token_stream()
    } else {
        quote_spanned!(Span::mixed_site()=> #de: #params, #params)
    }
}
