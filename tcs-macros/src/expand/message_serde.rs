//! Writes the code that reads and writes the messages of all operations.
//!
//! The code that reads an argument or a reply and the code that writes it name the same trait with the
//! same tokens, so that a type that is not a message is one error.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Index, Lifetime, Type, ext::IdentExt as _};

use super::names::{applied, reply_type, request_type, request_variant, variable};
use crate::{
    model::operations::{Argument, Operation},
    spans::{Library, start_of},
    syntax::lifetimes::{self, DE},
};

/// Implements the library's and serde's traits for the enums. The path `__serde` is in scope.
pub(super) fn expand(list: &[Operation<'_>], library: &Library) -> TokenStream {
    let arguments = list.iter().map(|operation| arguments(operation, library));
    let (request, reply) = (request_type(list, DE), reply_type(list, DE));
    let requests = implementation("Request", &request, list, request_arms, library);
    let replies = implementation("Reply", &reply, list, reply_arms, library);
    quote_spanned!(Span::mixed_site()=> #(#arguments)* #requests #replies)
}

/// Implements the traits for one of the enums. `arms` returns the code for a variant: an expression that reads it
/// from the variable `from`, and an arm of a `match` that writes it to the variable `to`.
fn implementation(
    name: &str,
    ty: &TokenStream,
    list: &[Operation<'_>],
    arms: fn(&Operation<'_>, &Library) -> (TokenStream, TokenStream),
    library: &Library,
) -> TokenStream {
    let span = Span::mixed_site();
    let private = library.module(span);
    let names = list.iter().map(|operation| &operation.name);
    let arms = list.iter().map(|operation| arms(operation, library));
    let (read, write): (Vec<_>, Vec<_>) = arms.unzip();
    let positions = 0..list.len();
    // A description is the last operation, and has a special number.
    let in_order = |operation: &&Operation<'_>| operation.number as usize == operation.index;
    let numbered = list.iter().filter(in_order).count();
    // An enum without variants is matched by value.
    let none = || quote_spanned!(span=> _ => match *self {});
    let none = list.is_empty().then(none);
    quote_spanned! {span=>
        #private::message! {
            impl<'de> for #ty,
            name = #name,
            operations = [#(#names),*],
            numbered = #numbered,
            read(from) { #(#positions => #read,)* }
            write(self, to) { #(#write,)* #none }
        }
    }
}

/// Writes the arms of a request. The code reads the arguments into their struct, in any order.
fn request_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let span = Span::mixed_site();
    let private = library.module(span);
    let (number, name) = (operation.number, &operation.name);
    let message = request_variant(operation);
    let ident = arguments_name(operation);
    let arguments = operation.arguments.iter();
    let variables = arguments.clone().map(|argument| variable(&argument.name));
    let count = arguments.len();
    let none = vec![quote_spanned!(span=> ::core::option::Option::None); count];
    let writers = arguments.map(|argument| {
        let (variable, name, ty) = (variable(&argument.name), name_of(argument), &argument.ty);
        let write = method(ty, "Argument", library, "write");
        quote_spanned!(start_of(ty)=> #write(#variable, #name, &mut to)?;)
    });
    let read = quote_spanned! {span=>
        match #private::read_arguments(#ident(#(#none),*), from)? {
            #ident(#(::core::option::Option::Some(#variables)),*) => {
                ::core::result::Result::Ok(Self::#message)
            }
            _ => ::core::result::Result::Err(#private::no_such_item()),
        }
    };
    let write = quote_spanned! {span=>
        Self::#message => {
            let mut to = __serde::Serializer::serialize_struct_variant(
                to, "Request", #number, #name, #count,
            )?;
            #(#writers)*
            __serde::ser::SerializeStructVariant::end(to)
        }
    };
    (read, write)
}

fn reply_arms(operation: &Operation<'_>, library: &Library) -> (TokenStream, TokenStream) {
    let (number, name) = (operation.number, &operation.name);
    let (variant, reply) = (&operation.variant, &operation.reply);
    let [read, write] =
        ["read", "write"].map(|name| method(reply, "OperationReply", library, name));
    let read = quote_spanned!(start_of(reply)=> #read(from).map(Self::#variant));
    let write = quote_spanned! {start_of(reply)=>
        Self::#variant(reply) => #write(reply, "Reply", #number, #name, to)
    };
    (read, write)
}

/// Writes `<ty as trait>::method`, at the type.
fn method(ty: &Type, item: &str, library: &Library, method: &str) -> TokenStream {
    let span = start_of(ty);
    let (item, method) = (library.item(item, ty), Ident::new(method, span));
    let read_type = lifetimes::unify(ty, DE);
    let de = Lifetime::new(DE, Span::mixed_site());
    quote_spanned!(span=> <#read_type as #item<#de>>::#method)
}

/// Returns the name of an argument in a message.
fn name_of(argument: &Argument<'_>) -> String {
    argument.name.unraw().to_string()
}

/// Returns the name of the struct into which the arguments of an operation are read, in any order.
fn arguments_name(operation: &Operation<'_>) -> Ident {
    format_ident!("__Arguments{}", operation.index)
}

/// Declares the struct of [`arguments_name`], with the code that reads each argument.
fn arguments(operation: &Operation<'_>, library: &Library) -> TokenStream {
    let span = Span::mixed_site();
    let private = library.module(span);
    let (name, arguments) = (&operation.name, operation.arguments.iter());
    let ty = applied(&arguments_name(operation), operation.borrows(), DE);
    let read_type = |argument: &Argument<'_>| lifetimes::unify(&argument.ty, DE);
    let types = arguments.clone().map(read_type);
    let names = arguments.clone().map(name_of);
    let positions: Vec<_> = (0..arguments.len()).map(Index::from).collect();
    let readers = arguments.zip(&positions).map(|(Argument { ty, .. }, position)| {
        let read = method(ty, "Argument", library, "read");
        quote_spanned! {start_of(ty)=>
            #position => #read(from).map(|value| self.#position = ::core::option::Option::Some(value))
        }
    });
    // For `fn add(one: u8, name: &str)`, which is the first operation:
    //
    //     struct __Arguments0<'de>(Option<u8>, Option<&'de str>);
    //     arguments! {
    //         impl<'de> for __Arguments0<'de>,
    //         operation = "add", names = ["one", "name"], positions = [0, 1],
    //         read(self, from) {
    //             0 => <u8 as Argument<'de>>::read(from).map(|value| self.0 = Some(value)),
    //             1 => <&'de str as Argument<'de>>::read(from).map(|value| self.1 = Some(value)),
    //         }
    //     }
    //
    // A derive of serde's is not used here: it bounds and reads each type in several places, so a type that is not a
    // message would cause several errors, with spans of the derive.
    quote_spanned! {span=>
        struct #ty(#(::core::option::Option<#types>),*);

        #private::arguments! {
            impl<'de> for #ty,
            operation = #name,
            names = [#(#names),*],
            positions = [#(#positions),*],
            read(self, from) { #(#readers,)* }
        }
    }
}
