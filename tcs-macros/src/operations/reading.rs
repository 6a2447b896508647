//! Writes how the messages of all operations are read; cannot fail.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Lifetime, ext::IdentExt as _};

use super::{
    messages::Message,
    model::{Operation, Operations},
    pieces::{argument_reader, de, generics, reply_reader},
};
use crate::spans::{list, numbered};

/// Writes `Deserialize` for both enums.
pub(super) fn expand(
    operations: &Operations<'_>,
    request: &Message,
    reply: &Message,
    private: &TokenStream,
) -> TokenStream {
    let span = Span::mixed_site();
    let mut visitors = TokenStream::new();
    let mut names = Vec::new();
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for operation in &operations.list {
        let Operation {
            number,
            name,
            variant,
            arguments,
            ..
        } = operation;
        let ident = format_ident!("__Arguments{number}");
        visitors.extend(arguments_visitor(&ident, operation, request, private));
        names.push(name.clone());
        let mut fields = Vec::new();
        for argument in arguments {
            fields.push(argument.name.unraw().to_string());
        }
        let fields = list(&fields);
        requests.push(quote_spanned! {span=>
            __serde::de::VariantAccess::struct_variant(
                variant, &[#fields], #ident(::core::marker::PhantomData),
            )
        });
        let reader = reply_reader(*number);
        replies.push(quote_spanned!(span=> #reader(variant).map(Self::Value::#variant)));
    }
    let request = deserialize(&names, request, private, "Request", requests);
    let reply = deserialize(&names, reply, private, "Reply", replies);
    quote_spanned!(span=> #visitors #request #reply)
}

/// A function from the names to their numbers.
fn number_of(names: &[String]) -> TokenStream {
    let mut arms = TokenStream::new();
    for (number, name) in names.iter().enumerate() {
        let number = literal(number);
        arms.extend(quote_spanned! {Span::mixed_site()=>
            #name => ::core::option::Option::Some(#number),
        });
    }
    quote_spanned! {Span::mixed_site()=>
        |name: &str| match name {
            #arms
            _ => ::core::option::Option::None,
        }
    }
}

fn literal(number: usize) -> Literal {
    Literal::u64_suffixed(number as u64)
}

/// What stands for what is read in a type that holds nothing.
fn marker(message: &Message) -> TokenStream {
    if message.generics.params.is_empty() {
        return quote_spanned!(Span::mixed_site()=> ());
    }
    let a = Lifetime::new("'a", Span::mixed_site());
    quote_spanned!(Span::mixed_site()=> &#a ())
}

/// What serde reads a message with.
fn visitor(
    ident: &Ident,
    message: &Message,
    expecting: &str,
    methods: &TokenStream,
) -> TokenStream {
    let de = de();
    let (impl_generics, marker) = (generics(message), marker(message));
    let Message {
        ident: value,
        generics: declared,
    } = message;
    let (_, type_generics, _) = declared.split_for_impl();
    quote_spanned! {Span::mixed_site()=>
        struct #ident #declared(::core::marker::PhantomData<#marker>);

        #[automatically_derived]
        impl<#impl_generics> __serde::de::Visitor<#de> for #ident #type_generics {
            type Value = #value #type_generics;

            fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#expecting)
            }

            #methods
        }
    }
}

/// How the arguments of one operation are read.
fn arguments_visitor(
    ident: &Ident,
    operation: &Operation<'_>,
    request: &Message,
    private: &TokenStream,
) -> TokenStream {
    let span = Span::mixed_site();
    let de = de();
    let mut names = Vec::new();
    let (mut in_turn, mut unset) = (TokenStream::new(), TokenStream::new());
    let (mut by_name, mut complete) = (TokenStream::new(), TokenStream::new());
    for (place, argument) in operation.arguments.iter().enumerate() {
        let bound = numbered("argument", place, span);
        let reader = argument_reader(operation.number, place);
        let name = argument.name.unraw().to_string();
        let place = literal(place);
        in_turn.extend(quote_spanned! {span=>
            let #bound = #reader(#private::Element { list: &mut list, name: #name })?;
        });
        unset.extend(quote_spanned!(span=> let mut #bound = ::core::option::Option::None;));
        by_name.extend(quote_spanned! {span=>
            ::core::option::Option::Some(#place) => {
                if #bound.is_some() {
                    return ::core::result::Result::Err(#private::twice(#name));
                }
                #bound = ::core::option::Option::Some(#reader(#private::Value(&mut map))?,);
            }
        });
        complete.extend(quote_spanned! {span=>
            let #bound = match #bound {
                ::core::option::Option::Some(value) => value,
                ::core::option::Option::None => #reader(#private::Missing::new(#name))?,
            };
        });
        names.push(name);
    }
    let number_of = number_of(&names);
    let (message, bound) = (&request.ident, operation.bound(span));
    let made = quote_spanned!(span=> ::core::result::Result::Ok(#message::#bound));
    let methods = quote_spanned! {span=>
        #[inline]
        fn visit_seq<__A: __serde::de::SeqAccess<#de>>(
            self,
            mut list: __A,
        ) -> ::core::result::Result<Self::Value, __A::Error> {
            #in_turn
            #made
        }

        #[inline]
        fn visit_map<__A: __serde::de::MapAccess<#de>>(
            self,
            mut map: __A,
        ) -> ::core::result::Result<Self::Value, __A::Error> {
            #unset
            while let ::core::option::Option::Some(place) =
                __serde::de::MapAccess::next_key_seed(&mut map, #private::Name(#number_of))?
            {
                match place {
                    #by_name
                    _ => {
                        let __serde::de::IgnoredAny =
                            __serde::de::MapAccess::next_value(&mut map)?;
                    }
                }
            }
            #complete
            #made
        }
    };
    let expecting = format!("the arguments of `{}`", operation.name);
    visitor(ident, request, &expecting, &methods)
}

/// Writes `Deserialize`; the values make the message of `variant`, in the order of the operations.
fn deserialize(
    names: &[String],
    message: &Message,
    private: &TokenStream,
    name: &str,
    mut values: Vec<TokenStream>,
) -> TokenStream {
    let de = de();
    let impl_generics = generics(message);
    let Message {
        ident,
        generics: declared,
    } = message;
    let (_, type_generics, _) = declared.split_for_impl();
    let last = values.pop().unwrap_or_else(|| {
        quote! {
            ::core::result::Result::Err(__serde::de::Error::custom("there are no operations"))
        }
    });
    let mut arms = TokenStream::new();
    for (number, value) in values.iter().enumerate() {
        let number = literal(number);
        arms.extend(quote_spanned!(Span::mixed_site()=> #number => #value,));
    }
    let number_of = number_of(names);
    let count = literal(names.len());
    let methods = quote_spanned! {Span::mixed_site()=>
        #[inline]
        fn visit_enum<__A: __serde::de::EnumAccess<#de>>(
            self,
            from: __A,
        ) -> ::core::result::Result<Self::Value, __A::Error> {
            let (number, variant) = __serde::de::EnumAccess::variant_seed(
                from,
                #private::Operation { count: #count, number: #number_of },
            )?;
            match number {
                #arms
                _ => #last,
            }
        }
    };
    let visitor_ident = format_ident!("__Visit{name}");
    let visitor = visitor(&visitor_ident, message, "an operation", &methods);
    let names = list(names);
    quote_spanned! {Span::mixed_site()=>
        #visitor

        #[automatically_derived]
        impl<#impl_generics> __serde::Deserialize<#de> for #ident #type_generics {
            fn deserialize<__D: __serde::Deserializer<#de>>(
                from: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                __serde::Deserializer::deserialize_enum(
                    from,
                    #name,
                    &[#names],
                    #visitor_ident(::core::marker::PhantomData),
                )
            }
        }
    }
}
