//! Resolves the options for requests that are processed at the same time.

use syn::{Expr, ExprLit, Ident, Lit};

use super::handler::{CallKind, Handler};
use crate::{
    errors::Errors,
    options::{OptionName, Options},
};

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
