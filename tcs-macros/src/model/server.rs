//! Checks functions that a server calls: what each parameter is, and what the type keeps.

use std::cmp::Reverse;

use proc_macro2::Ident;
use syn::{Generics, PatType, Type, TypeReference, TypeSlice, parse_quote};

use super::{has_one_type, message, output};
use crate::{
    args::Args,
    errors::Errors,
    generics,
    item::Function,
    lifetimes,
    parameter::{self, Role},
    types::{Field, bare, is_named, mentions, same},
};

/// The type of a server protocol, of one function or of several.
pub(crate) struct Protocol<'a> {
    /// The function or the module: where errors belong that are about no single token.
    pub(crate) place: &'a Ident,
    pub(crate) generics: Generics,
    /// The types are those that functions borrow.
    pub(crate) states: Vec<Field>,
    /// What the type is made of, which owns the states.
    pub(crate) fields: Vec<Field>,
    pub(crate) session: Option<Session>,
    pub(crate) request: Option<Type>,
    pub(crate) reply: Option<Type>,
}

/// A function that answers one kind of request.
pub(crate) struct Exchange<'a> {
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
    /// What the request says, or the next part of that.
    Request,
    /// Shared by all connections; the type is that behind the `&`.
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

impl<'a> Protocol<'a> {
    /// Checks one function, reporting all that is wrong.
    pub(crate) fn of_function(
        args: &Args,
        function: &'a Function,
        errors: &mut Errors,
    ) -> (Self, Exchange<'a>) {
        let mut exchange = Exchange::new(function, args.given("blocking").is_some());
        let mut reply = check_reply(function, errors);
        let mut request = None;
        let mut asked = false;
        for parameter in function.parameters() {
            match parameter::role(parameter, errors) {
                Role::Plain if !asked => {
                    asked = true;
                    if let Some(ty) = message(&parameter.ty, "a request", errors) {
                        exchange.arguments.push(Argument::Request);
                        request = Some(lifetimes::unify(&ty, "'exchange"));
                    }
                }
                // It may have been meant as the request.
                Role::Unclear => asked = true,
                role => exchange.add(role, parameter, errors),
            }
        }
        if !asked {
            let cure =
                "the request is missing: write `request: &str` (or `_: ()` if it says nothing)";
            errors.at_span(function.sig.paren_token.span.join(), cure);
        }
        let unused = exchange.check_used(errors);
        request = request.filter(|ty| !mentions(ty, &unused));
        reply = reply.filter(|ty| !mentions(ty, &unused));
        check_options(args, function, errors);
        let mut protocol = Self::of(&function.sig.ident, &[&exchange]);
        (protocol.request, protocol.reply) = (request, reply);
        (protocol, exchange)
    }

    /// Makes one type of what several functions need. Of states with one name, and of sessions, it has
    /// the type that most of the functions have; rustc says what is wrong with the others.
    pub(crate) fn of(place: &'a Ident, exchanges: &[&Exchange<'_>]) -> Self {
        let mut generics = Generics::default();
        for exchange in exchanges {
            generics::merge(&mut generics, &exchange.generics);
        }
        let mut states: Vec<Field> = Vec::new();
        let all = exchanges.iter().flat_map(|exchange| exchange.states());
        for Field { name, .. } in all.clone() {
            if states.iter().all(|known| known.name != *name) {
                let named = all.clone().filter(|state| state.name == *name);
                states.extend(usual(named, |state| &state.ty).cloned());
            }
        }
        let sessions = exchanges.iter().filter_map(|exchange| exchange.session());
        Self {
            place,
            generics,
            fields: states.iter().map(owner).collect(),
            states,
            session: usual(sessions, |session| &session.ty).cloned(),
            request: None,
            reply: None,
        }
    }
}

/// Returns the field that owns what functions borrow: a `String` for `str`.
fn owner(state: &Field) -> Field {
    let ty = match &state.ty {
        ty if is_named(ty, "str") => parse_quote!(::std::string::String),
        Type::Slice(TypeSlice { elem, .. }) => parse_quote!(::std::vec::Vec<#elem>),
        Type::TraitObject(object) => parse_quote!(::std::boxed::Box<#object>),
        ty => ty.clone(),
    };
    let name = state.name.clone();
    Field { name, ty }
}

/// Returns the first of those whose type most have.
fn usual<T>(all: impl Iterator<Item = T> + Clone, ty: impl Fn(&T) -> &Type) -> Option<T> {
    let others = all.clone();
    let are_same = |one: &T, other: &T| same(ty(one), ty(other));
    let count = |one: &T| others.clone().filter(|other| are_same(one, other)).count();
    all.min_by_key(|one| Reverse(count(one)))
}

fn check_options(args: &Args, function: &Function, errors: &mut Errors) {
    let mut attrs = function.parameters().flat_map(|parameter| &parameter.attrs);
    let has_session = attrs.any(|attr| attr.path().is_ident("session"));
    check_session_option(args, has_session, errors);
    if let (Some(option), true) = (args.given("blocking"), function.is_async()) {
        let cure = "`blocking` is for a plain `fn`: remove it, or the `async` of the function";
        errors.at(option, cure);
    }
    if let (Some(option), false) = (args.given("half_close"), function.is_async()) {
        let cure = "`half_close` is for an `async fn`: no other function is dropped; remove it";
        errors.at(option, cure);
    }
}

/// Reports the option `session` where there is none.
pub(super) fn check_session_option(args: &Args, has_session: bool, errors: &mut Errors) {
    if let (Some(option), false) = (args.given("session"), has_session) {
        let cure = "`session` is for a `#[session]` parameter, and there is none: remove one";
        errors.at(option, cure);
    }
}

/// Returns what the function returns, as one exchange has it.
pub(super) fn check_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let reply = output(function, "a reply", never, errors)?;
    Some(lifetimes::unify(&reply, "'exchange"))
}

impl<'a> Exchange<'a> {
    /// A function of which no parameter was looked at yet.
    pub(crate) fn new(function: &'a Function, is_blocking: bool) -> Self {
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

    /// Returns whether a request may have to wait for it.
    pub(crate) fn waits(&self) -> bool {
        self.kind != CallKind::Sync
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = &Field> + Clone {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::State(state) => Some(state),
            _ => None,
        })
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.arguments.iter().find_map(|argument| match argument {
            Argument::Session(session) => Some(session),
            _ => None,
        })
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
        let cure = "must occur in the type of a `#[state]`: nothing else decides what it is";
        generics::check_used(&mut self.generics, &states, cure, errors)
    }

    fn check_state(&self, parameter: &PatType, errors: &mut Errors) -> Option<Field> {
        let name = parameter::name(&parameter.pat);
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let borrowed = match bare(&parameter.ty) {
            Type::Reference(reference) => {
                if let Some(mutability) = reference.mutability {
                    let cure =
                        "connections share a state: remove `mut` (a `Mutex` inside it can change)";
                    errors.at(&mutability, cure);
                }
                lent(reference, errors)
            }
            // Says more below.
            Type::ImplTrait(_) => &parameter.ty,
            owned => {
                errors.at(owned, "connections share a state: borrow it with `&`");
                owned
            }
        };
        if let Type::ImplTrait(_) = borrowed {
            let cure = "a state has one type: write `fn f<S: Trait>(…, #[state] name: &S)`";
            errors.at(borrowed, cure);
            return None;
        }
        let ty = owned(borrowed, "a state", errors);
        let name = name?.clone();
        if self.states().any(|state| state.name == name) {
            errors.leave_to_rustc();
            return None;
        }
        Some(Field { name, ty })
    }

    fn check_session(&self, parameter: &PatType, errors: &mut Errors) -> Option<Session> {
        if self.session().is_some() {
            let cure = "a connection has one `#[session]`: put both into one struct";
            errors.at(&parameter.pat, cure);
            return None;
        }
        let (borrowed, mutable) = match bare(&parameter.ty) {
            Type::Reference(reference) => (lent(reference, errors), reference.mutability.is_some()),
            owned => {
                let cure = "the connection keeps the session: borrow it with `&mut`";
                errors.at(owned, cure);
                (owned, false)
            }
        };
        let mut ty = owned(borrowed, "a session", errors);
        let cure = match borrowed {
            Type::ImplTrait(_) => "a session has one type: name it instead of `impl`",
            Type::TraitObject(_) => "a session has a known size: write `&mut Box<dyn …>`",
            Type::Slice(_) => "a session has a known size: write `&mut Vec<…>`",
            ty if is_named(ty, "str") => "a session has a known size: write `&mut String`",
            _ => "",
        };
        if !cure.is_empty() {
            errors.at(borrowed, cure);
            ty = parse_quote!(());
        }
        let name = parameter::name(&parameter.pat).cloned();
        Some(Session { name, ty, mutable })
    }
}

/// Returns what is behind a reference, reporting `&'static`: what is lent is a field of the protocol.
fn lent<'t>(reference: &'t TypeReference, errors: &mut Errors) -> &'t Type {
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        let cure = "it is borrowed for one exchange: remove `'static`";
        errors.at(lifetime, cure);
    }
    bare(&reference.elem)
}

/// Returns the type with `'static` for what it borrows, which is reported.
fn owned(ty: &Type, what: &str, errors: &mut Errors) -> Type {
    for found in lifetimes::find(ty)
        .iter()
        .filter(|found| !found.is_static())
    {
        let cure = "outlives all requests: own what it holds, or write `'static`";
        errors.at_span(found.span, format_args!("{what} {cure}"));
    }
    lifetimes::unify(ty, "'static")
}
