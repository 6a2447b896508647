//! What becomes of the function's generics on its type.

use proc_macro2::{Ident, Span};
use syn::{
    BoundLifetimes, GenericParam, Generics, Lifetime, LifetimeParam, Token, TypeParamBound,
    WhereClause, WherePredicate, punctuated::Punctuated,
};

use crate::{
    errors::Errors,
    lifetimes::{Site, walk, walk_bound},
    types::{Field, mentions, same},
};

type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// The generics of the type: parameters and bounds of the function without its lifetimes, which
/// belong to one exchange.
///
/// A bound that mentions such a lifetime holds for any.
pub(crate) fn of_type(function: &Generics) -> Generics {
    let params = function.params.iter().filter_map(|param| {
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
            GenericParam::Lifetime(_) => return None,
        }
        Some(param)
    });
    let where_clause = function.where_clause.as_ref().map(|clause| WhereClause {
        where_token: clause.where_token,
        predicates: clause.predicates.iter().filter_map(predicate).collect(),
    });
    Generics {
        params: params.collect(),
        where_clause,
        ..function.clone()
    }
}

fn predicate(predicate: &WherePredicate) -> Option<WherePredicate> {
    let WherePredicate::Type(predicate) = predicate else {
        return None;
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
    (!predicate.bounds.is_empty()).then_some(WherePredicate::Type(predicate))
}

/// Returns the names of the type and const parameters.
pub(crate) fn names(generics: &Generics) -> Vec<Ident> {
    let name = |param: &GenericParam| match param {
        GenericParam::Type(param) => Some(param.ident.clone()),
        GenericParam::Const(param) => Some(param.ident.clone()),
        GenericParam::Lifetime(_) => None,
    };
    generics.params.iter().filter_map(name).collect()
}

/// Adds the lifetime of the fields in front.
pub(crate) fn with_lifetime(generics: &mut Generics, lifetime: &str) {
    let lifetime = Lifetime::new(lifetime, Span::mixed_site());
    let param = GenericParam::Lifetime(LifetimeParam::new(lifetime));
    generics.params.insert(0, param);
}

/// Reports the type parameters that occur in no field, removes them from the type, and returns them.
pub(crate) fn check_used(
    generics: &mut Generics,
    fields: &[Field],
    cure: &str,
    errors: &mut Errors,
) -> Vec<Ident> {
    let is_used = |name: &Ident| {
        let name = std::slice::from_ref(name);
        fields.iter().any(|field| mentions(&field.ty, name))
    };
    let unused: Vec<Ident> = generics
        .type_params()
        .map(|param| param.ident.clone())
        .filter(|name| !is_used(name))
        .collect();
    for name in &unused {
        errors.at(name, format_args!("`{name}` {cure}"));
    }
    if !unused.is_empty() {
        let params = std::mem::take(&mut generics.params);
        generics.params = params
            .into_iter()
            .filter(|param| !matches!(param, GenericParam::Type(ty) if unused.contains(&ty.ident)))
            .collect();
        generics.where_clause = None;
    }
    unused
}

/// Adds those of another function of the same type: parameters of one name are one.
pub(crate) fn merge(ours: &mut Generics, other: &Generics) {
    for param in &other.params {
        let known = ours.params.iter_mut().find(|known| match (known, param) {
            (GenericParam::Type(known), GenericParam::Type(param)) => known.ident == param.ident,
            (GenericParam::Const(known), GenericParam::Const(param)) => known.ident == param.ident,
            _ => false,
        });
        match (known, param) {
            (None, param) => ours.params.push(param.clone()),
            (Some(GenericParam::Type(known)), GenericParam::Type(param)) => {
                for bound in &param.bounds {
                    if !known.bounds.iter().any(|known| same(known, bound)) {
                        known.bounds.push(bound.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(clause) = &other.where_clause {
        let predicates = clause.predicates.iter().cloned();
        ours.make_where_clause().predicates.extend(predicates);
    }
}

/// Returns the bounds without those on lifetimes of the function, and with `for<'exchange>` before
/// those that mention one.
fn for_any(bounds: &Bounds) -> Bounds {
    let is_of_type = |bound: &&TypeParamBound| !matches!(bound, TypeParamBound::Lifetime(name) if name.ident != "static");
    let any = bounds.iter().filter(is_of_type).map(|bound| {
        let mut bound = bound.clone();
        let mut of_exchange = false;
        walk_bound(&mut bound, &mut |site| of_exchange |= rename(site));
        if let TypeParamBound::Trait(bound) = &mut bound
            && of_exchange
        {
            add_binder(&mut bound.lifetimes);
        }
        bound
    });
    any.collect()
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
