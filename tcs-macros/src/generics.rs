//! What becomes of the function's generics on its type.

use std::mem;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    BoundLifetimes, GenericParam, Generics, Lifetime, LifetimeParam, Type, TypeParamBound,
    WherePredicate, parse_quote, punctuated::Punctuated,
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
    let mut generics = function.clone();
    generics.params = function
        .params
        .iter()
        .filter(|param| !matches!(param, GenericParam::Lifetime(_)))
        .cloned()
        .map(|mut param| {
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
                GenericParam::Lifetime(_) => {}
            }
            param
        })
        .collect();
    if let Some(clause) = &mut generics.where_clause {
        clause.predicates = clause
            .predicates
            .iter()
            .filter_map(|predicate| match predicate {
                WherePredicate::Type(predicate) => {
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
                _ => None,
            })
            .collect();
    }
    generics
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
    let unused: Vec<Ident> = generics
        .type_params()
        .map(|param| &param.ident)
        .filter(|name| {
            !fields
                .iter()
                .any(|field| mentions(field.ty.to_token_stream(), name))
        })
        .cloned()
        .collect();
    for name in &unused {
        errors.at(name, format_args!("`{name}` {cure}"));
    }
    if !unused.is_empty() {
        generics.params = mem::take(&mut generics.params)
            .into_iter()
            .filter(|param| !matches!(param, GenericParam::Type(ty) if unused.contains(&ty.ident)))
            .collect();
        generics.where_clause = None;
    }
    unused
}

/// Returns whether one of the names occurs in a type.
pub(crate) fn mentions_any(ty: &Type, names: &[Ident]) -> bool {
    names
        .iter()
        .any(|name| mentions(ty.to_token_stream(), name))
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}

/// Returns the bounds without those on lifetimes of the function, and with `for<'exchange>` before
/// those that mention one.
fn for_any(
    bounds: &Punctuated<TypeParamBound, syn::Token![+]>,
) -> Punctuated<TypeParamBound, syn::Token![+]> {
    bounds
        .iter()
        .filter(|bound| !matches!(bound, TypeParamBound::Lifetime(name) if name.ident != "static"))
        .cloned()
        .map(|mut bound| {
            let mut of_exchange = false;
            walk_bound(&mut bound, &mut |site| of_exchange |= rename(site));
            if let TypeParamBound::Trait(bound) = &mut bound
                && of_exchange
            {
                add_binder(&mut bound.lifetimes);
            }
            bound
        })
        .collect()
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
        .push(parse_quote!(#name));
}
