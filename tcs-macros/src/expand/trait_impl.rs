//! Writes the implementation of a protocol's trait, with the requirements on the types that the protocol keeps. rustc
//! checks these where the protocol is written, even if the program does not use the protocol.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Type, TypeParam};

use super::checks::OptionChecks;
use crate::{
    model::{Model, generics::predicates, protocol_type::ProtocolType},
    spans::{alias, ident_at, start_of},
    syntax::{is_value, lifetimes},
};

/// A requirement on a type that a protocol keeps: a trait, and the function of the library whose parameter has this
/// bound.
#[derive(Clone, Copy)]
pub(super) struct Requirement(&'static str, &'static str);

impl Requirement {
    /// For a value that connections share.
    pub(super) const STATE: Self = Self("State", "assert_state");
    /// For a value that the requests of a connection share.
    pub(super) const SHARED_SESSION: Self = Self("SharedSession", "assert_shared_session");
    /// For a value that moves from thread to thread.
    pub(super) const SEND_FIELD: Self = Self("SendField", "assert_send_field");
}

/// The implementation of the attribute's trait, whose bounds are the requirements on the types that a protocol keeps.
/// [`spans`](crate::spans) has the reasons for their form.
pub(super) struct TraitImpl<'a> {
    model: &'a Model<'a>,
    ty: &'a ProtocolType<'a>,
    bounds: Vec<TokenStream>,
    /// Whether there is a requirement on a type.
    is_bounded: bool,
    /// The checks beside the implementation.
    checks: Vec<TokenStream>,
}

impl<'a> TraitImpl<'a> {
    /// Requires the same of each type parameter and, if there is no error, of each field.
    pub(super) fn new(
        model: &'a Model<'a>,
        ty: &'a ProtocolType<'a>,
        requirement: Requirement,
    ) -> Self {
        let (params, library) = (ty.generics.type_params(), &model.options.library);
        let bound = |param: &TypeParam| library.bound(&param.ident, requirement.0);
        let mut implementation = Self {
            model,
            ty,
            bounds: params.map(bound).collect(),
            is_bounded: false,
            checks: Vec::new(),
        };
        for field in &ty.fields {
            implementation.require(&field.ty, requirement);
        }
        implementation
    }

    /// Requires something of a type that the protocol keeps, if there is no error.
    pub(super) fn require(&mut self, kept: &Type, Requirement(trait_name, check): Requirement) {
        if !self.model.is_valid || !lifetimes::find(kept).is_empty() {
            return;
        }
        self.is_bounded = true;
        if is_value(kept) {
            // The types of values meet all requirements.
            return;
        }
        let library = &self.model.options.library;
        if !self.ty.generics.params.is_empty() {
            self.bounds.push(library.bound(kept, trait_name));
            return;
        }
        let name = format!("__Kept{}", self.checks.len());
        let (declaration, path) = alias(self.ty.item_name, &name, kept);
        // The bound names the alias, because rustc would suggest `'tcs` for a lifetime that is hidden in the type.
        let bound = library.bound(&path, trait_name);
        self.bounds.push(quote!(for<'tcs> #bound));
        let check = library.item(check, kept);
        self.checks.push(quote_spanned! {start_of(kept)=>
            #declaration
            const _: fn() = #check::<#path>;
        });
    }

    /// Writes the implementation with the items of `items`, which gets the checks for the body of a method. Errors
    /// about the implementation as a whole are at `span`.
    pub(super) fn write(
        &self,
        span: Span,
        items: impl FnOnce(&[TokenStream]) -> TokenStream,
    ) -> TokenStream {
        let (model, ty) = (self.model, self.ty);
        let (bounds, checks) = (&self.bounds, &self.checks);
        let (name, private) = (&ty.name, model.options.library.module(span));
        let trait_name = Ident::new(model.options.side.trait_name(), span);
        let keyword = ident_at(ty.item_name, "impl");
        let (impl_generics, type_generics, _) = ty.generics.split_for_impl();
        let predicates = predicates(&ty.generics);
        // The checks beside the implementation are in the same `const _`, where the aliases are in scope.
        let OptionChecks { beside, in_use } = OptionChecks::of(model, ty, self.is_bounded);
        let items = items(&in_use);
        quote_spanned! {span=>
            #(#beside)*
            #(#checks)*

            #[automatically_derived]
            #keyword #impl_generics #private::#trait_name for #name #type_generics
            where
                #(#predicates,)*
                #(#bounds)*
            {
                #items
            }
        }
    }
}
