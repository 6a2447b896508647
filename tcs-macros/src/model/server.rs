//! Checks functions that a server calls: what each parameter is, and what the type keeps.

use std::cmp::Reverse;

use proc_macro2::Ident;
use syn::{
    Generics, PatType, Type, TypeReference, TypeSlice, parse_quote, visit_mut::VisitMut as _,
};

use super::{
    Field, generics, has_one_type, message, output,
    parameter::{self, Role},
};
use crate::{
    args::Args,
    errors::Errors,
    item::Function,
    syntax::{
        bare, is_named, is_unsized,
        lifetimes::{self, Shorten},
        mentions, same,
    },
};

/// A function that is a server protocol.
pub(crate) struct ServerFunction<'a> {
    pub(crate) protocol: Protocol<'a>,
    pub(crate) handler: Handler<'a>,
    pub(crate) request: Option<Type>,
    pub(crate) reply: Option<Type>,
    /// Whether nothing is wrong with the function.
    pub(crate) is_valid: bool,
}

/// The type of a server protocol, which calls one function or several.
pub(crate) struct Protocol<'a> {
    pub(crate) name: Ident,
    /// The name of the function or the module, for errors that are about no single token.
    pub(crate) place: &'a Ident,
    pub(crate) generics: Generics,
    /// The states, with the types that functions borrow.
    pub(crate) states: Vec<Field>,
    /// The states, with the types that own them.
    pub(crate) fields: Vec<Field>,
    pub(crate) session: Option<Session>,
    /// Whether a request may have to wait for a function.
    pub(crate) waits: bool,
}

/// A function that answers one kind of request.
pub(crate) struct Handler<'a> {
    pub(crate) function: &'a Function,
    pub(crate) kind: CallKind,
    pub(crate) generics: Generics,
    /// In the order of the function's parameters.
    pub(crate) arguments: Vec<Argument>,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Sync,
    Blocking,
    Async,
}

/// What a function is called with.
pub(crate) enum Argument {
    /// The request, or the next argument in it.
    Request,
    /// Shared by all connections; without the `&` of the parameter.
    State(Field),
    Session(Session),
    /// Taken from the context.
    Extracted(Type),
}

/// What one connection keeps.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) mutable: bool,
}

impl<'a> ServerFunction<'a> {
    /// Checks a function, reporting all that is wrong.
    pub(super) fn check(
        args: &Args,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        let mut handler = Handler::new(function, args.given("blocking").is_some());
        let reply = check_reply(function, errors);
        let request = handler.check_parameters(errors);
        let unused = handler.check_used(errors);
        check_options(args, function, errors);
        let is_known = |ty: &Type| !mentions(ty, &unused);
        Self {
            protocol: Protocol::of(name, &function.sig.ident, &[&handler]),
            request: request.filter(is_known),
            reply: reply.filter(is_known),
            handler,
            is_valid: errors.is_empty(),
        }
    }
}

fn check_options(args: &Args, function: &Function, errors: &mut Errors) {
    let mut attrs = function.parameters().flat_map(|parameter| &parameter.attrs);
    let has_session = attrs.any(|attr| attr.path().is_ident("session"));
    check_session_option(args, has_session, errors);
    if let (Some(option), true) = (args.given("blocking"), function.is_async()) {
        errors.at(option, BLOCKING_ASYNC);
    }
    if let (Some(option), false) = (args.given("half_close"), function.is_async()) {
        let help = "`half_close` is for an `async fn`: no other function is dropped; remove it";
        errors.at(option, help);
    }
}

pub(super) const BLOCKING_ASYNC: &str =
    "`blocking` is for a plain `fn`: remove it, or the `async` of the function";

/// Reports the option `session` where there is none.
pub(super) fn check_session_option(args: &Args, has_session: bool, errors: &mut Errors) {
    if let (Some(option), false) = (args.given("session"), has_session) {
        let help = "`session` is for a `#[session]` parameter, and there is none: remove one";
        errors.at(option, help);
    }
}

/// Returns the return type of a function, with the lifetime of an exchange.
pub(super) fn check_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let mut reply = output(function, "a reply", never, errors)?;
    // A client reads the reply from what arrived.
    Shorten.visit_type_mut(&mut reply);
    Some(lifetimes::unify(&reply, "'exchange"))
}

impl<'a> Protocol<'a> {
    /// Makes one type of what several functions need.
    ///
    /// States of one name are one field, and there is one session. Each has the type that most of the
    /// functions have; rustc reports the others.
    pub(super) fn of(name: Ident, place: &'a Ident, handlers: &[&Handler<'_>]) -> Self {
        let mut generics = Generics::default();
        for handler in handlers {
            generics::merge(&mut generics, &handler.generics);
        }
        let mut states: Vec<Field> = Vec::new();
        let all = handlers.iter().flat_map(|handler| handler.states());
        for Field { name, .. } in all.clone() {
            if states.iter().all(|known| known.name != *name) {
                let named = all.clone().filter(|state| state.name == *name);
                states.extend(most_common(named, |state| &state.ty).cloned());
            }
        }
        let sessions = handlers.iter().filter_map(|handler| handler.session());
        let mut kinds = handlers.iter().map(|handler| handler.kind);
        Self {
            name,
            place,
            generics,
            fields: states.iter().map(owning_field).collect(),
            states,
            session: most_common(sessions, |session| &session.ty).cloned(),
            waits: kinds.any(|kind| kind != CallKind::Sync),
        }
    }
}

/// Returns the field that owns what functions borrow: a `String` for `str`.
fn owning_field(state: &Field) -> Field {
    let ty = match &state.ty {
        ty if is_named(ty, "str") => parse_quote!(::std::string::String),
        Type::Slice(TypeSlice { elem, .. }) => parse_quote!(::std::vec::Vec<#elem>),
        Type::TraitObject(object) => parse_quote!(::std::boxed::Box<#object>),
        ty => ty.clone(),
    };
    let name = state.name.clone();
    Field { name, ty }
}

/// Returns the first element whose type is that of the most elements.
fn most_common<T>(all: impl Iterator<Item = T> + Clone, ty: impl Fn(&T) -> &Type) -> Option<T> {
    let others = all.clone();
    let are_same = |one: &T, other: &T| same(ty(one), ty(other));
    let count = |one: &T| others.clone().filter(|other| are_same(one, other)).count();
    all.min_by_key(|one| Reverse(count(one)))
}

impl<'a> Handler<'a> {
    /// A function whose parameters are not checked yet.
    pub(super) fn new(function: &'a Function, is_blocking: bool) -> Self {
        Self {
            function,
            kind: match is_blocking {
                _ if function.is_async() => CallKind::Async,
                true => CallKind::Blocking,
                false => CallKind::Sync,
            },
            generics: generics::of_type(&function.sig.generics),
            arguments: Vec::new(),
        }
    }

    fn states(&self) -> impl Iterator<Item = &Field> + Clone {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::State(state) => Some(state),
            _ => None,
        })
    }

    fn session(&self) -> Option<&Session> {
        self.arguments.iter().find_map(|argument| match argument {
            Argument::Session(session) => Some(session),
            _ => None,
        })
    }

    /// Checks the parameters of a function that is a protocol, and returns the type of its request.
    fn check_parameters(&mut self, errors: &mut Errors) -> Option<Type> {
        let mut request = None;
        let mut has_request = false;
        let mut parameters = self.function.parameters();
        let has_plain = parameters.any(|parameter| parameter.attrs.is_empty());
        for parameter in self.function.parameters() {
            let is_borrowed = matches!(bare(&parameter.ty), Type::Reference(_));
            match parameter::role(parameter, errors) {
                Role::Plain if !has_request => {
                    has_request = true;
                    if let Some(ty) = message(&parameter.ty, "a request", errors) {
                        self.arguments.push(Argument::Request);
                        request = Some(lifetimes::unify(&ty, "'exchange"));
                    }
                }
                // It was meant as a state, if another parameter is the request. So that the type has the
                // fields that it is used with, it is one.
                Role::Unclear if has_plain && is_borrowed => {
                    self.add(Role::State, parameter, &mut Errors::default());
                }
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
        let argument = match role {
            Role::State => self.check_state(parameter, errors).map(Argument::State),
            Role::Session => self.check_session(parameter, errors).map(Argument::Session),
            _ => has_one_type(&parameter.ty, "what is taken from the context", errors)
                .then(|| Argument::Extracted(lifetimes::unify(&parameter.ty, "'exchange"))),
        };
        self.arguments.extend(argument);
    }

    /// Reports and returns the type parameters that occur in no state.
    pub(super) fn check_used(&mut self, errors: &mut Errors) -> Vec<Ident> {
        let states: Vec<_> = self.states().cloned().collect();
        let help = "must occur in the type of a `#[state]`: nothing else decides what it is";
        generics::check_used(&mut self.generics, &states, help, errors)
    }

    fn check_state(&self, parameter: &PatType, errors: &mut Errors) -> Option<Field> {
        let name = parameter::name(&parameter.pat);
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let borrowed = match bare(&parameter.ty) {
            Type::Reference(reference) => {
                if let Some(mutability) = reference.mutability {
                    let help =
                        "connections share a state: remove `mut` (a `Mutex` inside it can change)";
                    errors.at(&mutability, help);
                }
                referent(reference, errors)
            }
            owned => {
                errors.at(owned, "connections share a state: borrow it with `&`");
                owned
            }
        };
        if !has_one_type(borrowed, "a state", errors) {
            return None;
        }
        let ty = require_static(borrowed, "a state", errors);
        let name = name?.clone();
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
        let (borrowed, mutable) = match bare(&parameter.ty) {
            Type::Reference(reference) => {
                (referent(reference, errors), reference.mutability.is_some())
            }
            owned => {
                let help = "the connection keeps the session: borrow it with `&mut`";
                errors.at(owned, help);
                (owned, false)
            }
        };
        let mut ty = require_static(borrowed, "a session", errors);
        if is_unsized(borrowed) {
            let help = "a session has a known size: borrow a `String`, `Vec<…>` or `Box<dyn …>`";
            errors.at(borrowed, help);
            ty = parse_quote!(());
        } else if !has_one_type(borrowed, "a session", errors) {
            ty = parse_quote!(());
        }
        let name = parameter::name(&parameter.pat).cloned();
        Some(Session { name, ty, mutable })
    }
}

/// Returns the type after `&`, and reports `&'static`: what functions borrow is owned by the protocol
/// or the connection.
fn referent<'t>(reference: &'t TypeReference, errors: &mut Errors) -> &'t Type {
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        let help = "it is borrowed for one exchange: remove `'static`";
        errors.at(lifetime, help);
    }
    bare(&reference.elem)
}

/// Returns the type with `'static` for its lifetimes, and reports those that are not.
fn require_static(ty: &Type, what: &str, errors: &mut Errors) -> Type {
    let help = "outlives all requests: own what it holds, or write `'static`";
    let message = format!("{what} {help}");
    for found in lifetimes::find_borrowed(ty) {
        errors.at_span(found.span(), &message);
    }
    lifetimes::unify(ty, "'static")
}
