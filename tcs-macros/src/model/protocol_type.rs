//! The type that an attribute adds, whichever trait it implements.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{Generics, ext::IdentExt as _};

use super::Field;
use crate::{
    args::Args,
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
    /// Names the type of a function, which has no generics and fields yet.
    pub(super) fn of_function(args: &'a Args, name: Ident, function: &'a Function) -> Self {
        let place = &function.sig.ident;
        let docs = format!(" The protocol of [`{0}`](fn@{0}).", place.unraw());
        let attrs = function.attrs_of_type(&docs);
        Self::new(args, name, place, &function.vis, attrs)
    }

    /// Names the type of a module, which has no generics and fields yet.
    pub(super) fn of_module(args: &'a Args, module: &'a Module) -> Self {
        let place = &module.ident;
        let operations = format!(" The protocol of the operations of `{}`", place.unraw());
        let docs = format!("{operations}, which a server serves.");
        let name = Ident::new("Protocol", place.span());
        Self::new(
            args,
            name,
            place,
            &module.vis_inside(),
            quote!(#[doc = #docs]),
        )
    }

    fn new(
        args: &'a Args,
        name: Ident,
        place: &'a Ident,
        vis: &impl ToTokens,
        attrs: TokenStream,
    ) -> Self {
        Self {
            args,
            name,
            place,
            vis: vis.to_token_stream(),
            attrs,
            generics: Generics::default(),
            fields: Vec::new(),
            is_valid: false,
        }
    }
}
