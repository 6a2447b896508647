//! Checks a server protocol: one that is made of a function, or of the handlers of several operations.

use std::cmp::Reverse;

use proc_macro2::Ident;
use syn::{Generics, Type, TypeSlice, parse_quote, visit_mut::VisitMut as _};

use super::{
    Field, generics,
    handler::{CallKind, Handler, Session},
    message::return_type,
    parameter::is_session,
    protocol_type::ProtocolType,
};
use crate::{
    args::{Args, OptionName},
    errors::Errors,
    item::Function,
    syntax::{
        is_named,
        lifetimes::{self, EXCHANGE, Shorten},
        names_one_of, same_tokens,
    },
};

/// A function that is a server protocol.
pub(crate) struct ServerFunction<'a> {
    pub(crate) parts: ServerParts<'a>,
    pub(crate) handler: Handler<'a>,
    pub(crate) request: Type,
    pub(crate) reply: Type,
}

/// What a server protocol consists of, whether it calls one function or several.
pub(crate) struct ServerParts<'a> {
    /// Its fields own the states.
    pub(crate) ty: ProtocolType<'a>,
    /// The states, with the types that functions borrow.
    pub(crate) states: Vec<Field>,
    pub(crate) session: Option<Session>,
    /// Whether a request may have to wait for a function.
    pub(crate) waits: bool,
}

impl<'a> ServerFunction<'a> {
    /// Checks a function, reporting all that is wrong. A message that is wrong is the library's `Unknown`.
    pub(super) fn check(
        args: &'a Args,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        let mut handler = Handler::new(function);
        let request = handler.resolve_parameters(errors);
        let reply = check_reply(function, errors);
        let unused = handler.remove_unused(errors);
        check_session_option(args, [function], errors);
        if !function.is_async()
            && let Some(option) = args.given(OptionName::HalfClose)
        {
            let help = "`half_close` is for an `async fn`: no other function is dropped; remove it";
            errors.at(option, help);
        }
        if let Some(option) = args.given(OptionName::Blocking) {
            handler.set_blocking(option, errors);
        }
        let known = |ty: Option<Type>| {
            let known = ty.filter(|ty| !names_one_of(ty, &unused));
            known.unwrap_or_else(|| args.library.ty("Unknown", &function.sig.ident))
        };
        let parts = ServerParts::of(&[&handler], |generics, fields| {
            ProtocolType::of_function(args, name, function, generics, fields, errors)
        });
        Self {
            parts,
            request: known(request),
            reply: known(reply),
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
        let help = "there is no `#[session]` parameter: add one, or remove `session`";
        errors.at(option, help);
    }
}

/// Returns the return type of a function, with the lifetime of an exchange.
pub(super) fn check_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let mut reply = return_type(function, "a reply", never, errors)?;
    // A client reads the reply from what arrived, so a `&'static str` is for it one of the exchange.
    Shorten.visit_type_mut(&mut reply);
    Some(lifetimes::unify(&reply, EXCHANGE))
}

impl<'a> ServerParts<'a> {
    /// Makes one type of what several functions need: `describe` is given its generics and fields.
    ///
    /// States of one name are one field, and there is one session. Each has the type that most of the
    /// functions have; rustc reports the others.
    pub(super) fn of(
        handlers: &[&Handler<'_>],
        describe: impl FnOnce(Generics, Vec<Field>) -> ProtocolType<'a>,
    ) -> Self {
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
        let fields = states.iter().map(owning_field).collect();
        let sessions = handlers.iter().filter_map(|handler| handler.session());
        let mut kinds = handlers.iter().map(|handler| handler.kind);
        Self {
            ty: describe(generics, fields),
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
    let are_same = |one: &T, other: &T| same_tokens(ty(one), ty(other));
    let count = |one: &T| others.clone().filter(|other| are_same(one, other)).count();
    // `min` of the reverse is the first of those that are most; `max_by_key` would be the last.
    all.min_by_key(|one| Reverse(count(one)))
}
