//! Writes the implementation of a protocol's trait, with what the types that the protocol keeps must be. These
//! are checked where the protocol is written, also if nobody uses it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Type, TypeParam};

use super::options::OptionChecks;
use crate::{
    model::{Model, generics::predicates, protocol_type::ProtocolType},
    spans::{alias, ident_at, start_of},
    syntax::{is_value, lifetimes},
};

/// What a type that a protocol keeps must be.
#[derive(Clone, Copy)]
pub(super) struct Requirement {
    trait_name: &'static str,
    /// The function that has the trait as a bound of its parameter.
    check: &'static str,
}

impl Requirement {
    /// Connections share it.
    pub(super) const STATE: Self = Self {
        trait_name: "State",
        check: "assert_state",
    };
    /// The requests of a connection share it.
    pub(super) const SHARED_SESSION: Self = Self {
        trait_name: "SharedSession",
        check: "assert_shared_session",
    };
    /// It moves from thread to thread.
    pub(super) const SEND_FIELD: Self = Self {
        trait_name: "SendField",
        check: "assert_send_field",
    };
}

/// The implementation of the attribute's trait, whose bounds say what the types that a protocol keeps must be.
///
/// Where a bound of the implementation does not hold, rustc reports it once, and takes it as given in
/// the rest of the code. That is what we want, with two exceptions:
///
/// - Without type parameters, rustc would also report each trait that the bound implies. So the bound is
///   written as `for<'tcs> Type: State`, which rustc does not check, and a constant checks it once.
/// - A type with a lifetime has no bound. rustc would take it as the only proof that a reference is
///   `Send`, and then require all references to have that very lifetime.
pub(super) struct TraitImpl<'a> {
    model: &'a Model<'a>,
    ty: &'a ProtocolType<'a>,
    bounds: TokenStream,
    /// Whether something is required of a type.
    is_bounded: bool,
    /// Beside the implementation.
    checks: Vec<TokenStream>,
}

impl<'a> TraitImpl<'a> {
    /// Requires the same of each type parameter and, if there is no error, of each field.
    pub(super) fn new(
        model: &'a Model<'a>,
        ty: &'a ProtocolType<'a>,
        requirement: Requirement,
    ) -> Self {
        let params = ty.generics.type_params();
        let bound = |param: &TypeParam| {
            model
                .options
                .library
                .bound(&param.ident, requirement.trait_name)
        };
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
    pub(super) fn require(&mut self, kept: &Type, requirement: Requirement) {
        if !self.model.is_valid || !lifetimes::find(kept).is_empty() {
            return;
        }
        self.is_bounded = true;
        if is_value(kept) {
            // Whatever is required, it is.
            return;
        }
        let library = &self.model.options.library;
        if !self.ty.generics.params.is_empty() {
            self.bounds
                .extend(library.bound(kept, requirement.trait_name));
            return;
        }
        let name = format!("__Kept{}", self.checks.len());
        let (declaration, path) = alias(self.ty.item_name, &name, kept);
        // By the alias, because rustc would suggest `'tcs` for a lifetime that is hidden in the type.
        let bound = library.bound(&path, requirement.trait_name);
        self.bounds.extend(quote!(for<'tcs> #bound));
        let check = library.item(requirement.check, kept);
        self.checks.push(quote_spanned! {start_of(kept)=>
            #declaration
            const _: fn() = #check::<#path>;
        });
    }

    /// Writes the implementation, with the items that `items` writes of the checks for the body of a method. Errors in
    /// it as a whole are reported at `span`.
    pub(super) fn write(
        &self,
        span: Span,
        items: impl FnOnce(&TokenStream) -> TokenStream,
    ) -> TokenStream {
        let (model, ty) = (self.model, self.ty);
        let (bounds, checks) = (&self.bounds, &self.checks);
        let (name, private) = (&ty.name, model.options.library.module(span));
        let trait_name = Ident::new(model.options.side.trait_name(), span);
        let keyword = ident_at(ty.item_name, "impl");
        let (impl_generics, type_generics, _) = ty.generics.split_for_impl();
        let predicates = predicates(&ty.generics);
        // Beside the implementation and in the same `const _`, where the aliases are in scope.
        let OptionChecks { beside, in_use } = OptionChecks::of(model, ty, self.is_bounded);
        let items = items(&in_use);
        quote_spanned! {span=>
            #beside
            #(#checks)*

            #[automatically_derived]
            #keyword #impl_generics #private::#trait_name for #name #type_generics
            where
                #(#predicates,)*
                #bounds
            {
                #items
            }
        }
    }
}
