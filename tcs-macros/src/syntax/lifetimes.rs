//! The lifetimes in a type, as far as they are written.

use proc_macro2::{Ident, Span};
use syn::{
    AssocType, BoundLifetimes, Constraint, GenericArgument, GenericParam, Lifetime, NamedArg, Path,
    PathArguments, ReturnType, Token, Type, TypeImplTrait, TypeParamBound, TypeTraitObject,
    punctuated::Punctuated, spanned::Spanned as _,
};

/// A place for a lifetime in a type.
pub(crate) enum Site<'t> {
    /// `&T`: none is written.
    Elided(&'t mut Option<Lifetime>, Span),
    /// `'a`, `'_` or `'static`.
    Written(&'t mut Lifetime),
}

impl Site<'_> {
    /// Returns whether a `for<…>` declares this lifetime.
    pub(crate) fn is_declared(&self, lifetimes: Option<&BoundLifetimes>) -> bool {
        let (Site::Written(name), Some(declared)) = (self, lifetimes) else {
            return false;
        };
        declared.lifetimes.iter().any(|param| {
            matches!(param, GenericParam::Lifetime(param) if param.lifetime.ident == name.ident)
        })
    }
}

/// A lifetime in a type.
pub(crate) struct Found {
    /// Its name; `None` when it is elided.
    pub(crate) name: Option<Ident>,
    pub(crate) span: Span,
}

/// Returns `ty` with `lifetime` for all its lifetimes, elided or named, but `'static`.
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

/// Returns the lifetimes in a type besides `'static`.
pub(crate) fn find_borrowed(ty: &Type) -> Vec<Found> {
    let is_static = |name: &Ident| name == "static";
    let mut found = find(ty);
    found.retain(|found| !found.name.as_ref().is_some_and(is_static));
    found
}

/// Returns whether a type has a lifetime besides `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    !find_borrowed(ty).is_empty()
}

/// Visits the lifetimes of `ty` that are declared outside of it: not those of `for<'a>`, nor the elided
/// ones in `fn(&T)` and `Fn(&T)`.
pub(crate) fn walk(ty: &mut Type, visit: &mut dyn FnMut(Site<'_>)) {
    match ty {
        Type::Array(array) => walk(&mut array.elem, visit),
        Type::FnPtr(function) => {
            let declared = function.lifetimes.clone();
            walk_function(&mut function.inputs, &mut function.output, &mut |site| {
                if !site.is_declared(declared.as_ref()) {
                    visit(site);
                }
            });
        }
        Type::Group(group) => walk(&mut group.elem, visit),
        Type::Paren(paren) => walk(&mut paren.elem, visit),
        Type::Ptr(pointer) => walk(&mut pointer.elem, visit),
        Type::Slice(slice) => walk(&mut slice.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| walk(elem, visit)),
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
        Type::TraitObject(TypeTraitObject { bounds, .. })
        | Type::ImplTrait(TypeImplTrait { bounds, .. }) => {
            bounds.iter_mut().for_each(|bound| walk_bound(bound, visit));
        }
        _ => {}
    }
}

/// Visits the lifetimes of a bound.
pub(crate) fn walk_bound(bound: &mut TypeParamBound, visit: &mut dyn FnMut(Site<'_>)) {
    match bound {
        TypeParamBound::Lifetime(lifetime) => visit(Site::Written(lifetime)),
        TypeParamBound::Trait(bound) => {
            let declared = bound.lifetimes.clone();
            walk_path(&mut bound.path, &mut |site| {
                if !site.is_declared(declared.as_ref()) {
                    visit(site);
                }
            });
        }
        _ => {}
    }
}

fn walk_path(path: &mut Path, visit: &mut dyn FnMut(Site<'_>)) {
    for segment in &mut path.segments {
        let arguments = match &mut segment.arguments {
            PathArguments::None => continue,
            PathArguments::AngleBracketed(arguments) => arguments,
            PathArguments::Parenthesized(function) => {
                walk_function(&mut function.inputs, &mut function.output, visit);
                continue;
            }
        };
        for argument in &mut arguments.args {
            match argument {
                GenericArgument::Lifetime(lifetime) => visit(Site::Written(lifetime)),
                GenericArgument::Type(ty) | GenericArgument::AssocType(AssocType { ty, .. }) => {
                    walk(ty, visit);
                }
                GenericArgument::Constraint(Constraint { bounds, .. }) => {
                    bounds.iter_mut().for_each(|bound| walk_bound(bound, visit));
                }
                _ => {}
            }
        }
    }
}

/// Visits the lifetimes with a name in `(T) -> U`.
fn walk_function(
    inputs: &mut Punctuated<NamedArg, Token![,]>,
    output: &mut ReturnType,
    visit: &mut dyn FnMut(Site<'_>),
) {
    let mut visit_named = |site: Site<'_>| {
        if matches!(&site, Site::Written(name) if name.ident != "_") {
            visit(site);
        }
    };
    for NamedArg { ty, .. } in inputs {
        walk(ty, &mut visit_named);
    }
    if let ReturnType::Type(_, ty) = output {
        walk(ty, &mut visit_named);
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
