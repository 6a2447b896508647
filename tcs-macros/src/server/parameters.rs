//! What becomes of each parameter of a server function.

use syn::{PatType, Type, TypeReference, parse_quote};

use super::model::{Argument, Model, Session, State};
use crate::{
    emit::Field,
    errors::Errors,
    item::{bare, find_impl, is_unsized},
    lifetimes, parameter,
};

const IMPL_STATE: &str = "a state has one type: write `fn f<S: Trait>(…, #[state] name: &S)`";

impl Model {
    pub(crate) fn state(&mut self, parameter: &PatType, errors: &mut Errors) {
        let name = parameter::name(&parameter.pat).cloned();
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let borrowed = match bare(&parameter.ty) {
            Type::ImplTrait(_) => {
                errors.at(&parameter.ty, IMPL_STATE);
                return;
            }
            Type::Reference(reference) => {
                check_reference(reference, errors);
                if let Some(mutability) = reference.mutability {
                    errors.at(
                        &mutability,
                        "connections share a state: remove `mut` (a `Mutex` inside it can change)",
                    );
                }
                bare(&reference.elem)
            }
            owned => {
                errors.at(owned, "connections share a state: borrow it with `&`");
                owned
            }
        };
        if matches!(borrowed, Type::ImplTrait(_)) {
            errors.at(borrowed, IMPL_STATE);
            return;
        }
        let borrowed = owned(borrowed, "a state", errors);
        let (field, through) = match &borrowed {
            Type::Path(path) if path.path.is_ident("str") => {
                (parse_quote!(::std::string::String), true)
            }
            Type::Slice(slice) => {
                let elem = &slice.elem;
                (parse_quote!(::std::vec::Vec<#elem>), true)
            }
            Type::TraitObject(object) => (parse_quote!(::std::boxed::Box<#object>), true),
            other => (other.clone(), false),
        };
        if self
            .states
            .iter()
            .any(|state| Some(&state.name) == name.as_ref())
        {
            errors.leave_to_rustc();
        } else if let Some(name) = name {
            self.arguments.push(Argument::State(self.states.len()));
            self.fields.push(Field {
                name: name.clone(),
                ty: field,
            });
            self.states.push(State {
                name,
                borrowed,
                through,
            });
        }
    }

    pub(crate) fn session(&mut self, parameter: &PatType, errors: &mut Errors) {
        if self.session.is_some() {
            errors.at(
                &parameter.pat,
                "a connection has one `#[session]`: put both into one struct",
            );
            return;
        }
        let (borrowed, mutable) = match bare(&parameter.ty) {
            Type::Reference(reference) => {
                check_reference(reference, errors);
                (bare(&reference.elem), reference.mutability.is_some())
            }
            owned => {
                errors.at(
                    owned,
                    "the connection keeps the session: borrow it with `&mut`",
                );
                (owned, false)
            }
        };
        let cure = match borrowed {
            Type::ImplTrait(_) => Some("a session has one type: name it instead of `impl`"),
            Type::TraitObject(_) => Some("a session has a known size: write `&mut Box<dyn …>`"),
            Type::Slice(_) => Some("a session has a known size: write `&mut Vec<…>`"),
            Type::Path(path) if path.path.is_ident("str") => {
                Some("a session has a known size: write `&mut String`")
            }
            _ => None,
        };
        let mut ty = owned(borrowed, "a session", errors);
        if let Some(cure) = cure {
            errors.at(borrowed, cure);
            ty = parse_quote!(());
        }
        self.arguments.push(Argument::Session);
        self.session = Some(Session {
            name: parameter::name(&parameter.pat).cloned(),
            ty,
            mutable,
        });
    }

    pub(crate) fn request(&mut self, ty: &Type, errors: &mut Errors) {
        if let Some(request) = request(ty, errors) {
            self.arguments.push(Argument::Request);
            self.request = Some(lifetimes::unify(&request, "'exchange"));
        }
    }

    pub(crate) fn extracted(&mut self, ty: &Type, errors: &mut Errors) {
        if let Some(keyword) = find_impl(ty) {
            errors.at(
                &keyword,
                "what is taken from the context has one type: name it instead of `impl`",
            );
        } else {
            let ty = lifetimes::unify(ty, "'exchange");
            self.arguments.push(Argument::Extracted(Box::new(ty)));
        }
    }
}

/// Returns the type of what a request says, unless no request can.
pub(crate) fn request(ty: &Type, errors: &mut Errors) -> Option<Type> {
    let mut request = ty.clone();
    match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            errors.leave_to_rustc();
            return None;
        }
        Type::Reference(reference) => {
            if matches!(bare(&reference.elem), Type::TraitObject(_)) {
                errors.at(ty, "a request has one type: name it instead of `dyn`");
                return None;
            }
            request = shared(reference, errors)?;
        }
        _ => {}
    }
    if let Some(keyword) = find_impl(ty) {
        errors.at(
            &keyword,
            "a request has one type: name it instead of `impl`",
        );
        return None;
    }
    Some(request)
}

/// Returns a reference that a request can be, reporting `&'static`; `None` for `&mut`.
fn shared(reference: &TypeReference, errors: &mut Errors) -> Option<Type> {
    let mut shared = reference.clone();
    let of_exchange = shared
        .lifetime
        .take_if(|lifetime| lifetime.ident == "static");
    if let Some(lifetime) = of_exchange {
        errors.at(
            &lifetime,
            "a request lives as long as its exchange: remove `'static`",
        );
    }
    if let Some(mutability) = shared.mutability {
        errors.at(
            &mutability,
            "a request is borrowed from what arrived, which is shared: remove `mut`",
        );
        return None;
    }
    Some(Type::Reference(shared))
}

/// Reports `&'static`: what is lent is a field of the protocol.
fn check_reference(reference: &TypeReference, errors: &mut Errors) {
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        errors.at(
            lifetime,
            "it is borrowed for one exchange: remove `'static`",
        );
    }
}

/// Returns the type with `'static` for what it borrows, which is reported.
fn owned(ty: &Type, what: &str, errors: &mut Errors) -> Type {
    for found in lifetimes::find(ty) {
        if !found.is_static() {
            errors.at_span(
                found.span,
                format_args!("{what} outlives all requests: own what it holds, or write `'static`"),
            );
        }
    }
    lifetimes::unify(ty, "'static")
}
