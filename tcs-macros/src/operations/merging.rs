//! Checks the operations against each other: what they share is one.

use quote::ToTokens;
use syn::{GenericParam, Generics, Token, TypeParamBound, punctuated::Punctuated};

use super::model::Operations;
use crate::{
    errors::Errors,
    server::model::{Model, Session},
};

type Bounds = Punctuated<TypeParamBound, Token![+]>;

impl Operations<'_> {
    /// Adds what another operation needs of the protocol.
    pub(super) fn merge(&mut self, other: &Model, errors: &mut Errors) {
        let ours = &mut self.model;
        for (field, state) in other.fields.iter().zip(&other.states) {
            let known = ours.states.iter().find(|known| known.name == state.name);
            match known {
                Some(known) if same(&known.borrowed, &state.borrowed) => {}
                Some(_) => errors.at(
                    &state.borrowed,
                    format_args!(
                        "another operation has a state `{}` of another type: rename one",
                        state.name
                    ),
                ),
                None => {
                    ours.states.push(state.clone());
                    ours.fields.push(field.clone());
                }
            }
        }
        match (&ours.session, &other.session) {
            (None, Some(session)) => ours.session = Some(session.clone()),
            (Some(Session { ty: known, .. }), Some(Session { ty, .. })) if !same(known, ty) => {
                errors.at(
                    ty,
                    "a connection has one session: another operation has another type",
                );
            }
            _ => {}
        }
        merge_generics(&mut ours.generics, &other.generics);
    }
}

/// Parameters of one name are one.
fn merge_generics(ours: &mut Generics, other: &Generics) {
    for param in &other.params {
        let mut is_known = false;
        for known in &mut ours.params {
            match (known, param) {
                (GenericParam::Type(known), GenericParam::Type(param))
                    if known.ident == param.ident =>
                {
                    is_known = true;
                    merge_bounds(&mut known.bounds, &param.bounds);
                }
                (GenericParam::Const(known), GenericParam::Const(param)) => {
                    is_known |= known.ident == param.ident;
                }
                _ => {}
            }
        }
        if !is_known {
            ours.params.push(param.clone());
        }
    }
    if let Some(clause) = &other.where_clause {
        let ours = ours.make_where_clause();
        for predicate in clause.predicates.pairs() {
            ours.predicates.push(predicate.into_value().clone());
        }
    }
}

fn merge_bounds(ours: &mut Bounds, other: &Bounds) {
    for bound in other {
        let mut is_known = false;
        for known in &*ours {
            is_known |= same(known, bound);
        }
        if !is_known {
            ours.push(bound.clone());
        }
    }
}

/// Tells whether both are written the same.
fn same(one: &dyn ToTokens, other: &dyn ToTokens) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}
