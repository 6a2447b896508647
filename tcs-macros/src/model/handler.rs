//! Checks a function that a server calls: what each parameter is, and what the type keeps.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Generics, PatType, Token, Type, parse_quote};

use super::{
    Field, generics,
    message::{has_one_type, message_type},
    parameter::{self, Role},
};
use crate::{
    errors::Errors,
    item::Function,
    syntax::{
        bare, is_unsized,
        lifetimes::{self, EXCHANGE, STATIC},
    },
};

/// A function that answers one kind of request.
pub(crate) struct Handler<'a> {
    pub(crate) function: &'a Function,
    pub(crate) kind: CallKind,
    pub(crate) generics: Generics,
    /// Where its arguments come from, in the order of its parameters.
    pub(crate) sources: Vec<ArgumentSource>,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Sync,
    Blocking,
    Async,
}

/// Where an argument of a call comes from.
pub(crate) enum ArgumentSource {
    Request,
    /// It is the argument of this name in the request.
    Argument(Ident),
    /// All connections share it; the type is without the `&` of the parameter.
    State(Field),
    Session(Session),
    /// It is taken from the context.
    Context(Type),
}

/// What one connection keeps.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) mutable: bool,
}

impl<'a> Handler<'a> {
    /// A function whose parameters are not checked yet.
    pub(super) fn new(function: &'a Function) -> Self {
        Self {
            function,
            kind: match function.sig.asyncness {
                Some(_) => CallKind::Async,
                None => CallKind::Sync,
            },
            generics: generics::for_type(&function.sig.generics),
            sources: Vec::new(),
        }
    }

    /// Makes the function one that blocks its thread, as the word `blocking` says.
    pub(super) fn set_blocking(&mut self, word: &impl ToTokens, errors: &mut Errors) {
        if self.kind == CallKind::Async {
            let help = "`blocking` is for a plain `fn`: remove it, or the `async` of the function";
            errors.at(word, help);
        }
        self.kind = CallKind::Blocking;
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &Field> + Clone {
        self.sources.iter().filter_map(|source| match source {
            ArgumentSource::State(state) => Some(state),
            _ => None,
        })
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.sources.iter().find_map(|source| match source {
            ArgumentSource::Session(session) => Some(session),
            _ => None,
        })
    }

    /// Finds where each argument of a function that is a protocol comes from, and reports what is wrong.
    /// Returns the type of its request.
    pub(super) fn resolve_parameters(&mut self, errors: &mut Errors) -> Option<Type> {
        let mut request = None;
        let mut has_request = false;
        let mut parameters = self.function.parameters();
        let has_plain = parameters.any(|parameter| !parameter.attrs.iter().any(parameter::is_ours));
        for parameter in self.function.parameters() {
            let is_borrowed = matches!(bare(&parameter.ty), Type::Reference(_));
            match parameter::role(parameter, errors) {
                Role::Plain if !has_request => {
                    has_request = true;
                    if let Some(ty) = message_type(&parameter.ty, "a request", errors) {
                        self.sources.push(ArgumentSource::Request);
                        request = Some(lifetimes::unify(&ty, EXCHANGE));
                    }
                }
                // It was meant as a state, if another parameter is the request. So that the type has the
                // fields that it is used with, it is one.
                Role::Unclear if has_plain && is_borrowed => {
                    let mut already_reported = Errors::default();
                    self.add(Role::State, parameter, &mut already_reported);
                }
                // It may have been meant as the request, so that one is not reported as missing.
                Role::Unclear => has_request = true,
                role => self.add(role, parameter, errors),
            }
        }
        if !has_request {
            let help =
                "the request is missing: write `request: &str` (or `_: ()` if it says nothing)";
            errors.at_span(self.function.sig.paren_token.span.join(), help);
        }
        request
    }

    /// Adds a parameter that is not part of the request.
    pub(super) fn add(&mut self, role: Role, parameter: &PatType, errors: &mut Errors) {
        use ArgumentSource::{Context, Session, State};
        let source = match role {
            Role::State => self.check_state(parameter, errors).map(State),
            Role::Session => self.check_session(parameter, errors).map(Session),
            Role::Context | Role::Plain => {
                has_one_type(&parameter.ty, "what is taken from the context", errors)
                    .then(|| Context(lifetimes::unify(&parameter.ty, EXCHANGE)))
            }
            Role::Unclear => None,
        };
        self.sources.extend(source);
    }

    /// Reports the type parameters that occur in no state, removes them from the type, and returns them.
    pub(super) fn remove_unused(&mut self, errors: &mut Errors) -> Vec<Ident> {
        let states: Vec<_> = self.states().cloned().collect();
        let help = "is in no `#[state]`: use it in one, or name a type instead";
        generics::remove_unused(&mut self.generics, &states, help, errors)
    }

    fn check_state(&self, parameter: &PatType, errors: &mut Errors) -> Option<Field> {
        let name = parameter::name(&parameter.pat);
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let by_value = "connections share a state: borrow it with `&`";
        let (borrowed, mutability) = referent(&parameter.ty, by_value, errors);
        if let Some(mutability) = mutability {
            let help = "connections share a state: remove `mut` (a `Mutex` inside it can change)";
            errors.at(&mutability, help);
        }
        if !has_one_type(borrowed, "a state", errors) {
            return None;
        }
        let ty = require_static(borrowed, "a state", errors);
        let name = name?.clone();
        // Two parameters of one name are an error of the function itself.
        if self.states().any(|state| state.name == name) {
            errors.leave_to_rustc();
            return None;
        }
        Some(Field { name, ty })
    }

    fn check_session(&self, parameter: &PatType, errors: &mut Errors) -> Option<Session> {
        if self.session().is_some() {
            let help = "a connection has one `#[session]`: put both into one struct";
            errors.at(&parameter.pat, help);
            return None;
        }
        let by_value = "the connection keeps the session: borrow it with `&mut`";
        let (borrowed, mutability) = referent(&parameter.ty, by_value, errors);
        let mut ty = require_static(borrowed, "a session", errors);
        if is_unsized(borrowed) {
            let help = "a session has a known size: borrow a `String`, `Vec<…>` or `Box<dyn …>`";
            errors.at(borrowed, help);
            // So that the type of the session is no second error.
            ty = parse_quote!(());
        } else if !has_one_type(borrowed, "a session", errors) {
            ty = parse_quote!(());
        }
        Some(Session {
            name: parameter::name(&parameter.pat).cloned(),
            ty,
            mutable: mutability.is_some(),
        })
    }
}

/// Returns the type after `&`, and the `mut` before it. Reports a parameter by value, and `&'static`: what
/// functions borrow is owned by the protocol or the connection.
fn referent<'t>(
    ty: &'t Type,
    by_value: &str,
    errors: &mut Errors,
) -> (&'t Type, Option<Token![mut]>) {
    let Type::Reference(reference) = bare(ty) else {
        errors.at(bare(ty), by_value);
        return (bare(ty), None);
    };
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        let help = "it is borrowed for one exchange: remove `'static`";
        errors.at(lifetime, help);
    }
    (bare(&reference.elem), reference.mutability)
}

/// Returns the type with `'static` for its lifetimes, and reports those that are not.
fn require_static(ty: &Type, what: &str, errors: &mut Errors) -> Type {
    let help = "outlives all requests: own what it holds, or write `'static`";
    let message = format!("{what} {help}");
    for found in lifetimes::find_borrowed(ty) {
        errors.at_span(found.span(), &message);
    }
    lifetimes::unify(ty, STATIC)
}
