//! What both attributes add beside the function: the type, `new` and `Debug`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Generics, ext::IdentExt as _};

use super::parts::allowance;
use crate::{
    aim::{at, twin},
    item::{Function, Module},
    types::Field,
};

/// What a type is made of, and what it has from there.
pub(super) struct Origin {
    /// Where the function or the module has its name.
    place: Ident,
    vis: TokenStream,
    attrs: TokenStream,
    /// What the fields are parameters of.
    what: &'static str,
}

impl Origin {
    pub(super) fn function(function: &Function) -> Self {
        let ident = &function.sig.ident;
        let docs = (!function.has_docs()).then(|| {
            let docs = format!(" The protocol of [`{0}`](fn@{0}).", ident.unraw());
            quote!(#[doc = #docs])
        });
        let shared = function.shared_attrs();
        Self {
            place: ident.clone(),
            vis: function.vis.to_token_stream(),
            attrs: quote!(#docs #shared),
            what: "the function",
        }
    }

    pub(super) fn module(module: &Module) -> Self {
        let ident = module.ident.unraw();
        let docs = format!(" The protocol of the operations of `{ident}`, which a server serves.");
        Self {
            place: ident,
            vis: module.vis_inside(),
            attrs: quote!(#[doc = #docs]),
            what: "the operations",
        }
    }
}

/// Declares a type and what it has of its own, next to the implementation of its trait.
pub(super) fn declare(
    origin: &Origin,
    name: &Ident,
    generics: &Generics,
    fields: &[Field],
    implementation: &TokenStream,
) -> TokenStream {
    let span = at(name);
    let (vis, attrs, what) = (&origin.vis, &origin.attrs, origin.what);
    let text = name.unraw().to_string();
    let debug = debug(name, generics, &quote_spanned!(span=> f.write_str(#text)));
    let where_clause = &generics.where_clause;
    let declared = fields.iter().map(|Field { name, ty }| {
        let text = format!(" The parameter `{}` of {what}.", name.unraw());
        quote!(#[doc = #text] #vis #name: #ty)
    });
    let (body, new) = if fields.is_empty() {
        (quote!(#where_clause;), None)
    } else {
        let new = new_function(origin, name, generics, fields);
        (quote!(#where_clause { #(#declared,)* }), Some(new))
    };
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

fn new_function(
    origin: &Origin,
    name: &Ident,
    generics: &Generics,
    fields: &[Field],
) -> TokenStream {
    let (span, vis) = (at(name), &origin.vis);
    let [twin, new] = ["impl", "new"].map(|word| twin(word, &origin.place));
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
