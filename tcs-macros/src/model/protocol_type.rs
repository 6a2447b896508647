//! The type that an attribute adds, whichever trait it implements.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{Attribute, Generics, ext::IdentExt as _};

use super::Field;
use crate::{
    args::Args,
    errors::Errors,
    item::{Function, Module},
};

/// The type of a protocol.
pub(crate) struct ProtocolType<'a> {
    pub(crate) args: &'a Args,
    pub(crate) name: Ident,
    /// The name of the function or the module, for errors that are about no single token.
    pub(crate) place: &'a Ident,
    pub(crate) vis: TokenStream,
    /// Documentation, allowances and deprecation.
    pub(crate) attrs: TokenStream,
    pub(crate) generics: Generics,
    pub(crate) fields: Vec<Field>,
    /// Whether nothing is wrong with the item; otherwise the implementation consists of stubs.
    pub(crate) is_valid: bool,
}

impl<'a> ProtocolType<'a> {
    /// Describes the type of a function, after all of it is checked.
    pub(super) fn of_function(
        args: &'a Args,
        name: Ident,
        function: &'a Function,
        generics: Generics,
        fields: Vec<Field>,
        errors: &Errors,
    ) -> Self {
        let place = &function.sig.ident;
        let docs = format!(" The protocol of [`{0}`](fn@{0}).", place.unraw());
        Self {
            args,
            name,
            place,
            vis: function.vis.to_token_stream(),
            attrs: attrs_of_type(function, &docs),
            generics,
            fields,
            is_valid: errors.may_call_functions(),
        }
    }

    /// Describes the type of a module, after all of it is checked.
    pub(super) fn of_module(
        args: &'a Args,
        module: &'a Module,
        generics: Generics,
        fields: Vec<Field>,
        errors: &Errors,
    ) -> Self {
        let place = &module.ident;
        let operations = format!(" The protocol of the operations of `{}`", place.unraw());
        let docs = format!("{operations}, which a server serves.");
        Self {
            args,
            name: Ident::new("Protocol", place.span()),
            place,
            vis: module.vis_inside(),
            attrs: quote!(#[doc = #docs]),
            generics,
            fields,
            is_valid: errors.may_call_functions(),
        }
    }

    /// Returns the module of the library that expansions use, at `span`.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        self.args.library.at(span)
    }
}

/// Returns the attributes that what is made of a function has as well: `allow`, `deprecated` and
/// documentation, which is `docs` if there is none.
pub(crate) fn attrs_of_type(function: &Function, docs: &str) -> TokenStream {
    let names = ["doc", "allow", "deprecated"];
    let is_kept = |attr: &&Attribute| names.iter().any(|name| attr.path().is_ident(name));
    let kept: Vec<_> = function.attrs.iter().filter(is_kept).collect();
    let has_docs = kept.iter().any(|attr| attr.path().is_ident("doc"));
    let docs = (!has_docs).then(|| quote!(#[doc = #docs]));
    quote!(#docs #(#kept)*)
}
