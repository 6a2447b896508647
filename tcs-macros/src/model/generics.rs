//! The generics of the type, which are made from those of the functions.

use proc_macro2::{Ident, Span};
use syn::{
    BoundLifetimes, GenericParam, Generics, Lifetime, LifetimeParam, Token, TypeParamBound,
    WhereClause, WherePredicate, punctuated::Punctuated, visit_mut::VisitMut as _,
};

use super::Field;
use crate::{
    errors::Errors,
    syntax::{
        lifetimes::{Site, Walk},
        mentions, same,
    },
};

/// Returns the generics of the type: parameters and bounds of the function without its lifetimes,
/// which belong to one exchange.
///
/// A bound that mentions such a lifetime must hold for any.
pub(super) fn of_type(function: &Generics) -> Generics {
    let params = function.params.iter().filter_map(|param| {
        let mut param = param.clone();
        match &mut param {
            GenericParam::Type(ty) => {
                ty.attrs.clear();
                ty.default = None;
                ty.bounds = own_bounds(&ty.bounds).collect();
                ty.bounds.iter_mut().for_each(hold_for_any);
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

/// Returns the bounds without those by lifetimes of the function.
fn own_bounds(
    bounds: &Punctuated<TypeParamBound, Token![+]>,
) -> impl Iterator<Item = TypeParamBound> {
    let is_of_type = |bound: &&TypeParamBound| !matches!(bound, TypeParamBound::Lifetime(name) if name.ident != "static");
    bounds.iter().filter(is_of_type).cloned()
}

/// Puts `for<'exchange>` before a bound that mentions a lifetime of the function.
fn hold_for_any(bound: &mut TypeParamBound) {
    let mut is_of_exchange = false;
    let mut visit = |site: Site<'_>| is_of_exchange |= rename(site);
    Walk::new(None, &mut visit).visit_type_param_bound_mut(bound);
    if let TypeParamBound::Trait(bound) = bound
        && is_of_exchange
    {
        declare(&mut bound.lifetimes, exchange());
    }
}

/// Returns the predicate for the type, or `None` if nothing is left of it.
///
/// Where the type and its bounds each declare lifetimes, rustc rejects the predicate. So all of them
/// are declared before the type.
fn predicate(predicate: &WherePredicate) -> Option<WherePredicate> {
    let WherePredicate::Type(predicate) = predicate else {
        return None;
    };
    let mut predicate = predicate.clone();
    predicate.bounds = own_bounds(&predicate.bounds).collect();
    let (lifetimes, bounds) = (&mut predicate.lifetimes, &mut predicate.bounds);
    for bound in bounds.iter_mut() {
        if let TypeParamBound::Trait(bound) = bound {
            let own = bound.lifetimes.take().into_iter();
            own.flat_map(|own| own.lifetimes)
                .for_each(|param| declare(lifetimes, param));
        }
    }
    let mut is_of_exchange = false;
    let mut visit = |site: Site<'_>| is_of_exchange |= rename(site);
    let mut walk = Walk::new(lifetimes.as_ref(), &mut visit);
    walk.visit_type_mut(&mut predicate.bounded_ty);
    for bound in bounds.iter_mut() {
        walk.visit_type_param_bound_mut(bound);
    }
    if is_of_exchange {
        declare(lifetimes, exchange());
    }
    (!bounds.is_empty()).then_some(WherePredicate::Type(predicate))
}

/// Renames a lifetime of the function, and returns whether it is one.
fn rename(site: Site<'_>) -> bool {
    match site {
        Site::Written(name) if name.ident != "static" => {
            *name = Lifetime::new("'exchange", Span::mixed_site());
            true
        }
        _ => false,
    }
}

fn exchange() -> GenericParam {
    let name = Lifetime::new("'exchange", Span::mixed_site());
    GenericParam::Lifetime(LifetimeParam::new(name))
}

/// Adds a lifetime to a `for<…>`, unless it is there.
fn declare(lifetimes: &mut Option<BoundLifetimes>, param: GenericParam) {
    let declared = &mut lifetimes.get_or_insert_default().lifetimes;
    if !declared.iter().any(|known| same(known, &param)) {
        declared.push(param);
    }
}

/// Returns the names of the type and const parameters.
pub(crate) fn names(generics: &Generics) -> Vec<Ident> {
    generics.params.iter().filter_map(name).cloned().collect()
}

/// Returns the name of a type or const parameter.
fn name(param: &GenericParam) -> Option<&Ident> {
    match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    }
}

/// Adds a lifetime in front.
pub(crate) fn add_lifetime(generics: &mut Generics, lifetime: &str) {
    let lifetime = Lifetime::new(lifetime, Span::mixed_site());
    let param = GenericParam::Lifetime(LifetimeParam::new(lifetime));
    generics.params.insert(0, param);
}

/// Reports the type parameters that occur in no field, removes them from the type, and returns them.
pub(super) fn check_used(
    generics: &mut Generics,
    fields: &[Field],
    help: &str,
    errors: &mut Errors,
) -> Vec<Ident> {
    let is_used = |name: &Ident| {
        let name = std::slice::from_ref(name);
        fields.iter().any(|field| mentions(&field.ty, name))
    };
    let names = generics.type_params().map(|param| param.ident.clone());
    let unused: Vec<Ident> = names.filter(|name| !is_used(name)).collect();
    for name in &unused {
        errors.at(name, format_args!("`{name}` {help}"));
    }
    if !unused.is_empty() {
        let is_used = |param: &GenericParam| !matches!(param, GenericParam::Type(ty) if unused.contains(&ty.ident));
        let params = std::mem::take(&mut generics.params).into_iter();
        generics.params = params.filter(is_used).collect();
        generics.where_clause = None;
    }
    unused
}

/// Adds the generics of another function of the same type: parameters of one name are one.
pub(super) fn merge(ours: &mut Generics, other: &Generics) {
    for param in &other.params {
        let mut params = ours.params.iter_mut();
        match (params.find(|known| name(known) == name(param)), param) {
            (Some(GenericParam::Type(known)), GenericParam::Type(param)) => {
                for bound in &param.bounds {
                    if !known.bounds.iter().any(|known| same(known, bound)) {
                        known.bounds.push(bound.clone());
                    }
                }
            }
            (Some(GenericParam::Const(_)), GenericParam::Const(_)) => {}
            _ => ours.params.push(param.clone()),
        }
    }
    if let Some(clause) = &other.where_clause {
        let predicates = clause.predicates.iter().cloned();
        ours.make_where_clause().predicates.extend(predicates);
    }
}
