//! What both attributes add beside the function: the type, `new` and `Debug`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Generics, ext::IdentExt as _};

use super::allowance;
use crate::{
    aim::at,
    item::{Function, Module},
    model::Field,
};

/// The type of a protocol.
pub(super) struct Shape<'a> {
    pub(super) name: &'a Ident,
    pub(super) generics: &'a Generics,
    pub(super) fields: Vec<&'a Field>,
    /// Where what it is made of has its name.
    place: Span,
    vis: TokenStream,
    attrs: TokenStream,
    /// What its fields are parameters of.
    what: &'static str,
}

impl<'a> Shape<'a> {
    pub(super) fn of_function(
        function: &Function,
        name: &'a Ident,
        generics: &'a Generics,
        fields: Vec<&'a Field>,
    ) -> Self {
        let mut attrs = function.shared_attrs();
        if !function.has_docs() {
            let ident = function.sig.ident.unraw();
            let docs = format!(" The protocol of [`{ident}`](fn@{ident}).");
            attrs = quote!(#[doc = #docs] #attrs);
        }
        Self {
            name,
            generics,
            fields,
            place: function.sig.ident.span(),
            vis: function.vis.to_token_stream(),
            attrs,
            what: "the function",
        }
    }

    pub(super) fn of_module(
        module: &Module,
        name: &'a Ident,
        generics: &'a Generics,
        fields: Vec<&'a Field>,
    ) -> Self {
        let ident = module.ident.unraw();
        let docs = format!(" The protocol of the operations of `{ident}`, which a server serves.");
        Self {
            name,
            generics,
            fields,
            place: module.ident.span(),
            vis: module.vis_inside(),
            attrs: quote!(#[doc = #docs]),
            what: "the operations",
        }
    }

    /// Declares the type and what it has of its own, next to the implementation of its trait.
    pub(super) fn declare(&self, implementation: &TokenStream) -> TokenStream {
        let Self {
            name,
            generics,
            fields,
            vis,
            attrs,
            what,
            ..
        } = self;
        let span = at(*name);
        let text = name.unraw().to_string();
        let debug = debug(name, generics, &quote_spanned!(span=> f.write_str(#text)));
        let where_clause = &generics.where_clause;
        let fields = fields.iter().map(|Field { name, ty }| {
            let text = format!(" The parameter `{}` of {what}.", name.unraw());
            quote!(#[doc = #text] #vis #name: #ty)
        });
        let body = if self.fields.is_empty() {
            quote!(#where_clause;)
        } else {
            quote!(#where_clause { #(#fields,)* })
        };
        let new = (!self.fields.is_empty()).then(|| self.new_function());
        let allowance = allowance(span);
        quote_spanned! {span=>
            #attrs
            #[allow(clippy::exhaustive_structs, unreachable_pub, reason = "it is what the function is")]
            #vis struct #name #generics #body
            #new
            #allowance
            const _: () = {
                #debug
                #implementation
            };
        }
    }

    fn new_function(&self) -> TokenStream {
        let Self {
            name,
            generics,
            fields,
            place,
            vis,
            ..
        } = self;
        let span = at(*name);
        let (twin, new) = (Ident::new("impl", *place), Ident::new("new", *place));
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let names = fields.iter().map(|field| &field.name);
        let parameters = fields
            .iter()
            .map(|Field { name, ty }| quote_spanned!(span=> #name: #ty));
        quote_spanned! {span=>
            #[automatically_derived]
            #[allow(deprecated, reason = "the function may be")]
            #twin #impl_generics #name #type_generics #where_clause {
                /// Creates the protocol from what its function borrows or takes besides messages.
                #[must_use]
                #[allow(
                    dead_code, unreachable_pub, clippy::too_many_arguments,
                    reason = "it is there for each protocol with fields"
                )]
                #vis const fn #new(#(#parameters),*) -> Self {
                    Self { #(#names),* }
                }
            }
        }
    }
}

/// Implements `Debug`; the body writes to `f`.
pub(super) fn debug(name: &Ident, generics: &Generics, body: &TokenStream) -> TokenStream {
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote_spanned! {at(name)=>
        #[automatically_derived]
        impl #impl_generics ::core::fmt::Debug for #name #type_generics #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #body
            }
        }
    }
}
