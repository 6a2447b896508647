//! The lifetimes in a type, as far as they are written.

use proc_macro2::{Ident, Span};
use syn::{
    AssocType, BoundLifetimes, GenericArgument, GenericParam, Lifetime, Path, PathArguments, Token,
    Type, TypeParamBound, punctuated::Punctuated, spanned::Spanned as _,
};

/// A place in a type where a lifetime stands, or could.
pub(crate) enum Site<'t> {
    /// `&T`: none is written.
    Elided(&'t mut Option<Lifetime>, Span),
    /// `'a`, `'_` or `'static`.
    Written(&'t mut Lifetime),
}

/// A lifetime in a type.
pub(crate) struct Found {
    /// Its name; `None` when it is elided.
    pub(crate) name: Option<Ident>,
    pub(crate) span: Span,
}

impl Found {
    pub(crate) fn is_static(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name == "static")
    }
}

/// Returns `ty` with all its lifetimes, elided or named, replaced by `lifetime`; `'static` stays.
pub(crate) fn unify(ty: &Type, lifetime: &str) -> Type {
    let mut ty = ty.clone();
    let named = |span: Span| Lifetime::new(lifetime, Span::mixed_site().located_at(span));
    walk(&mut ty, &mut |site| match site {
        Site::Elided(slot, span) => *slot = Some(named(span)),
        Site::Written(written) if written.ident == "static" => {}
        Site::Written(written) => *written = named(written.span()),
    });
    ty
}

/// Returns the lifetimes that occur in `ty`.
pub(crate) fn find(ty: &Type) -> Vec<Found> {
    let mut found = Vec::new();
    walk(&mut ty.clone(), &mut |site| {
        found.push(match site {
            Site::Elided(_, span) => Found { name: None, span },
            Site::Written(written) => Found {
                name: (written.ident != "_").then(|| written.ident.clone()),
                span: written.span(),
            },
        });
    });
    found
}

/// Returns whether a type has a lifetime besides `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    find(ty).iter().any(|found| !found.is_static())
}

/// Visits the lifetimes of `ty` that mean something outside of it: not those of `for<'a>`, nor the
/// elided ones in `fn(&T)` and `Fn(&T)`.
pub(crate) fn walk(ty: &mut Type, visit: &mut dyn FnMut(Site<'_>)) {
    match ty {
        Type::Array(array) => walk(&mut array.elem, visit),
        Type::Group(group) => walk(&mut group.elem, visit),
        Type::Paren(paren) => walk(&mut paren.elem, visit),
        Type::Ptr(pointer) => walk(&mut pointer.elem, visit),
        Type::Slice(slice) => walk(&mut slice.elem, visit),
        Type::Tuple(tuple) => {
            for elem in &mut tuple.elems {
                walk(elem, visit);
            }
        }
        Type::Path(path) => {
            if let Some(qself) = &mut path.qself {
                walk(&mut qself.ty, visit);
            }
            walk_path(&mut path.path, visit);
        }
        Type::Reference(reference) => {
            let span = reference.and_token.span();
            match &mut reference.lifetime {
                Some(lifetime) => visit(Site::Written(lifetime)),
                elided => visit(Site::Elided(elided, span)),
            }
            walk(&mut reference.elem, visit);
        }
        Type::TraitObject(object) => walk_bounds(&mut object.bounds, visit),
        Type::ImplTrait(object) => walk_bounds(&mut object.bounds, visit),
        _ => {}
    }
}

fn walk_bounds(
    bounds: &mut Punctuated<TypeParamBound, Token![+]>,
    visit: &mut dyn FnMut(Site<'_>),
) {
    for bound in bounds {
        walk_bound(bound, visit);
    }
}

/// Visits the lifetimes of a bound.
pub(crate) fn walk_bound(bound: &mut TypeParamBound, visit: &mut dyn FnMut(Site<'_>)) {
    match bound {
        TypeParamBound::Lifetime(lifetime) => visit(Site::Written(lifetime)),
        TypeParamBound::Trait(bound) => {
            let declared = bound.lifetimes.clone();
            walk_path(&mut bound.path, &mut |site| {
                if !is_declared(declared.as_ref(), &site) {
                    visit(site);
                }
            });
        }
        _ => {}
    }
}

fn is_declared(declared: Option<&BoundLifetimes>, site: &Site<'_>) -> bool {
    let (Site::Written(lifetime), Some(declared)) = (site, declared) else {
        return false;
    };
    declared.lifetimes.iter().any(|param| {
        matches!(param, GenericParam::Lifetime(param) if param.lifetime.ident == lifetime.ident)
    })
}

fn walk_path(path: &mut Path, visit: &mut dyn FnMut(Site<'_>)) {
    for segment in &mut path.segments {
        let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
            continue;
        };
        for argument in &mut arguments.args {
            match argument {
                GenericArgument::Lifetime(lifetime) => visit(Site::Written(lifetime)),
                GenericArgument::Type(ty) | GenericArgument::AssocType(AssocType { ty, .. }) => {
                    walk(ty, visit);
                }
                GenericArgument::Constraint(bound) => walk_bounds(&mut bound.bounds, visit),
                _ => {}
            }
        }
    }
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
            // What a `for` or a function declares is not of the exchange.
            ("fn (& u8) -> & u8", "fn (& u8) -> & u8"),
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
