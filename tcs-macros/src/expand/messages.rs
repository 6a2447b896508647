//! Writes the enums of requests and replies of all operations, and how they are read and written.
//!
//! The code that reads an argument or a reply and the code that writes it name the same trait with the
//! same tokens, so that a type that is not a message is one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Generics, Index, Lifetime, Type, ext::IdentExt as _};

use super::{
    parts::{allowance, framing, generated, numbered},
    shape::debug,
};
use crate::{
    aim::{Library, at},
    args::Args,
    model::{
        Field,
        operations::{Operation, Operations},
    },
    syntax::lifetimes,
};

/// A generated type of messages, with a lifetime if it borrows.
pub(super) struct Message {
    ident: Ident,
    borrows: bool,
}

impl Message {
    /// The struct that the arguments of an operation are read into.
    fn arguments(operation: &Operation<'_>) -> Self {
        Self {
            ident: format_ident!("__Arguments{}", operation.index),
            borrows: operation.borrows(),
        }
    }

    /// Returns the type with this lifetime, if it has one.
    fn with(&self, lifetime: &str) -> TokenStream {
        let ident = &self.ident;
        let lifetime = Lifetime::new(lifetime, Span::mixed_site());
        let span = Span::mixed_site();
        let lifetime = self.borrows.then(|| quote_spanned!(span=> <#lifetime>));
        quote_spanned!(span=> #ident #lifetime)
    }

    /// Declares the associated type of this name.
    pub(super) fn item(&self, span: Span) -> TokenStream {
        let name = Ident::new(&self.ident.to_string(), span);
        let ty = self.with("'exchange");
        quote_spanned!(Span::mixed_site()=> type #name<'exchange> = #ty;)
    }
}

/// The enums of all requests and of all replies.
pub(super) fn messages(operations: &Operations<'_>) -> [Message; 2] {
    let list = &operations.list;
    let requests = list.iter().any(Operation::borrows);
    let replies = list
        .iter()
        .any(|operation| lifetimes::borrows(&operation.reply));
    [("Request", requests), ("Reply", replies)].map(|(name, borrows)| Message {
        ident: generated(name),
        borrows,
    })
}

/// Returns the request of an operation, as a pattern or an expression: its arguments are in the variables
/// `argument_0` and so on.
pub(super) fn bound_request(operation: &Operation<'_>, span: Span) -> TokenStream {
    let names = operation.arguments.iter().map(|argument| &argument.name);
    let (bound, variant) = (bound_arguments(operation, span), &operation.variant);
    quote_spanned!(span=> #variant { #(#names: #bound),* })
}

pub(super) fn bound_arguments(operation: &Operation<'_>, span: Span) -> Vec<Ident> {
    let names = (0..operation.arguments.len()).map(|place| numbered("argument", place, span));
    names.collect()
}

/// Writes the enums, what they implement, and the contract that names them.
pub(super) fn expand(args: &Args, operations: &Operations<'_>) -> TokenStream {
    let span = Span::mixed_site();
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
    let messages = messages(operations);
    // Shows the operation and nothing of its values, which may be secret or have no `Debug`.
    let variants = list().map(|operation| &operation.variant);
    let names = list().map(|operation| &operation.name);
    let shown = quote_spanned!(span=> match *self { #(Self::#variants { .. } => #names),* });
    let debug = |message: &Message| debug(&message.with("'_"), &Generics::default(), &shown);
    let debug = messages.iter().map(debug);
    let [request, reply] = messages.each_ref().map(|message| message.with("'a"));
    let implementations = implementations(args, operations, &messages);
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

        #[allow(deprecated, unreachable_code, reason = "one may be, or there may be none")]
        const _: () = {
            #(#debug)*
        };

        #implementations
    }
}

/// Returns documentation, allowances and deprecation of an operation.
pub(super) fn attrs(operation: &Operation<'_>) -> TokenStream {
    let attrs = operation.handler.function.attrs_of_type();
    if operation.handler.function.has_docs() {
        return attrs;
    }
    let text = format!(" Asks for the operation `{}`.", operation.name);
    quote_spanned!(Span::mixed_site()=> #[doc = #text] #attrs)
}

fn implementations(
    args: &Args,
    operations: &Operations<'_>,
    messages: &[Message; 2],
) -> TokenStream {
    let span = Span::mixed_site();
    let library = &args.library;
    let private = library.at(span);
    let contract = generated("Contract");
    let format = &args.format;
    let framing = framing(args, span);
    let list = || operations.list.iter();
    let arguments = list().map(|operation| arguments(operation, library));
    let requests = list().map(|operation| request_arms(operation, library));
    let requests = implementation(&messages[0], operations, requests.unzip(), &private);
    let replies = list().map(|operation| reply_arms(operation, library));
    let replies = implementation(&messages[1], operations, replies.unzip(), &private);
    let types = messages.iter().map(|message| message.item(span));
    let greets = args.given("greeting").is_some();
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
                    #(#types)*
                    const HAS_GREETING: bool = #greets;
                }

                #(#arguments)*
                #requests
                #replies
            };
        }
    }
}

/// Returns how the request of an operation is read, and an arm of a `match` that writes it.
///
/// The arguments are read into a tuple struct, which may be filled in any order.
fn request_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let span = Span::mixed_site();
    let private = library.at(span);
    let (index, name) = (operation.index, &operation.name);
    let message = bound_request(operation, span);
    let bound = bound_arguments(operation, span);
    let count = bound.len();
    let none = vec![quote_spanned!(span=> ::core::option::Option::None); count];
    let arguments = operation.arguments.iter().zip(&bound);
    let writers = arguments.map(|(Field { name, ty }, bound)| {
        let (write, name) = (
            method(ty, "Argument", library, "write"),
            name.unraw().to_string(),
        );
        quote_spanned!(at(ty)=> #write(#bound, #name, &mut to)?;)
    });
    let ident = Message::arguments(operation).ident;
    let read = quote_spanned! {span=>
        match #private::read_arguments(#ident(#(#none),*), from)? {
            #ident(#(::core::option::Option::Some(#bound)),*) => {
                ::core::result::Result::Ok(Self::#message)
            }
            _ => ::core::result::Result::Err(#private::incomplete()),
        }
    };
    let write = quote_spanned! {span=>
        Self::#message => {
            let mut to = __serde::Serializer::serialize_struct_variant(
                to, Self::NAME, #index, #name, #count,
            )?;
            #(#writers)*
            __serde::ser::SerializeStructVariant::end(to)
        }
    };
    (read, write)
}

/// Returns how the reply of an operation is read, and an arm of a `match` that writes it.
fn reply_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let (index, name, variant) = (operation.index, &operation.name, &operation.variant);
    let reply = &operation.reply;
    let [read, write] =
        ["read", "write"].map(|name| method(reply, "OperationReply", library, name));
    (
        quote_spanned!(at(reply)=> #read(from).map(Self::#variant)),
        quote_spanned!(at(reply)=> Self::#variant(reply) => #write(reply, #index, #name, to)),
    )
}

/// `<ty as trait>::method`, at the type.
fn method(ty: &Type, item: &str, library: &Library, method: &str) -> TokenStream {
    let span = at(ty);
    let (item, method) = (library.item(item, ty), Ident::new(method, span));
    let ty = lifetimes::unify(ty, "'de");
    let de = Lifetime::new("'de", Span::mixed_site());
    quote_spanned!(span=> <#ty as #item<#de>>::#method)
}

/// Declares the struct that the arguments of an operation are read into.
fn arguments(operation: &Operation<'_>, library: &Library) -> TokenStream {
    let span = Span::mixed_site();
    let private = library.at(span);
    let (name, arguments) = (&operation.name, operation.arguments.iter());
    let ident = Message::arguments(operation).with("'de");
    let types = arguments
        .clone()
        .map(|argument| lifetimes::unify(&argument.ty, "'de"));
    let name_of = |argument: &Field| argument.name.unraw().to_string();
    let names = arguments.clone().map(name_of);
    let places: Vec<_> = (0..arguments.len()).map(Index::from).collect();
    let readers = arguments.zip(&places).map(|(Field { ty, .. }, place)| {
        let read = method(ty, "Argument", library, "read");
        quote_spanned! {at(ty)=>
            #place => #read(from).map(|value| self.#place = ::core::option::Option::Some(value))
        }
    });
    quote_spanned! {span=>
        struct #ident(#(::core::option::Option<#types>),*);

        #private::arguments! {
            'de, #ident, #name, [#(#names),*], self, from, [#(#places),*], { #(#readers,)* }
        }
    }
}

/// Implements serde's traits for a message.
fn implementation(
    message: &Message,
    operations: &Operations<'_>,
    (read, mut write): (Vec<TokenStream>, Vec<TokenStream>),
    private: &TokenStream,
) -> TokenStream {
    let (ty, name) = (message.with("'de"), message.ident.to_string());
    let names = operations.list.iter().map(|operation| &operation.name);
    let places = 0..read.len();
    if write.is_empty() {
        write.push(quote_spanned!(Span::mixed_site()=> _ => match *self {}));
    }
    quote_spanned! {Span::mixed_site()=>
        #private::message! {
            'de, #ty, #name, [#(#names),*], self, from, { #(#places => #read,)* }, to, { #(#write,)* }
        }
    }
}
