//! What becomes of the function's generics on its type.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    BoundLifetimes, GenericParam, Generics, Lifetime, LifetimeParam, Type, TypeParamBound,
    WhereClause, WherePredicate, punctuated::Punctuated,
};

use crate::{
    emit::Field,
    errors::Errors,
    lifetimes::{Site, walk, walk_bound},
};

/// The generics of the type: parameters and bounds of the function without its lifetimes, which
/// belong to one exchange.
///
/// A bound that mentions such a lifetime holds for any.
pub(crate) fn of_type(function: &Generics) -> Generics {
    let mut generics = Generics {
        params: Punctuated::new(),
        where_clause: None,
        ..function.clone()
    };
    for param in &function.params {
        let mut param = param.clone();
        match &mut param {
            GenericParam::Type(ty) => {
                ty.attrs.clear();
                ty.default = None;
                ty.bounds = for_any(&ty.bounds);
            }
            GenericParam::Const(value) => {
                value.attrs.clear();
                value.default = None;
            }
            GenericParam::Lifetime(_) => continue,
        }
        generics.params.push(param);
    }
    if let Some(clause) = &function.where_clause {
        let mut predicates = Punctuated::new();
        for pair in clause.predicates.pairs() {
            let WherePredicate::Type(predicate) = pair.into_value() else {
                continue;
            };
            let mut predicate = predicate.clone();
            let mut of_exchange = false;
            walk(&mut predicate.bounded_ty, &mut |site| {
                of_exchange |= rename(site);
            });
            if of_exchange {
                add_binder(&mut predicate.lifetimes);
            }
            predicate.bounds = for_any(&predicate.bounds);
            if !predicate.bounds.is_empty() {
                predicates.push(WherePredicate::Type(predicate));
            }
        }
        generics.where_clause = Some(WhereClause {
            where_token: clause.where_token,
            predicates,
        });
    }
    generics
}

/// Returns the names of the type and const parameters.
pub(crate) fn names(generics: &Generics) -> Vec<Ident> {
    let mut names = Vec::new();
    for param in &generics.params {
        match param {
            GenericParam::Type(param) => names.push(param.ident.clone()),
            GenericParam::Const(param) => names.push(param.ident.clone()),
            GenericParam::Lifetime(_) => {}
        }
    }
    names
}

/// Adds the lifetime of the fields in front.
pub(crate) fn with_lifetime(generics: &mut Generics, lifetime: &str) {
    let lifetime = Lifetime::new(lifetime, Span::mixed_site());
    generics
        .params
        .insert(0, GenericParam::Lifetime(LifetimeParam::new(lifetime)));
}

/// Reports the type parameters that occur in no field, removes them from the type, and returns them.
pub(crate) fn check_used(
    generics: &mut Generics,
    fields: &[Field],
    cure: &str,
    errors: &mut Errors,
) -> Vec<Ident> {
    let mut used = Punctuated::new();
    let mut unused = Vec::new();
    for param in &generics.params {
        match param {
            GenericParam::Type(ty) if !occurs(&ty.ident, fields) => {
                let name = &ty.ident;
                errors.at(name, format_args!("`{name}` {cure}"));
                unused.push(name.clone());
            }
            _ => used.push(param.clone()),
        }
    }
    if !unused.is_empty() {
        generics.params = used;
        generics.where_clause = None;
    }
    unused
}

fn occurs(name: &Ident, fields: &[Field]) -> bool {
    for field in fields {
        if mentions(field.ty.to_token_stream(), name) {
            return true;
        }
    }
    false
}

/// Returns whether one of the names occurs in a type.
pub(crate) fn mentions_any(ty: &Type, names: &[Ident]) -> bool {
    for name in names {
        if mentions(ty.to_token_stream(), name) {
            return true;
        }
    }
    false
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    for token in tokens {
        let is_found = match token {
            TokenTree::Ident(word) => word == *name,
            TokenTree::Group(group) => mentions(group.stream(), name),
            _ => false,
        };
        if is_found {
            return true;
        }
    }
    false
}

/// Returns the bounds without those on lifetimes of the function, and with `for<'exchange>` before
/// those that mention one.
fn for_any(
    bounds: &Punctuated<TypeParamBound, syn::Token![+]>,
) -> Punctuated<TypeParamBound, syn::Token![+]> {
    let mut kept = Punctuated::new();
    for bound in bounds {
        if matches!(bound, TypeParamBound::Lifetime(name) if name.ident != "static") {
            continue;
        }
        let mut bound = bound.clone();
        let mut of_exchange = false;
        walk_bound(&mut bound, &mut |site| of_exchange |= rename(site));
        if let TypeParamBound::Trait(bound) = &mut bound
            && of_exchange
        {
            add_binder(&mut bound.lifetimes);
        }
        kept.push(bound);
    }
    kept
}

fn rename(site: Site<'_>) -> bool {
    match site {
        Site::Written(name) if name.ident != "static" => {
            *name = Lifetime::new("'exchange", Span::mixed_site());
            true
        }
        _ => false,
    }
}

fn add_binder(lifetimes: &mut Option<BoundLifetimes>) {
    let name = Lifetime::new("'exchange", Span::mixed_site());
    lifetimes
        .get_or_insert_default()
        .lifetimes
        .push(GenericParam::Lifetime(LifetimeParam::new(name)));
}
