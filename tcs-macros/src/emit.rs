//! What both attributes add beside the function: the type, `new` and `Debug`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, GenericParam, Generics, Type, ext::IdentExt as _};

use crate::{
    item::Function,
    spans::{at, private, respan},
};

/// A parameter of the function that the type keeps.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// The type of a protocol.
pub(crate) struct Shape<'a> {
    pub(crate) function: &'a Function,
    pub(crate) name: &'a Ident,
    pub(crate) generics: &'a Generics,
    pub(crate) fields: &'a [Field],
}

impl Shape<'_> {
    /// Declares the type and what it has of its own.
    pub(crate) fn declare(&self) -> TokenStream {
        let Self {
            function,
            name,
            generics,
            fields,
        } = self;
        let span = at(*name);
        let vis = &function.vis;
        let mut docs = function.docs().peekable();
        let docs = if docs.peek().is_some() {
            quote!(#(#docs)*)
        } else {
            let text = format!(
                " The protocol of [`{0}`](fn@{0}).",
                function.sig.ident.unraw()
            );
            quote!(#[doc = #text])
        };
        let where_clause = &generics.where_clause;
        let parameters = parameters(generics);
        let (impl_generics, type_generics, _) = generics.split_for_impl();
        let body = if fields.is_empty() {
            quote!(#where_clause;)
        } else {
            let fields = fields.iter().map(|Field { name, ty }| {
                let text = format!(" The parameter `{}` of the function.", name.unraw());
                quote!(#[doc = #text] #vis #name: #ty)
            });
            quote!(#where_clause { #(#fields),* })
        };
        let new = (!fields.is_empty()).then(|| self.new_function());
        let text = name.unraw().to_string();
        quote_spanned! {span=>
            #docs
            #[allow(clippy::exhaustive_structs, unreachable_pub, reason = "it is what the function is")]
            #vis struct #name #parameters #body
            #new
            const _: () = {
                #[automatically_derived]
                impl #impl_generics ::core::fmt::Debug for #name #type_generics #where_clause {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(#text)
                    }
                }
            };
        }
    }

    fn new_function(&self) -> TokenStream {
        let Self {
            function,
            name,
            generics,
            fields,
        } = self;
        let vis = &function.vis;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
        let types = fields.iter().map(|field| &field.ty);
        quote_spanned! {at(*name)=>
            #[automatically_derived]
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

fn parameters(generics: &Generics) -> TokenStream {
    if generics.params.is_empty() {
        return TokenStream::new();
    }
    let params = &generics.params;
    quote!(<#params>)
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
