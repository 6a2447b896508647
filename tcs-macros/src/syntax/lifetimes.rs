//! The lifetimes that are written in a type.

use std::mem::{replace, take};

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    BoundLifetimes, Expr, GenericParam, Lifetime, Macro, ParenthesizedGenericArguments,
    PredicateType, Type, TypeFnPtr, TypeReference,
    parse::{ParseStream, Parser as _},
    spanned::Spanned as _,
    visit_mut::{self, VisitMut},
};

/// The lifetime of the fields of a client, and the type's own parameter. The name is not `'a`, because users write
/// `for<'a>`.
pub(crate) const FIELD: &str = "'field";
/// The lifetime of one exchange: of a request, a reply, and values from the context.
pub(crate) const EXCHANGE: &str = "'exchange";
/// The lifetime of a message of operations, and the parameter of the enums.
pub(crate) const MESSAGE: &str = "'message";
/// The lifetime of an event, an item of a streamed reply, or a chunk of a streamed request.
pub(crate) const ITEM: &str = "'item";
/// The lifetime of a value that is read, with serde's name.
pub(crate) const DE: &str = "'de";
pub(crate) const ELIDED: &str = "'_";
pub(crate) const STATIC: &str = "'static";

/// Returns `ty` with `lifetime` in place of all its lifetimes, elided or named, except `'static`.
pub(crate) fn unify(ty: &Type, lifetime: &str) -> Type {
    let mut ty = ty.clone();
    let mut visit = |found: &mut Lifetime| {
        if found.ident != "static" {
            *found = Lifetime::new(lifetime, Span::mixed_site().located_at(found.span()));
        }
    };
    FreeLifetimes::new(&mut visit).visit_type_mut(&mut ty);
    ty
}

/// Writes `lifetime` in place of all lifetimes of a predicate except `'static`. Returns `true` if there is one.
pub(crate) fn unify_predicate(predicate: &mut PredicateType, lifetime: &Lifetime) -> bool {
    let mut is_found = false;
    let mut visit = |found: &mut Lifetime| {
        if found.ident != "static" {
            found.clone_from(lifetime);
            is_found = true;
        }
    };
    FreeLifetimes::new(&mut visit).visit_predicate_type_mut(predicate);
    is_found
}

/// Elides the lifetime of each `&'static` reference. Returns the lifetimes that it has replaced.
pub(crate) fn elide_static(ty: &mut Type) -> Vec<Lifetime> {
    let mut elided = ElideStatic::default();
    elided.visit_type_mut(ty);
    elided.0
}

#[derive(Default)]
struct ElideStatic(Vec<Lifetime>);

impl VisitMut for ElideStatic {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        self.0
            .extend(reference.lifetime.take_if(|name| name.ident == "static"));
        visit_mut::visit_type_reference_mut(self, reference);
    }
}

/// Returns the lifetimes that occur in `ty`, with `'_` for each elided one.
pub(crate) fn find(ty: &Type) -> Vec<Lifetime> {
    let mut found = Vec::new();
    let mut visit = |lifetime: &mut Lifetime| found.push(lifetime.clone());
    FreeLifetimes::new(&mut visit).visit_type_mut(&mut ty.clone());
    found
}

/// Returns the lifetimes in a type besides `'static`.
pub(crate) fn find_borrowed(ty: &Type) -> Vec<Lifetime> {
    let mut found = find(ty);
    found.retain(|lifetime| lifetime.ident != "static");
    found
}

/// Returns `true` if a type has a lifetime besides `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    !find_borrowed(ty).is_empty()
}

/// Visits the lifetimes that are declared outside of a type or a bound: not those of `for<'a>`, nor the
/// elided ones in `fn(&T)` and `Fn(&T)`.
struct FreeLifetimes<'v> {
    visit: &'v mut dyn FnMut(&mut Lifetime),
    /// The lifetimes of every `for<…>` so far. They stay in this list after the `for<…>`, because Rust rejects a name
    /// that shadows another lifetime.
    declared: Vec<Ident>,
    in_function: bool,
}

impl<'v> FreeLifetimes<'v> {
    fn new(visit: &'v mut dyn FnMut(&mut Lifetime)) -> Self {
        Self {
            visit,
            declared: Vec::new(),
            in_function: false,
        }
    }

    fn inside_function(&mut self, visit: impl FnOnce(&mut Self)) {
        let outside = replace(&mut self.in_function, true);
        visit(self);
        self.in_function = outside;
    }
}

impl VisitMut for FreeLifetimes<'_> {
    // syn visits the `for<…>` of a type or a bound before the tokens after it.
    fn visit_bound_lifetimes_mut(&mut self, bound: &mut BoundLifetimes) {
        for param in &bound.lifetimes {
            if let GenericParam::Lifetime(param) = param {
                self.declared.push(param.lifetime.ident.clone());
            }
        }
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        let is_elided = self.in_function && lifetime.ident == "_";
        if !is_elided && !self.declared.contains(&lifetime.ident) {
            (self.visit)(lifetime);
        }
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        // A `&` has a lifetime even if none is written. This writes `'_`, so that one visitor sees all lifetimes.
        if reference.lifetime.is_none() && !self.in_function {
            reference.lifetime = Some(Lifetime::new("'_", reference.and_token.span()));
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_type_fn_ptr_mut(&mut self, function: &mut TypeFnPtr) {
        self.inside_function(|visitor| visit_mut::visit_type_fn_ptr_mut(visitor, function));
    }

    fn visit_parenthesized_generic_arguments_mut(
        &mut self,
        function: &mut ParenthesizedGenericArguments,
    ) {
        self.inside_function(|visitor| {
            visit_mut::visit_parenthesized_generic_arguments_mut(visitor, function);
        });
    }

    // A macro in a type may be called with lifetimes.
    fn visit_macro_mut(&mut self, called: &mut Macro) {
        let mut visited = TokenStream::new();
        let visit = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Some(mut lifetime) = input.parse::<Option<Lifetime>>()? {
                    self.visit_lifetime_mut(&mut lifetime);
                    lifetime.to_tokens(&mut visited);
                } else {
                    visited.extend([input.parse::<TokenTree>()?]);
                }
            }
            Ok(())
        };
        visit.parse2(take(&mut called.tokens)).ok();
        called.tokens = visited;
    }

    // The lifetimes in a block within a type belong to the block.
    fn visit_expr_mut(&mut self, _: &mut Expr) {}
}

#[cfg(test)]
mod tests {
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
            // Lifetimes that a `for` or a function declares stay. Others become that of the exchange.
            ("fn (& u8) -> & u8", "fn (& u8) -> & u8"),
            (
                "for < 'b > fn (& 'b u8 , A < '_ > , & 'a u8) -> & 'b u8",
                "for < 'b > fn (& 'b u8 , A < '_ > , & 'e u8) -> & 'b u8",
            ),
            (
                "& dyn Fn (& 'a u8) -> & 'static u8",
                "& 'e dyn Fn (& 'e u8) -> & 'static u8",
            ),
            ("A ! ('a , & 'b u8)", "A ! ('e , & 'e u8)"),
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
