//! Resolves a server protocol: one that is made of a function, or of the handlers of several operations.

use std::cmp::Reverse;

use proc_macro2::Ident;
use syn::{Generics, Type, visit_mut::VisitMut as _};

use super::{
    Field, generics,
    handler::{CallKind, Handler, Session, Sources, check_unused},
    message::resolve_output,
    parameter::is_session,
    protocol_type::{ProtocolType, Source},
};
use crate::{
    args::{Args, OptionName},
    errors::Errors,
    item::Function,
    syntax::{
        lifetimes::{self, EXCHANGE, Shorten},
        names_one_of, same_tokens,
    },
};

/// A function that is a server protocol.
pub(crate) struct ServerFunction<'a> {
    pub(crate) server: ServerImpl<'a>,
    pub(crate) handler: Handler<'a>,
    /// There is none if something is wrong with it.
    pub(crate) request: Option<Type>,
    /// There is none if something is wrong with it.
    pub(crate) reply: Option<Type>,
}

/// What the implementation of a server protocol consists of, whether it calls one function or several.
pub(crate) struct ServerImpl<'a> {
    /// Its fields are the states.
    pub(crate) ty: ProtocolType<'a>,
    pub(crate) session: Option<Session>,
    /// Whether a request may have to wait for a function.
    pub(crate) waits: bool,
}

impl<'a> ServerFunction<'a> {
    /// Resolves a function, and reports all that is wrong.
    pub(super) fn resolve(
        args: &Args,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        let (sources, request) = Sources::of_function(function, errors);
        let reply = resolve_reply(function, errors);
        let kind = CallKind::resolve(function, args.given(OptionName::Blocking), errors);
        let (handler, unused) = Handler::new(function, kind, sources);
        check_unused(&unused, errors);
        check_session_option(args, [function], errors);
        if !function.is_async()
            && let Some(option) = args.given(OptionName::HalfClose)
        {
            let help = "`half_close` is for an `async fn`: no other function is dropped; remove it";
            errors.at(option, help);
        }
        let is_known = |ty: &Type| !names_one_of(ty, &unused);
        Self {
            server: ServerImpl::of(&[&handler], Source::Function(function), name),
            handler,
            request: request.filter(is_known),
            reply: reply.filter(is_known),
        }
    }
}

/// Reports the option `session` where no function has one.
pub(super) fn check_session_option<'f>(
    args: &Args,
    functions: impl IntoIterator<Item = &'f Function>,
    errors: &mut Errors,
) {
    let parameters = functions.into_iter().flat_map(Function::parameters);
    let mut attrs = parameters.flat_map(|parameter| &parameter.attrs);
    if let Some(option) = args.given(OptionName::Session)
        && !attrs.any(is_session)
    {
        let help = "there is no `#[session]` parameter: add one, or remove `session`";
        errors.at(option, help);
    }
}

/// Returns the return type of a function, with the lifetime of an exchange.
pub(super) fn resolve_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let mut reply = resolve_output(function, "a reply", never, errors)?;
    // A client reads the reply from what arrived, so a `&'static str` is for it one of the exchange.
    Shorten.visit_type_mut(&mut reply);
    Some(lifetimes::unify(&reply, EXCHANGE))
}

impl<'a> ServerImpl<'a> {
    /// Makes one implementation of what several functions need.
    ///
    /// States of one name are one field, and there is one session. Each has the type that most of the
    /// functions have; rustc reports the others.
    pub(super) fn of(handlers: &[&Handler<'_>], source: Source<'a>, name: Ident) -> Self {
        let mut generics = Generics::default();
        for handler in handlers {
            generics::merge(&mut generics, &handler.generics);
        }
        let mut fields: Vec<Field> = Vec::new();
        let states = handlers.iter().flat_map(|handler| handler.sources.states());
        for Field { name, .. } in states.clone() {
            if fields.iter().all(|known| known.name != *name) {
                let named = states.clone().filter(|state| state.name == *name);
                fields.extend(most_common(named, |state| &state.ty).cloned());
            }
        }
        let sessions = handlers
            .iter()
            .filter_map(|handler| handler.sources.session());
        let mut kinds = handlers.iter().map(|handler| handler.kind);
        Self {
            ty: ProtocolType {
                source,
                name,
                generics,
                fields,
            },
            session: most_common(sessions, |session| &session.ty).cloned(),
            waits: kinds.any(|kind| kind != CallKind::Sync),
        }
    }
}

/// Returns the first element whose type is that of the most elements.
fn most_common<T>(all: impl Iterator<Item = T> + Clone, ty: impl Fn(&T) -> &Type) -> Option<T> {
    let others = all.clone();
    let are_same = |one: &T, other: &T| same_tokens(ty(one), ty(other));
    let count = |one: &T| others.clone().filter(|other| are_same(one, other)).count();
    // `min` of the reverse is the first of those that are most; `max_by_key` would be the last.
    all.min_by_key(|one| Reverse(count(one)))
}
