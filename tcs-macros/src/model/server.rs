//! Resolves a server protocol, which is derived from a function, or from the handlers of several operations.

use std::{cmp::Reverse, slice};

use proc_macro2::Ident;
use syn::{Generics, Type, visit_mut::VisitMut as _};

use super::{
    Field, generics,
    handler::{Arguments, CallKind, Handler, Session},
    message::resolve_output,
    parameter::is_session,
    protocol_type::{ItemRef, ProtocolType},
};
use crate::{
    args::{Args, OptionName},
    errors::Errors,
    item::Function,
    syntax::{
        lifetimes::{self, EXCHANGE, ElideStatic},
        names_one_of, same_tokens,
    },
};

/// A function that is a server protocol.
pub(crate) struct ServerFunction<'a> {
    pub(crate) server: ServerImpl<'a>,
    pub(crate) handler: Handler<'a>,
    /// `None` if there is an error in it.
    pub(crate) request: Option<Type>,
    /// `None` if there is an error in it.
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
    /// Resolves a function, and reports all errors in it.
    pub(super) fn resolve(
        args: &Args,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        let (arguments, request) = Arguments::of_function(function, errors);
        let reply = resolve_reply(function, errors);
        let kind = CallKind::resolve(function, args.given(OptionName::Blocking), errors);
        let handler = Handler::new(function, kind, arguments);
        handler.check_unused_params(errors);
        check_session_option(args, [function], errors);
        if !function.is_async()
            && let Some(option) = args.given(OptionName::HalfClose)
        {
            let message =
                "`half_close` is for an `async fn`: no other function is dropped; remove it";
            errors.at(option, message);
        }
        let is_known = |ty: &Type| !names_one_of(ty, &handler.unused_params);
        Self {
            server: ServerImpl::of(slice::from_ref(&handler), ItemRef::Function(function), name),
            request: request.filter(is_known),
            reply: reply.filter(is_known),
            handler,
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
        let message = "there is no `#[session]` parameter: add one, or remove `session`";
        errors.at(option, message);
    }
}

/// Returns the return type of a function, with the lifetime of an exchange.
pub(super) fn resolve_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let mut reply = resolve_output(function, "a reply", never, errors)?;
    // A client reads the reply from what arrived, so a `&'static str` is for it one of the exchange.
    ElideStatic.visit_type_mut(&mut reply);
    Some(lifetimes::unify(&reply, EXCHANGE))
}

impl<'a> ServerImpl<'a> {
    /// Makes one implementation of what several functions need.
    ///
    /// States of one name are one field, and there is one session. Each has the type that most of the
    /// functions have; rustc reports the others.
    pub(super) fn of(handlers: &[Handler<'_>], item: ItemRef<'a>, name: Ident) -> Self {
        let mut generics = Generics::default();
        for handler in handlers {
            generics::merge(&mut generics, &handler.generics);
        }
        let mut fields: Vec<Field> = Vec::new();
        let arguments = handlers.iter().map(|handler| &handler.arguments);
        let states = arguments.clone().flat_map(Arguments::states);
        for Field { name, .. } in states.clone() {
            if fields.iter().all(|known| known.name != *name) {
                let named = states.clone().filter(|state| state.name == *name);
                fields.extend(most_common(named, |state| &state.ty).cloned());
            }
        }
        let sessions = arguments.filter_map(Arguments::session);
        let mut kinds = handlers.iter().map(|handler| handler.kind);
        Self {
            ty: ProtocolType {
                item,
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
