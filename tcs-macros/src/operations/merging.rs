//! Checks the operations against each other: what they share is one.

use quote::ToTokens as _;
use syn::{GenericParam, Generics, Type};

use super::model::Operations;
use crate::{
    emit::Field,
    errors::Errors,
    server::model::{Model, Session},
};

impl Operations<'_> {
    /// Adds what another operation needs of the protocol.
    pub(super) fn merge(&mut self, other: &Model, errors: &mut Errors) {
        let ours = &mut self.model;
        for (state, field) in other.states.iter().zip(&other.fields) {
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
                    ours.fields.push(Field {
                        name: field.name.clone(),
                        ty: field.ty.clone(),
                    });
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
        let known = ours.params.iter_mut().find(|known| match (known, param) {
            (GenericParam::Type(known), GenericParam::Type(param)) => known.ident == param.ident,
            (GenericParam::Const(known), GenericParam::Const(param)) => known.ident == param.ident,
            _ => false,
        });
        match (known, param) {
            (None, param) => ours.params.push(param.clone()),
            (Some(GenericParam::Type(known)), GenericParam::Type(param)) => {
                for bound in &param.bounds {
                    let is_known = known.bounds.iter().any(|other| {
                        other.to_token_stream().to_string() == bound.to_token_stream().to_string()
                    });
                    if !is_known {
                        known.bounds.push(bound.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(clause) = &other.where_clause {
        let ours = ours.make_where_clause();
        ours.predicates.extend(clause.predicates.iter().cloned());
    }
}

fn same(one: &Type, other: &Type) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}
