//! Resolves the types of messages and of stored values: of requests and replies, and of the events, items and chunks that
//! options declare.

use quote::ToTokens as _;
use syn::Type;

use crate::{
    errors::Errors,
    item::Function,
    options::{OptionName, Options, StreamKind},
    syntax::{
        bare, find_keyword, is_unsized,
        lifetimes::{self, ITEM},
        text_of,
    },
};

/// Returns the type of a message, unless no message can have this type. `what` is a request or a reply.
pub(super) fn resolve_message(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    let inner = bare(ty);
    if is_unsized(inner) {
        // A parameter of a function has a known size, so the function has the error already.
        errors.leave_to_rustc();
        return None;
    }
    if let Type::Reference(reference) = inner {
        if let Type::TraitObject(_) = bare(&reference.elem) {
            let help = "has one type: name it instead of `dyn`";
            errors.at(reference, format_args!("{what} {help}"));
            return None;
        }
        if let Some(mutability) = reference.mutability {
            let help = if what == "a request" {
                "is read only: remove `mut`, or write `#[session]` before it"
            } else {
                "is borrowed from what arrived, which is shared: remove `mut`"
            };
            errors.at(&mutability, format_args!("{what} {help}"));
            return None;
        }
    }
    let mut ty = resolve_type(ty, what, errors)?.clone();
    let help = "lives as long as its exchange: remove `'static`";
    let found = lifetimes::elide_static(&mut ty);
    errors.at_each(&found, format_args!("{what} {help}"));
    Some(ty)
}

/// Returns a type if it is complete, and reports `impl`.
pub(super) fn resolve_type<'t>(ty: &'t Type, what: &str, errors: &mut Errors) -> Option<&'t Type> {
    if let Some(keyword) = find_keyword(ty, &["impl"]) {
        let message = format_args!("{what} has one type: name it instead of `impl`");
        errors.at(&keyword, message);
        return None;
    }
    match bare(ty) {
        // A type that did not parse has been reported.
        Type::Verbatim(_) => None,
        Type::Infer(_) | Type::Never(_) => {
            errors.leave_to_rustc();
            None
        }
        _ => Some(ty),
    }
}

/// Returns the return type, unless a reply cannot have this type. `never` is the reason why it cannot be `!`.
pub(super) fn resolve_output(
    function: &Function,
    what: &str,
    never: &str,
    errors: &mut Errors,
) -> Option<Type> {
    let output = function.output();
    if let Type::Never(_) = bare(&output) {
        let message = format_args!("{never}: return a type instead of `!`");
        errors.at(&output, message);
        return None;
    }
    if is_unsized(bare(&output)) {
        // rustc reports the function.
        errors.leave_to_rustc();
        return None;
    }
    if let Type::Verbatim(_) = output {
        return None;
    }
    // A type of the user's may have the name of one of these traits, but has no such argument.
    let text = text_of(output.to_token_stream());
    if text.contains("Future<Output =") {
        let message = "a function that waits is an `async fn`: write it so, with what it returns";
        errors.at(&output, message);
        return None;
    }
    let is_iterator = ["Iterator<Item =", "Stream<Item ="];
    if is_iterator.iter().any(|written| text.contains(written))
        && let Some(keyword) = find_keyword(&output, &["impl", "dyn"])
    {
        let message =
            "an iterator is not a message: return a `Vec`, or send its items with `replies`";
        errors.at(&keyword, message);
        return None;
    }
    resolve_type(&output, what, errors).cloned()
}

/// The messages of one kind.
pub(crate) struct MessageStream {
    pub(crate) kind: &'static StreamKind,
    /// The type, or `None` if it has an error. Its lifetimes are [`ITEM`].
    pub(crate) message: Option<Type>,
}

impl MessageStream {
    /// Resolves the messages of these kinds that the options declare.
    pub(super) fn of_options(
        kinds: &[&'static StreamKind],
        options: &Options,
        errors: &mut Errors,
    ) -> Vec<Self> {
        if options.given(OptionName::Push).is_none()
            && let Some(word) = options.given(OptionName::IsPush)
        {
            let message = "`is_push` tells events from replies: add `push = Event<'_>`";
            errors.at(word, message);
        }
        let kinds = kinds.iter();
        let given = kinds.filter(|kind| options.given(kind.option).is_some());
        given
            .map(|kind| Self::new(kind, kind.written(options), errors))
            .collect()
    }

    /// Resolves messages. `written` is `None` if their type did not parse, and the error is reported already.
    pub(super) fn new(
        kind: &'static StreamKind,
        written: Option<&Type>,
        errors: &mut Errors,
    ) -> Self {
        Self {
            kind,
            message: written.and_then(|ty| resolve_streamed(kind, ty, errors)),
        }
    }
}

/// Returns the type of a message, unless no message can have this type.
fn resolve_streamed(kind: &'static StreamKind, ty: &Type, errors: &mut Errors) -> Option<Type> {
    let what = kind.one;
    let inner = bare(ty);
    if is_unsized(inner) {
        errors.at(
            inner,
            format_args!("{what} has a known size: write a `&` before it"),
        );
        return None;
    }
    let ty = resolve_type(ty, what, errors)?;
    let mut named = lifetimes::find_borrowed(ty);
    named.retain(|lifetime| lifetime.ident != "_");
    for lifetime in &named {
        let message =
            format_args!("`{lifetime}` is declared nowhere: write `'_` where {what} borrows");
        errors.at(lifetime, message);
    }
    named.is_empty().then(|| lifetimes::unify(ty, ITEM))
}
