//! Writes how the messages of all operations are read; cannot fail.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Lifetime, ext::IdentExt as _, parse_quote};

use super::{
    messages::Message,
    model::{Operation, Operations},
    pieces::{argument_reader, de, generics, reply_reader},
};

/// Writes `Deserialize` for both enums.
pub(super) fn expand(
    operations: &Operations<'_>,
    request: &Message,
    reply: &Message,
    private: &TokenStream,
) -> TokenStream {
    let span = Span::mixed_site();
    let list = operations.list.iter().enumerate();
    let arguments = list.clone().map(|(number, operation)| {
        Arguments {
            operation,
            number,
            request,
            private,
        }
        .expand()
    });
    let requests = list.clone().map(|(number, operation)| {
        let visitor = format_ident!("__Arguments{number}");
        let names = names(operation);
        quote_spanned! {span=>
            __serde::de::VariantAccess::struct_variant(
                variant, &[#(#names),*], #visitor(::core::marker::PhantomData),
            )
        }
    });
    let replies = list.map(|(number, Operation { variant, .. })| {
        let reader = reply_reader(number);
        quote_spanned!(span=> #reader(variant).map(Self::Value::#variant))
    });
    let request = deserialize(operations, request, private, "Request", requests.collect());
    let reply = deserialize(operations, reply, private, "Reply", replies.collect());
    quote_spanned!(span=> #(#arguments)* #request #reply)
}

fn names(operation: &Operation<'_>) -> Vec<String> {
    let arguments = operation.arguments.iter();
    arguments
        .map(|argument| argument.name.unraw().to_string())
        .collect()
}

/// A function from the names to their numbers.
fn number_of(names: &[String]) -> TokenStream {
    let numbers = (0..names.len()).map(literal);
    quote_spanned! {Span::mixed_site()=>
        |name: &str| match name {
            #(#names => ::core::option::Option::Some(#numbers),)*
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

/// How the arguments of one operation are read.
struct Arguments<'a> {
    operation: &'a Operation<'a>,
    number: usize,
    request: &'a Message,
    private: &'a TokenStream,
}

impl Arguments<'_> {
    fn expand(&self) -> TokenStream {
        let Self {
            operation,
            number,
            request,
            private,
            ..
        } = self;
        let Operation {
            variant,
            name,
            arguments,
            ..
        } = operation;
        let de = de();
        let visitor = format_ident!("__Arguments{number}");
        let (impl_generics, marker) = (generics(request), marker(request));
        let Message {
            ident,
            generics: declared,
        } = request;
        let (_, type_generics, _) = declared.split_for_impl();
        let readers: Vec<_> = (0..arguments.len())
            .map(|place| argument_reader(*number, place))
            .collect();
        let bound: Vec<_> = (0..arguments.len())
            .map(|place| format_ident!("argument_{place}", span = Span::mixed_site()))
            .collect();
        let places: Vec<_> = (0..arguments.len()).map(literal).collect();
        let fields: Vec<_> = arguments.iter().map(|argument| &argument.name).collect();
        let names = names(operation);
        let number_of = number_of(&names);
        let expecting = format!("the arguments of `{name}`");
        let made = quote_spanned!(Span::mixed_site()=> ::core::result::Result::Ok(#ident::#variant { #(#fields: #bound),* }));
        quote_spanned! {Span::mixed_site()=>
            struct #visitor #declared(::core::marker::PhantomData<#marker>);

            #[automatically_derived]
            #[allow(deprecated, unused_mut, unused_variables, clippy::all, clippy::pedantic,
                clippy::nursery, reason = "it is generated")]
            impl<#impl_generics> __serde::de::Visitor<#de> for #visitor #type_generics {
                type Value = #ident #type_generics;

                fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(#expecting)
                }

                #[inline]
                fn visit_seq<__A: __serde::de::SeqAccess<#de>>(
                    self,
                    mut list: __A,
                ) -> ::core::result::Result<Self::Value, __A::Error> {
                    #(let #bound = #readers(#private::Element { list: &mut list, name: #names })?;)*
                    #made
                }

                #[inline]
                fn visit_map<__A: __serde::de::MapAccess<#de>>(
                    self,
                    mut map: __A,
                ) -> ::core::result::Result<Self::Value, __A::Error> {
                    #(let mut #bound = ::core::option::Option::None;)*
                    while let ::core::option::Option::Some(place) =
                        __serde::de::MapAccess::next_key_seed(&mut map, #private::Name(#number_of))?
                    {
                        match place {
                            #(::core::option::Option::Some(#places) => {
                                if #bound.is_some() {
                                    return ::core::result::Result::Err(#private::twice(#names));
                                }
                                #bound = ::core::option::Option::Some(
                                    #readers(#private::Value(&mut map))?,
                                );
                            })*
                            _ => {
                                let __serde::de::IgnoredAny =
                                    __serde::de::MapAccess::next_value(&mut map)?;
                            }
                        }
                    }
                    #(let #bound = match #bound {
                        ::core::option::Option::Some(value) => value,
                        ::core::option::Option::None => #readers(#private::Missing::new(#names))?,
                    };)*
                    #made
                }
            }
        }
    }
}

/// Writes `Deserialize`; the arms make the value of `variant`, in the order of the operations.
fn deserialize(
    operations: &Operations<'_>,
    message: &Message,
    private: &TokenStream,
    name: &str,
    mut arms: Vec<TokenStream>,
) -> TokenStream {
    let de = de();
    let (impl_generics, marker) = (generics(message), marker(message));
    let Message {
        ident,
        generics: declared,
    } = message;
    let (_, type_generics, _) = declared.split_for_impl();
    let visitor = format_ident!("__Visit{name}");
    let names: Vec<String> = operations
        .list
        .iter()
        .map(|operation| operation.name.clone())
        .collect();
    let number_of = number_of(&names);
    let count = literal(names.len());
    let last = arms.pop().unwrap_or_else(|| {
        parse_quote! {
            ::core::result::Result::Err(__serde::de::Error::custom("there are no operations"))
        }
    });
    let places = (0..arms.len()).map(literal);
    quote_spanned! {Span::mixed_site()=>
        struct #visitor #declared(::core::marker::PhantomData<#marker>);

        #[automatically_derived]
        #[allow(deprecated, unused_variables, clippy::all, clippy::pedantic, clippy::nursery,
            reason = "it is generated")]
        impl<#impl_generics> __serde::de::Visitor<#de> for #visitor #type_generics {
            type Value = #ident #type_generics;

            fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("an operation")
            }

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
                    #(#places => #arms,)*
                    _ => #last,
                }
            }
        }

        #[automatically_derived]
        #[allow(deprecated, clippy::all, clippy::pedantic, clippy::nursery, reason = "it is generated")]
        impl<#impl_generics> __serde::Deserialize<#de> for #ident #type_generics {
            fn deserialize<__D: __serde::Deserializer<#de>>(
                from: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                __serde::Deserializer::deserialize_enum(
                    from,
                    #name,
                    &[#(#names),*],
                    #visitor(::core::marker::PhantomData),
                )
            }
        }
    }
}
