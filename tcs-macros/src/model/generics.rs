//! The generics of the type, which are derived from those of the functions.

use proc_macro2::{Ident, Span};
use quote::ToTokens as _;
use syn::{
    BoundLifetimes, ConstParam, GenericParam, Generics, Lifetime, LifetimeParam, TypeParam,
    TypeParamBound, WherePredicate, parse_quote,
};

use super::protocol_type::Field;
use crate::{
    errors::Errors,
    syntax::{
        lifetimes::{EXCHANGE, unify_predicate},
        path_starts, same_tokens,
    },
};

/// Returns the generics of the type: the parameters and bounds of the function without its lifetimes, which belong to
/// one exchange. Also returns the type parameters that occur in no field, which the type does not have.
///
/// All bounds are in the where clause. A bound that mentions a lifetime of the function must hold for any lifetime.
pub(super) fn for_type<'f>(
    function: &Generics,
    fields: impl IntoIterator<Item = &'f Field>,
) -> (Generics, Vec<Ident>) {
    let types = fields.into_iter().map(|field| field.ty.to_token_stream());
    let used: Vec<_> = types.flat_map(path_starts).collect();
    let names = function.type_params().map(|param| param.ident.clone());
    let unused: Vec<_> = names.filter(|name| !used.contains(name)).collect();
    let mut generics = function.clone();
    generics.params.clear();
    let mut predicates: Vec<WherePredicate> = Vec::new();
    for param in &function.params {
        match param {
            GenericParam::Type(TypeParam { ident, .. }) if unused.contains(ident) => {}
            GenericParam::Type(TypeParam { ident, bounds, .. }) => {
                // Bounds move to the where clause, where one rule treats them all.
                generics.params.push(parse_quote!(#ident));
                predicates.push(parse_quote!(#ident: #bounds));
            }
            GenericParam::Const(ConstParam { ident, ty, .. }) => {
                generics.params.push(parse_quote!(const #ident: #ty));
            }
            GenericParam::Lifetime(_) => {}
        }
    }
    predicates.extend(self::predicates(function).cloned());
    if unused.is_empty() {
        let predicates = predicates.into_iter().filter_map(predicate);
        generics.make_where_clause().predicates = predicates.collect();
    } else {
        // A bound may name a parameter that the type does not have. Errors in other bounds are in the function as well.
        generics.where_clause = None;
    }
    (generics, unused)
}

/// Reports the type parameters that occur in no field, which is `what`.
pub(super) fn check_unused(params: &[Ident], what: &str, errors: &mut Errors) {
    let help = format_args!("is in no {what}: use it in one, or name a type instead");
    for name in params {
        errors.at(name, format_args!("`{name}` {help}"));
    }
}

/// Returns the predicate for the type, without bounds by lifetimes of the function, or `None` if no bound is left.
///
/// Where the type and its bounds each declare lifetimes, rustc rejects the predicate. So all of them
/// are declared before the type.
fn predicate(predicate: WherePredicate) -> Option<WherePredicate> {
    let WherePredicate::Type(mut predicate) = predicate else {
        return None;
    };
    let is_of_type = |bound: &TypeParamBound| match bound {
        TypeParamBound::Lifetime(name) => name.ident == "static",
        _ => true,
    };
    let bounds = predicate.bounds.into_iter();
    predicate.bounds = bounds.filter(is_of_type).collect();
    for bound in &mut predicate.bounds {
        if let TypeParamBound::Trait(bound) = bound
            && let Some(own) = bound.lifetimes.take()
        {
            for param in own.lifetimes {
                declare(&mut predicate.lifetimes, param);
            }
        }
    }
    let exchange = Lifetime::new(EXCHANGE, Span::mixed_site());
    if unify_predicate(&mut predicate, &exchange) {
        let exchange = GenericParam::Lifetime(LifetimeParam::new(exchange));
        declare(&mut predicate.lifetimes, exchange);
    }
    (!predicate.bounds.is_empty()).then_some(WherePredicate::Type(predicate))
}

/// Adds a lifetime to a `for<…>`, unless it is declared there already.
fn declare(lifetimes: &mut Option<BoundLifetimes>, param: GenericParam) {
    let declared = &mut lifetimes.get_or_insert_default().lifetimes;
    if !declared.iter().any(|known| same_tokens(known, &param)) {
        declared.push(param);
    }
}

/// Returns the names of the type and const parameters.
pub(crate) fn param_idents(generics: &Generics) -> Vec<Ident> {
    let idents = generics.params.iter().filter_map(param_ident);
    idents.cloned().collect()
}

/// Returns the name of a type or const parameter.
fn param_ident(param: &GenericParam) -> Option<&Ident> {
    match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    }
}

/// Returns the predicates of the where clause.
pub(crate) fn predicates(generics: &Generics) -> impl Iterator<Item = &WherePredicate> {
    let clause = generics.where_clause.iter();
    clause.flat_map(|clause| &clause.predicates)
}

/// Adds a lifetime before the other parameters.
pub(crate) fn add_lifetime(generics: &mut Generics, lifetime: &str) {
    let lifetime = Lifetime::new(lifetime, Span::mixed_site());
    let param = GenericParam::Lifetime(LifetimeParam::new(lifetime));
    generics.params.insert(0, param);
}

/// Adds the generics of another function of the same type. Parameters with the same name are one parameter.
pub(super) fn merge(ours: &mut Generics, other: &Generics) {
    for param in &other.params {
        let ident = param_ident(param);
        if ours.params.iter().all(|known| param_ident(known) != ident) {
            ours.params.push(param.clone());
        }
    }
    let ours = &mut ours.make_where_clause().predicates;
    for predicate in predicates(other) {
        if ours.iter().all(|known| !same_tokens(known, predicate)) {
            ours.push(predicate.clone());
        }
    }
}
