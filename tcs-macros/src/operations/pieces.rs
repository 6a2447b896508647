//! Writes what reads and writes each argument and each reply; cannot fail.
//!
//! Both name one trait in the same words, so that a type that is no message is one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Lifetime, Type, ext::IdentExt as _};

use super::{
    messages::Message,
    model::{Operation, Operations},
};
use crate::{
    emit::Field,
    spans::{at, private},
};

/// What reads an argument, by the numbers of its operation and of itself.
pub(super) fn argument_reader(operation: usize, place: usize) -> Ident {
    format_ident!("__read_{operation}_{place}")
}

/// What writes an argument.
pub(super) fn argument_writer(operation: usize, place: usize) -> Ident {
    format_ident!("__write_{operation}_{place}")
}

/// What reads a reply, by the number of its operation.
pub(super) fn reply_reader(operation: usize) -> Ident {
    format_ident!("__read_{operation}")
}

/// What writes a reply.
pub(super) fn reply_writer(operation: usize) -> Ident {
    format_ident!("__write_{operation}")
}

/// The lifetime of the bytes.
pub(super) fn de() -> Lifetime {
    Lifetime::new("'de", Span::mixed_site())
}

/// The generics of what reads a message, with `'de` in front.
pub(super) fn generics(message: &Message) -> TokenStream {
    let de = de();
    if message.generics.params.is_empty() {
        return quote_spanned!(Span::mixed_site()=> #de);
    }
    let a = Lifetime::new("'a", Span::mixed_site());
    quote_spanned!(Span::mixed_site()=> #de: #a, #a)
}

/// Writes all functions.
pub(super) fn expand(
    operations: &Operations<'_>,
    request: &Message,
    reply: &Message,
    krate: &TokenStream,
) -> TokenStream {
    let span = Span::mixed_site();
    let private = quote_spanned!(span=> #krate::__private);
    let mut pieces = TokenStream::new();
    for operation in &operations.list {
        for (place, field) in operation.arguments.iter().enumerate() {
            let numbers = (operation.number, place);
            pieces.extend(argument(field, numbers, request, krate, &private));
        }
        pieces.extend(reply_of(operation, reply, krate));
    }
    pieces
}

/// `<ty as trait>::method`, at the type.
fn method(ty: &Type, item: &str, krate: &TokenStream, method: &str) -> TokenStream {
    let span = at(ty);
    let de = de();
    let item = private(krate, item, ty);
    let method = Ident::new(method, span);
    quote_spanned!(span=> <#ty as #item<#de>>::#method)
}

fn argument(
    field: &Field,
    (operation, place): (usize, usize),
    message: &Message,
    krate: &TokenStream,
    private: &TokenStream,
) -> TokenStream {
    let Field { name, ty } = field;
    let span = at(ty);
    let de = de();
    let name = name.unraw().to_string();
    let generics = generics(message);
    let (reader, writer) = (
        argument_reader(operation, place),
        argument_writer(operation, place),
    );
    let (read, write) = (
        method(ty, "Argument", krate, "read"),
        method(ty, "Argument", krate, "write"),
    );
    quote_spanned! {span=>
        #[inline]
        fn #reader<#generics, __R: #private::Read<#de>>(
            from: __R,
        ) -> ::core::result::Result<#ty, __R::Error> {
            #read(from)
        }

        #[inline]
        fn #writer<#generics, __W: __serde::ser::SerializeStructVariant>(
            value: &#ty,
            to: &mut __W,
        ) -> ::core::result::Result<(), __W::Error> {
            #write(value, #name, to)
        }
    }
}

fn reply_of(operation: &Operation<'_>, message: &Message, krate: &TokenStream) -> TokenStream {
    let Operation {
        number,
        name,
        reply: ty,
        ..
    } = operation;
    let span = at(ty);
    let de = de();
    let generics = generics(message);
    let (reader, writer) = (reply_reader(*number), reply_writer(*number));
    let (read, write) = (
        method(ty, "Returned", krate, "read"),
        method(ty, "Returned", krate, "write"),
    );
    quote_spanned! {span=>
        #[inline]
        fn #reader<#generics, __A: __serde::de::VariantAccess<#de>>(
            from: __A,
        ) -> ::core::result::Result<#ty, __A::Error> {
            #read(from)
        }

        #[inline]
        fn #writer<#generics, __S: __serde::Serializer>(
            value: &#ty,
            number: u32,
            to: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            #write(value, number, #name, to)
        }
    }
}
