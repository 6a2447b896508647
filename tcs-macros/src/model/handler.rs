//! Resolves a function that a server calls: how to call it, and the source of each parameter.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Generics, PatType, Token, Type, parse_quote, spanned::Spanned as _};

use super::{
    generics,
    message::{resolve_message, resolve_type},
    parameter::{self, Role},
    protocol_type::Field,
};
use crate::{
    errors::Errors,
    item::Function,
    options::Side,
    syntax::{
        bare, is_handle, is_unsized, is_value,
        lifetimes::{self, EXCHANGE, STATIC},
        mentions_word,
    },
};

/// A function that answers one kind of request.
#[derive(Clone)]
pub(crate) struct Handler<'a> {
    pub(crate) function: &'a Function,
    pub(crate) kind: CallKind,
    /// The generics of the type that this function uses.
    pub(crate) generics: Generics,
    pub(crate) parameters: Parameters,
    /// The type parameters that occur in no state, which the type does not have.
    pub(super) unused_params: Vec<Ident>,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Sync,
    Blocking,
    Async,
}

/// The sources of a function's parameters, in their order.
#[derive(Clone, Default)]
pub(crate) struct Parameters(Vec<ParameterSource>);

/// The source of a parameter's value.
#[derive(Clone)]
pub(crate) enum ParameterSource {
    Request,
    /// The argument of this name in the request of an operation.
    Argument(Ident),
    /// A state that all connections share, with the type without the `&` of the parameter.
    State(Field),
    Session(Session),
    /// The framing of the connection, of this type.
    Framing(Type),
    /// A value of this type, taken from the context.
    Context(Type),
}

/// The session, which one connection keeps.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) mutability: Option<Token![mut]>,
}

impl<'a> Handler<'a> {
    pub(super) fn new(function: &'a Function, kind: CallKind, parameters: Parameters) -> Self {
        let states = parameters.states();
        let (generics, unused_params) = generics::for_type(&function.sig.generics, states);
        Self {
            function,
            kind,
            generics,
            parameters,
            unused_params,
        }
    }

    /// Reports a handle of the protocol with this name that a plain `fn` cannot use, because each of its methods waits.
    pub(super) fn check_handles_can_wait(&self, protocol: &str, errors: &mut Errors) {
        if self.kind != CallKind::Sync {
            return;
        }
        for handle in ["Replies", "Requests"] {
            for parameter in self.function.parameters() {
                // If the body has an `.await`, rustc reports that.
                if is_handle(&parameter.ty, &[handle], protocol)
                    && !mentions_word(&self.function.body, "await")
                {
                    let message =
                        format_args!("`{handle}` waits for the peer: write `async` before `fn`");
                    errors.at(&parameter.ty, message);
                }
            }
        }
    }

    /// Reports a framing that the function changes, although the connection reads the function's chunks with it.
    pub(super) fn check_framing_is_kept(&self, errors: &mut Errors) {
        if let Some(ty) = self.parameters.framing() {
            let message =
                "chunks are read while the function runs: remove `requests`, or `#[framing]`";
            errors.at(ty, message);
        }
    }
}

impl CallKind {
    /// Returns how a function is called. `blocking` is the word that says that it blocks its thread.
    pub(super) fn resolve(
        function: &Function,
        blocking: Option<&impl ToTokens>,
        errors: &mut Errors,
    ) -> Self {
        match (blocking, function.is_async()) {
            (Some(word), is_async) => {
                if is_async {
                    let help = "remove it, or the `async` of the function";
                    errors.at(word, format_args!("`blocking` is for a plain `fn`: {help}"));
                }
                Self::Blocking
            }
            (None, true) => Self::Async,
            (None, false) => Self::Sync,
        }
    }
}

impl Parameters {
    pub(super) fn push(&mut self, source: ParameterSource) {
        self.0.push(source);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ParameterSource> {
        self.0.iter()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &Field> + Clone {
        self.0.iter().filter_map(|source| match source {
            ParameterSource::State(state) => Some(state),
            _ => None,
        })
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.0.iter().find_map(|source| match source {
            ParameterSource::Session(session) => Some(session),
            _ => None,
        })
    }

    /// Returns the type of the framing that the function changes, if it does.
    pub(crate) fn framing(&self) -> Option<&Type> {
        self.0.iter().find_map(|source| match source {
            ParameterSource::Framing(ty) => Some(ty),
            _ => None,
        })
    }

    /// Finds the sources of the parameters of a protocol function, and the type of its request.
    pub(super) fn resolve(function: &Function, errors: &mut Errors) -> (Self, Option<Type>) {
        let mut parameters = Self::default();
        let mut request = None;
        // The first plain parameter is the request. Later plain parameters are taken from the context.
        let (mut has_request, mut lacks_attribute) = (false, false);
        for parameter in function.parameters() {
            let ty = &*parameter.ty;
            // `&Peer` may precede the request.
            let is_known = parameter::is_known_of_connection(ty);
            let role = parameter::resolve_role(parameter, errors);
            match parameter::check_not_secret(parameter, role, errors) {
                Role::Plain if parameter::lacks_state(parameter, errors) => {
                    lacks_attribute = true;
                    parameters.resolve_one(Role::State, parameter, errors);
                }
                Role::Plain if !has_request && !is_known => {
                    has_request = true;
                    if let Some(ty) = resolve_message(ty, "a request", errors) {
                        parameters.push(ParameterSource::Request);
                        request = Some(lifetimes::unify(&ty, EXCHANGE));
                    }
                }
                Role::Plain if is_value(ty) => {
                    let help = "put this first, or both into one tuple";
                    let state = "or write `#[state]` or `#[session]` before this one";
                    let message =
                        format_args!("the request is one parameter, the first: {help},\n{state}");
                    errors.at(ty, message);
                    // The first parameter may not be a message either.
                    request = None;
                }
                // There is an error already. A reference is probably a state, whose field the program names.
                Role::Plain | Role::Unclear if !is_known && has_request && !errors.is_empty() => {
                    if let Type::Reference(_) = bare(ty) {
                        parameters.resolve_one(Role::State, parameter, &mut Errors::default());
                    }
                }
                // This parameter may be the request, so the request is not reported as missing.
                Role::Unclear => has_request = true,
                role => parameters.resolve_one(role, parameter, errors),
            }
        }
        if !has_request && !lacks_attribute && !function.lacks_parameter {
            report_no_request(function, errors);
        }
        (parameters, request)
    }

    /// Finds the source of a parameter that is not part of the request, and adds it.
    pub(super) fn resolve_one(&mut self, role: Role, parameter: &PatType, errors: &mut Errors) {
        use ParameterSource::{Context, Framing, Session, State};
        let source = match role {
            Role::State => self.resolve_state(parameter, errors).map(State),
            Role::Session => self.resolve_session(parameter, errors).map(Session),
            Role::Framing => self.resolve_framing(parameter, errors).map(Framing),
            Role::Context | Role::Plain => {
                let ty = resolve_type(&parameter.ty, "what is taken from the context", errors);
                ty.map(|ty| Context(lifetimes::unify(ty, EXCHANGE)))
            }
            Role::Secret | Role::Unclear => None,
        };
        self.0.extend(source);
    }

    fn resolve_state(&self, parameter: &PatType, errors: &mut Errors) -> Option<Field> {
        let name = parameter::name(&parameter.pat);
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let by_value = "connections share a state: borrow it with `&`";
        let (borrowed, mutability) = resolve_borrow(&parameter.ty, by_value, errors);
        if let Some(mutability) = mutability {
            let message =
                "connections share a state: remove `mut` (a `Mutex` inside it can change)";
            errors.at(&mutability, message);
        }
        let ty = resolve_type(borrowed, "a state", errors)?;
        if let Type::Reference(_) = bare(&parameter.ty) {
            check_static(ty, "a state", errors);
        }
        // With a field of any name, calls of `new` cause no further error.
        let name = name
            .cloned()
            .unwrap_or_else(|| Ident::new("state", parameter.pat.span()));
        // rustc reports two parameters of one name in the function itself.
        if self.states().any(|state| state.name == name) {
            errors.leave_to_rustc();
            return None;
        }
        let ty = lifetimes::unify(ty, STATIC);
        Some(Field { name, ty })
    }

    fn resolve_framing(&self, parameter: &PatType, errors: &mut Errors) -> Option<Type> {
        if self.framing().is_some() {
            let message = "a connection has one framing: remove one `#[framing]`";
            errors.at(&parameter.pat, message);
            return None;
        }
        let by_value = "the connection keeps its framing: borrow it with `&mut`";
        let (borrowed, mutability) = resolve_borrow(&parameter.ty, by_value, errors);
        if let Type::Reference(reference) = bare(&parameter.ty)
            && mutability.is_none()
        {
            let message = "`#[framing]` is for changing it: write `&mut`";
            errors.at(&reference.and_token, message);
        }
        check_static(borrowed, "a framing", errors);
        resolve_type(borrowed, "a framing", errors).cloned()
    }

    fn resolve_session(&self, parameter: &PatType, errors: &mut Errors) -> Option<Session> {
        if self.session().is_some() {
            let message = "a connection has one `#[session]`: put both into one struct";
            errors.at(&parameter.pat, message);
            return None;
        }
        let by_value = "the connection keeps the session: borrow it with `&mut`";
        let (borrowed, mutability) = resolve_borrow(&parameter.ty, by_value, errors);
        check_static(borrowed, "a session", errors);
        let known = if is_unsized(borrowed) {
            let message = "a session has a known size: borrow a `String`, `Vec<…>` or `Box<dyn …>`";
            errors.at(borrowed, message);
            None
        } else {
            resolve_type(borrowed, "a session", errors)
        };
        // With `()`, the type of the session causes no further error.
        let ty = known.map_or_else(|| parse_quote!(()), |ty| lifetimes::unify(ty, STATIC));
        Some(Session {
            name: parameter::name(&parameter.pat).cloned(),
            ty,
            mutability,
        })
    }
}

fn report_no_request(function: &Function, errors: &mut Errors) {
    if function.sig.ident == "main" {
        let help = "put the attribute before the function that answers requests";
        let message = format_args!("`main` is the program: {help}");
        errors.at(&function.sig.ident, message);
    } else {
        let message =
            "the request is missing: write `request: &str` (or `_: ()` if it says nothing)";
        errors.at_span(function.sig.paren_token.span.join(), message);
    }
}

/// Returns the type after `&`, and the `mut` before it. Reports a parameter by value, and `&'static`, because the
/// protocol or the connection owns the values that functions borrow.
fn resolve_borrow<'t>(
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
        let message = "it is borrowed for one exchange: remove `'static`";
        errors.at(lifetime, message);
    }
    (bare(&reference.elem), reference.mutability)
}

/// Reports the lifetimes in a type that are not `'static`.
fn check_static(ty: &Type, what: &str, errors: &mut Errors) {
    let help = "outlives all requests: own what it holds, or write `'static`";
    let borrowed = lifetimes::find_borrowed(ty);
    errors.at_each(&borrowed, format_args!("{what} {help}"));
}

/// Reports `self`, which no protocol function can have.
pub(super) fn check_receiver(side: Side, function: &Function, errors: &mut Errors) {
    if let Some(receiver) = function.sig.receiver() {
        let help = match side {
            Side::Server => "write `#[state] name: &Type` in a free function",
            Side::Client => "write a free function, whose parameters become fields",
        };
        let message = format_args!("`self` is not possible: {help}");
        errors.at(&receiver.self_token, message);
    }
}
