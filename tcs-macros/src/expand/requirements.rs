//! Writes what the types that a protocol keeps must be. It is checked where the protocol is written, also
//! if nobody uses it.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Type, TypeParam};

use crate::{
    aim::{Alias, at},
    model::protocol_type::ProtocolType,
    syntax::lifetimes,
};

/// Two items of the library that require the same of a type.
#[derive(Clone, Copy)]
pub(super) struct Requirement {
    /// A trait.
    bound: &'static str,
    /// A function that has the trait as a bound of its parameter.
    check: &'static str,
}

/// A type that connections share.
pub(super) const STATE: Requirement = Requirement::new("State", "assert_state");
/// A type that moves from thread to thread.
pub(super) const SEND_FIELD: Requirement = Requirement::new("SendField", "assert_send_field");

impl Requirement {
    const fn new(bound: &'static str, check: &'static str) -> Self {
        Self { bound, check }
    }
}

/// What the types that a protocol keeps must be: bounds of its implementation, and checks beside it.
///
/// Where a bound of the implementation does not hold, rustc reports it once, and takes it as given in
/// the rest of the code. That is what we want, with two exceptions:
///
/// - Without type parameters, rustc would also report each trait that the bound implies. So the bound is
///   written as `for<'tcs> Type: State`, which rustc does not check, and a constant checks it once.
/// - A type with a lifetime has no bound. rustc would take it as the only proof that a reference is
///   `Send`, and then require all references to have that very lifetime.
pub(super) struct Requirements<'a> {
    ty: &'a ProtocolType<'a>,
    pub(super) bounds: TokenStream,
    pub(super) checks: Vec<TokenStream>,
}

impl<'a> Requirements<'a> {
    /// Requires something of each type parameter.
    pub(super) fn new(ty: &'a ProtocolType<'a>, Requirement { bound, .. }: Requirement) -> Self {
        let params = ty.generics.type_params();
        let bound = |param: &TypeParam| ty.args.library.bound(&param.ident, bound);
        Self {
            ty,
            bounds: params.map(bound).collect(),
            checks: Vec::new(),
        }
    }

    /// Requires something of a type that the protocol keeps.
    pub(super) fn add(&mut self, kept: &Type, requirement: Requirement) {
        if !lifetimes::find(kept).is_empty() {
            return;
        }
        let library = &self.ty.args.library;
        let bound = library.bound(kept, requirement.bound);
        if !self.ty.generics.params.is_empty() {
            self.bounds.extend(bound);
            return;
        }
        self.bounds.extend(quote!(for<'tcs> #bound));
        let name = format!("__Kept{}", self.checks.len());
        let Alias { declaration, path } = Alias::new(self.ty.place, &name, kept);
        let check = library.item(requirement.check, kept);
        self.checks.push(quote_spanned! {at(kept)=>
            #declaration
            const _: fn() = #check::<#path>;
        });
    }
}
