//! The lifetimes in a type, as far as they are written.

use std::mem::replace;

use proc_macro2::{Ident, Span};
use syn::{
    BoundLifetimes, Expr, GenericParam, Lifetime, ParenthesizedGenericArguments, TraitBound, Type,
    TypeFnPtr, TypeReference,
    spanned::Spanned as _,
    visit_mut::{self, VisitMut},
};

/// A place for a lifetime in a type.
pub(crate) enum Site<'t> {
    /// `&T`: none is written.
    Elided(&'t mut Option<Lifetime>, Span),
    /// `'a`, `'_` or `'static`.
    Written(&'t mut Lifetime),
}

/// Returns `ty` with `lifetime` for all its lifetimes, elided or named, but `'static`.
pub(crate) fn unify(ty: &Type, lifetime: &str) -> Type {
    let mut ty = ty.clone();
    let named = |span: Span| Lifetime::new(lifetime, Span::mixed_site().located_at(span));
    let mut visit = |site: Site<'_>| match site {
        Site::Elided(slot, span) => *slot = Some(named(span)),
        Site::Written(written) if written.ident == "static" => {}
        Site::Written(written) => *written = named(written.span()),
    };
    Walk::new(None, &mut visit).visit_type_mut(&mut ty);
    ty
}

/// Lets each reference that is `&'static` live as long as what is around it.
pub(crate) struct Shorten;

impl VisitMut for Shorten {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference.lifetime.take_if(|name| name.ident == "static");
        visit_mut::visit_type_reference_mut(self, reference);
    }
}

/// Returns the lifetimes that occur in `ty`: `'_` for those that are elided.
pub(crate) fn find(ty: &Type) -> Vec<Lifetime> {
    let mut found = Vec::new();
    let mut visit = |site: Site<'_>| {
        found.push(match site {
            Site::Elided(_, span) => Lifetime::new("'_", span),
            Site::Written(written) => written.clone(),
        });
    };
    Walk::new(None, &mut visit).visit_type_mut(&mut ty.clone());
    found
}

/// Returns the lifetimes in a type besides `'static`.
pub(crate) fn find_borrowed(ty: &Type) -> Vec<Lifetime> {
    let mut found = find(ty);
    found.retain(|lifetime| lifetime.ident != "static");
    found
}

/// Returns whether a type has a lifetime besides `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    !find_borrowed(ty).is_empty()
}

/// Visits the lifetimes that are declared outside of a type or a bound: not those of `for<'a>`, nor the
/// elided ones in `fn(&T)` and `Fn(&T)`.
pub(crate) struct Walk<'v> {
    visit: &'v mut dyn FnMut(Site<'_>),
    declared: Vec<Ident>,
    in_function: bool,
}

impl<'v> Walk<'v> {
    /// Leaves out the lifetimes that a `for<…>` around it declares.
    pub(crate) fn new(around: Option<&BoundLifetimes>, visit: &'v mut dyn FnMut(Site<'_>)) -> Self {
        let mut walk = Self {
            visit,
            declared: Vec::new(),
            in_function: false,
        };
        walk.declare(around);
        walk
    }

    fn declare(&mut self, lifetimes: Option<&BoundLifetimes>) {
        let params = lifetimes
            .into_iter()
            .flat_map(|declared| &declared.lifetimes);
        let names = params.filter_map(|param| match param {
            GenericParam::Lifetime(param) => Some(param.lifetime.ident.clone()),
            _ => None,
        });
        self.declared.extend(names);
    }

    fn inside_function(&mut self, walk: impl FnOnce(&mut Self)) {
        let outside = replace(&mut self.in_function, true);
        walk(self);
        self.in_function = outside;
    }
}

impl VisitMut for Walk<'_> {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        let is_elided = self.in_function && lifetime.ident == "_";
        if !is_elided && !self.declared.contains(&lifetime.ident) {
            (self.visit)(Site::Written(lifetime));
        }
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        let span = reference.and_token.span();
        match &mut reference.lifetime {
            Some(lifetime) => self.visit_lifetime_mut(lifetime),
            None if self.in_function => {}
            elided => (self.visit)(Site::Elided(elided, span)),
        }
        self.visit_type_mut(&mut reference.elem);
    }

    fn visit_type_fn_ptr_mut(&mut self, function: &mut TypeFnPtr) {
        let count = self.declared.len();
        self.declare(function.lifetimes.as_ref());
        self.inside_function(|walk| visit_mut::visit_type_fn_ptr_mut(walk, function));
        self.declared.truncate(count);
    }

    fn visit_parenthesized_generic_arguments_mut(
        &mut self,
        function: &mut ParenthesizedGenericArguments,
    ) {
        self.inside_function(|walk| {
            visit_mut::visit_parenthesized_generic_arguments_mut(walk, function);
        });
    }

    fn visit_trait_bound_mut(&mut self, bound: &mut TraitBound) {
        let count = self.declared.len();
        self.declare(bound.lifetimes.as_ref());
        visit_mut::visit_trait_bound_mut(self, bound);
        self.declared.truncate(count);
    }

    // What a block in a type names is its own.
    fn visit_expr_mut(&mut self, _: &mut Expr) {}
}

#[cfg(test)]
mod tests {
    use quote::ToTokens as _;

    use super::*;

    #[test]
    fn lifetimes_of_the_exchange_become_one() {
        for (written, unified) in [
            ("& str", "& 'e str"),
            (
                "& 'a mut A < 'b , '_ , & u8 >",
                "& 'e mut A < 'e , 'e , & 'e u8 >",
            ),
            ("& 'static str", "& 'static str"),
            (
                "(& A , [& B ; 2] , [& C])",
                "(& 'e A , [& 'e B ; 2] , [& 'e C])",
            ),
            ("< & A as B < 'a > > :: C", "< & 'e A as B < 'e > > :: C"),
            ("Box < dyn A < 'a > + 'a >", "Box < dyn A < 'e > + 'e >"),
            (
                "A < B = & C , D : E < 'a > >",
                "A < B = & 'e C , D : E < 'e > >",
            ),
            // What a `for` or a function declares is not of the exchange; other names are.
            ("fn (& u8) -> & u8", "fn (& u8) -> & u8"),
            (
                "for < 'b > fn (& 'b u8 , A < '_ > , & 'a u8) -> & 'b u8",
                "for < 'b > fn (& 'b u8 , A < '_ > , & 'e u8) -> & 'b u8",
            ),
            (
                "& dyn Fn (& 'a u8) -> & 'static u8",
                "& 'e dyn Fn (& 'e u8) -> & 'static u8",
            ),
            ("& dyn Fn (& u8) -> & u8", "& 'e dyn Fn (& u8) -> & u8"),
            (
                "& dyn for < 'b > A < 'b , 'a >",
                "& 'e dyn for < 'b > A < 'b , 'e >",
            ),
        ] {
            let ty: Type = syn::parse_str(written).expect("a type");
            assert_eq!(unify(&ty, "'e").to_token_stream().to_string(), unified);
        }
    }
}
