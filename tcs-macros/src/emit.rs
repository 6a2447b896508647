//! What both attributes add beside the function: the type, `new` and `Debug`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Expr, GenericParam, Generics, Type, Visibility, ext::IdentExt as _, parse_quote,
};

use crate::{
    item::Function,
    lifetimes,
    spans::{at, bound, private, respan},
};

/// A parameter of the function that the type keeps.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// What a type is made of, and what it has from there.
pub(crate) struct Origin<'a> {
    pub(crate) vis: &'a Visibility,
    pub(crate) attrs: Vec<&'a Attribute>,
    /// Stands for documentation where `attrs` have none.
    pub(crate) docs: Option<String>,
    /// What its fields are parameters of.
    pub(crate) what: &'static str,
}

impl<'a> Origin<'a> {
    pub(crate) fn of(function: &'a Function) -> Self {
        let docs = (!function.has_docs()).then(|| {
            format!(
                " The protocol of [`{0}`](fn@{0}).",
                function.sig.ident.unraw()
            )
        });
        Self {
            vis: &function.vis,
            attrs: function.shared_attrs().collect(),
            docs,
            what: "the function",
        }
    }
}

/// The type of a protocol.
pub(crate) struct Shape<'a> {
    pub(crate) origin: Origin<'a>,
    pub(crate) name: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) fields: &'a [Field],
}

impl Shape<'_> {
    /// Declares the type and what it has of its own, next to the implementation of its trait.
    pub(crate) fn declare(&self, implementation: &TokenStream) -> TokenStream {
        let Self {
            origin,
            name,
            generics,
            fields,
        } = self;
        let Origin {
            vis,
            attrs,
            docs,
            what,
        } = origin;
        let span = at(*name);
        let docs = docs.as_ref().map(|text| quote!(#[doc = #text]));
        let where_clause = &generics.where_clause;
        let parameters = parameters(generics);
        let (impl_generics, type_generics, _) = generics.split_for_impl();
        let body = if fields.is_empty() {
            quote!(#where_clause;)
        } else {
            let fields = fields.iter().map(|Field { name, ty }| {
                let text = format!(" The parameter `{}` of {what}.", name.unraw());
                quote!(#[doc = #text] #vis #name: #ty)
            });
            quote!(#where_clause { #(#fields),* })
        };
        let new = (!fields.is_empty()).then(|| self.new_function());
        let text = name.unraw().to_string();
        quote_spanned! {span=>
            #docs
            #(#attrs)*
            #[allow(clippy::exhaustive_structs, unreachable_pub, reason = "it is what the function is")]
            #vis struct #name #parameters #body
            #new
            const _: () = {
                #[automatically_derived]
                #[allow(deprecated, reason = "the function may be")]
                impl #impl_generics ::core::fmt::Debug for #name #type_generics #where_clause {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(#text)
                    }
                }

                #implementation
            };
        }
    }

    fn new_function(&self) -> TokenStream {
        let Self {
            origin,
            name,
            generics,
            fields,
        } = self;
        let vis = origin.vis;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
        let types = fields.iter().map(|field| &field.ty);
        quote_spanned! {at(*name)=>
            #[automatically_derived]
            #[allow(deprecated, reason = "the function may be")]
            impl #impl_generics #name #type_generics #where_clause {
                /// Creates the protocol from what its function borrows or takes besides messages.
                #[must_use]
                #[allow(
                    dead_code, unreachable_pub, clippy::too_many_arguments,
                    reason = "it is there for each protocol with fields"
                )]
                #vis const fn new(#(#names: #types),*) -> Self {
                    Self { #(#names),* }
                }
            }
        }
    }
}

/// Has the compiler judge the parameters of a framing where it is named, if no type parameter can
/// occur in them.
///
/// `mistake` is a function that finds it by the type, so that what is no framing at all is one error.
pub(crate) fn judged(
    framing: Option<&Type>,
    generics: &Generics,
    mistake: &TokenStream,
) -> Option<TokenStream> {
    let framing = framing.filter(|_| generics.params.is_empty())?;
    Some(quote_spanned! {at(framing)=>
        const _: () = if let ::core::option::Option::Some(mistake) = #mistake() {
            ::core::panic!("{}", mistake)
        };
    })
}

fn parameters(generics: &Generics) -> TokenStream {
    if generics.params.is_empty() {
        return TokenStream::new();
    }
    let params = &generics.params;
    quote!(<#params>)
}

/// Says in a where clause what each type parameter and each of the types must be; the second type
/// of a pair is where an error belongs.
///
/// A bound that does not hold is one error there, while everything that follows from it is taken
/// as given. A type with a lifetime gets none: the compiler would use such a bound to prove that
/// any reference is `Send`, and then demand that very lifetime of it.
pub(crate) fn bounds(
    generics: &Generics,
    krate: &TokenStream,
    item: &str,
    types: &[(&Type, &Type)],
) -> TokenStream {
    let parameters = generics.type_params().map(|param| {
        let name = &param.ident;
        let bound = bound(&parse_quote!(#name), krate, item, name);
        quote!(#bound,)
    });
    let types = types
        .iter()
        .filter(|(ty, _)| lifetimes::find(ty).is_empty())
        .map(|(ty, place)| {
            let bound = bound(ty, krate, item, *place);
            quote!(#bound,)
        });
    quote!(#(#parameters)* #(#types)*)
}

/// An encoder that evaluates the expression as it encodes, so that what the expression borrows from
/// its own temporaries lives long enough.
pub(crate) fn sending(krate: &TokenStream, format: &TokenStream, expression: &Expr) -> TokenStream {
    let span = at(expression);
    let encode = private(krate, "Encode", expression);
    let krate = respan(krate.clone(), span);
    quote_spanned! {span=>
        #krate::__private::sending(move |out| {
            #encode::<#format>::encode(#expression, out)
        })
    }
}

/// The type and const arguments of a call of the function.
pub(crate) fn turbofish(generics: &Generics) -> TokenStream {
    let mut arguments = generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .peekable();
    if arguments.peek().is_none() {
        return TokenStream::new();
    }
    quote!(::<#(#arguments),*>)
}
