//! Resolves a server protocol, which is derived from a function, or from the handlers of several operations.

use std::iter;

use proc_macro2::Ident;
use syn::{Expr, ExprLit, Lit, Type};

use super::{
    generics,
    handler::{CallKind, Handler, Parameters, Session},
    message::{MessageStream, resolve_output},
    parameter::is_session,
    protocol_type::ProtocolType,
};
use crate::{
    errors::Errors,
    item::Function,
    options::{OptionName, Options, StreamKind},
    syntax::{
        lifetimes::{self, EXCHANGE},
        mentions_one_of,
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
    /// The messages beside requests and replies.
    pub(crate) streams: Vec<MessageStream>,
    /// Whether the reply may be a stream of items.
    pub(crate) sends_items: bool,
}

/// The parts of the implementation of a server protocol, which calls one function or several.
pub(crate) struct ServerImpl<'a> {
    /// The type, whose fields are the states.
    pub(crate) ty: ProtocolType<'a>,
    pub(crate) session: Option<Session>,
    /// Whether a request may have to wait for a function.
    pub(crate) waits: bool,
    /// Set if requests run side by side, and share the session.
    pub(crate) concurrency: Option<Concurrency>,
    /// Whether chunks may follow a request.
    pub(crate) takes_chunks: bool,
    /// The type of the framing that a function changes.
    pub(crate) changed_framing: Option<Type>,
}

impl<'a> ServerFunction<'a> {
    /// Resolves a function, and reports all errors in it.
    pub(super) fn resolve(
        options: &Options,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        let (parameters, request) = Parameters::resolve(function, errors);
        let reply = resolve_reply(function, errors);
        let kind = CallKind::resolve(function, options.given(OptionName::Blocking), errors);
        let handler = Handler::new(function, kind, parameters);
        generics::check_unused(&handler.unused_params, "`#[state]`", errors);
        handler.check_handles_can_wait(&name.to_string(), errors);
        check_server_options(options, iter::once(function), errors);
        let mut streams = MessageStream::of_options(&StreamKind::ALL, options, errors);
        let ty = ProtocolType::of_function(function, name);
        // If the format did not parse, it is unknown whether the format carries the messages.
        let is_known =
            |ty: &Type| !options.lacks_format() && !mentions_one_of(ty, &handler.unused_params);
        for MessageStream { message, .. } in &mut streams {
            message.take_if(|ty| !is_known(ty));
        }
        let chunks = options.given(OptionName::Requests);
        if chunks.is_some() {
            handler.check_framing_is_kept(errors);
        }
        let mut server = ServerImpl::of(options, iter::once(&handler), ty, chunks, errors);
        // A function that returns an iterator of items waits for its peer.
        let sends_items = streams
            .iter()
            .any(|stream| stream.kind == StreamKind::ITEMS);
        server.waits |= sends_items;
        Self {
            server,
            request: request.filter(is_known),
            reply: reply.filter(is_known),
            streams,
            sends_items,
            handler,
        }
    }
}

/// Reports the options that none of the functions needs.
pub(super) fn check_server_options<'f>(
    options: &Options,
    mut functions: impl Iterator<Item = &'f Function> + Clone,
    errors: &mut Errors,
) {
    let parameters = functions.clone().flat_map(Function::parameters);
    let mut attrs = parameters.flat_map(|parameter| &parameter.attrs);
    if let Some(option) = options.given(OptionName::Session)
        && !attrs.any(is_session)
    {
        let message = "there is no `#[session]` parameter: add one, or remove `session`";
        errors.at(option, message);
    }
    // A function that returns an iterator of items waits for its peer, even if it is a plain `fn`.
    if let Some(option) = options.given(OptionName::HalfClose)
        && options.given(OptionName::Replies).is_none()
        && !functions.any(Function::is_async)
    {
        let message = "`half_close` is for an `async fn`: no other function is dropped; remove it";
        errors.at(option, message);
    }
}

/// Returns the return type of a function, with the lifetime of an exchange.
pub(super) fn resolve_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "a request is answered by what the function returns";
    let mut reply = resolve_output(function, "a reply", never, errors)?;
    // A client borrows the reply from the received bytes, so a `&'static str` has the lifetime of the exchange there.
    lifetimes::elide_static(&mut reply);
    Some(lifetimes::unify(&reply, EXCHANGE))
}

impl<'a> ServerImpl<'a> {
    /// Makes one implementation for several functions, and gives `ty` its generics and fields. `chunks` is the word
    /// that says that chunks may follow a request.
    ///
    /// States of one name are one field, and there is one session. Each has the type that the first function gives it.
    /// rustc reports other types.
    pub(super) fn of<'h>(
        options: &Options,
        handlers: impl Iterator<Item = &'h Handler<'h>> + Clone,
        mut ty: ProtocolType<'a>,
        chunks: Option<&Ident>,
        errors: &mut Errors,
    ) -> Self {
        let concurrency = Concurrency::resolve(options, handlers.clone(), chunks, errors);
        for handler in handlers.clone() {
            generics::merge(&mut ty.generics, &handler.generics);
        }
        let parameters = handlers.clone().map(|handler| &handler.parameters);
        let changed_framing = parameters.clone().find_map(Parameters::framing).cloned();
        for state in parameters.clone().flat_map(Parameters::states) {
            if ty.fields.iter().all(|known| known.name != state.name) {
                ty.fields.push(state.clone());
            }
        }
        let session = parameters.clone().find_map(Parameters::session).cloned();
        let mut kinds = handlers.map(|handler| handler.kind);
        Self {
            ty,
            session,
            waits: kinds.any(|kind| kind != CallKind::Sync),
            concurrency,
            takes_chunks: chunks.is_some(),
            changed_framing,
        }
    }
}

/// The number of requests of a connection that are processed at the same time, and the order of their replies.
pub(crate) struct Concurrency {
    /// A constant expression.
    pub(crate) limit: Expr,
    pub(crate) is_ordered: bool,
}

impl Concurrency {
    /// Resolves the options, and reports parts of the functions that are not possible with them. `chunks` is the word
    /// that says that chunks may follow a request.
    pub(super) fn resolve<'h>(
        options: &Options,
        handlers: impl Iterator<Item = &'h Handler<'h>> + Clone,
        chunks: Option<&Ident>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let unordered = options.given(OptionName::Unordered);
        let Some(word) = options.given(OptionName::Concurrent) else {
            if let Some(unordered) = unordered {
                let message =
                    "`unordered` is for `concurrent`: add `concurrent = 16`, or remove it";
                errors.at(unordered, message);
            }
            return None;
        };
        if let Some(chunks) = chunks {
            let message =
                "`requests` is for one request, and `concurrent` has several: remove one of them";
            errors.at(chunks, message);
        }
        let mut kinds = handlers.clone().map(|handler| handler.kind);
        // A function that returns an iterator of items waits for its peer, even if it is a plain `fn`.
        if options.given(OptionName::Replies).is_none() && kinds.all(|kind| kind != CallKind::Async)
        {
            let message =
                "`concurrent` is for an `async fn`, because no other function waits: remove it";
            errors.at(word, message);
        }
        for ty in handlers.clone().filter_map(|it| it.parameters.framing()) {
            let message =
                "requests run side by side, so none changes the framing: remove `concurrent`";
            errors.at(ty, message);
        }
        let sessions = handlers.filter_map(|handler| handler.parameters.session());
        for mutability in sessions.filter_map(|session| session.mutability) {
            let message = "requests run side by side, so they share the session: take `&T`";
            errors.at(&mutability, message);
        }
        let limit = options.concurrent.clone()?;
        if let Expr::Lit(ExprLit { lit, .. }) = &limit {
            let help = match lit {
                Lit::Int(number) if !matches!(number.base10_parse(), Ok(0_usize)) => None,
                Lit::Int(_) => Some("at least one request is processed at a time"),
                _ => Some("`concurrent` takes a number, or a constant"),
            };
            if let Some(help) = help {
                errors.at(lit, format_args!("{help}: write `concurrent = 16`"));
                return None;
            }
        }
        Some(Self {
            limit,
            is_ordered: unordered.is_none(),
        })
    }
}
