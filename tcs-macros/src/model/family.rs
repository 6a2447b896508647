//! Resolves the messages beside requests and replies, which options declare: events, items and chunks.

use syn::{Path, Type};

use super::message::resolve_type;
use crate::{
    errors::Errors,
    options::{OptionName, Options},
    syntax::{
        bare, is_unsized,
        lifetimes::{self, ITEM},
    },
};

/// A kind of messages that a protocol has beside its requests and replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    Pushes,
    Streams,
    Receives,
}

/// The messages of one kind.
pub(crate) struct Family {
    pub(crate) kind: FamilyKind,
    /// `None` if there is an error in it. Its lifetimes are [`ITEM`].
    pub(crate) message: Option<Type>,
    /// Tells events from replies.
    pub(crate) is_push: Option<Path>,
}

impl FamilyKind {
    const ALL: [Self; 3] = [Self::Pushes, Self::Streams, Self::Receives];

    /// Returns the names of the trait of the library, and of its associated type.
    pub(crate) const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Pushes => ("Pushes", "Event"),
            Self::Streams => ("Streams", "Item"),
            Self::Receives => ("Receives", "Chunk"),
        }
    }

    const fn option(self) -> OptionName {
        match self {
            Self::Pushes => OptionName::Push,
            Self::Streams => OptionName::Replies,
            Self::Receives => OptionName::Requests,
        }
    }

    /// Returns the name of the attribute of an operation, what its messages are called, and the example of their type.
    pub(super) const fn of_operation(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Receives => ("requests", "chunks", "Chunk<'_>"),
            Self::Pushes | Self::Streams => ("replies", "items", "Row<'_>"),
        }
    }

    /// Returns what a message is called in errors.
    const fn what(self) -> &'static str {
        match self {
            Self::Pushes => "an event",
            Self::Streams => "an item",
            Self::Receives => "a chunk",
        }
    }
}

impl Family {
    /// Resolves what the options declare.
    pub(super) fn resolve_all(options: &Options, errors: &mut Errors) -> Vec<Self> {
        check_is_push(options, errors);
        let kinds = FamilyKind::ALL.into_iter();
        kinds
            .filter_map(|kind| Self::of_option(kind, options, errors))
            .collect()
    }

    /// Resolves the events of a module, whose operations each declare their items or chunks.
    pub(super) fn resolve_pushes(options: &Options, errors: &mut Errors) -> Option<Self> {
        check_is_push(options, errors);
        Self::of_option(FamilyKind::Pushes, options, errors)
    }

    /// Resolves the items or chunks of an operation. Their type is `None` if it did not parse, which was reported.
    pub(super) fn of_attr(kind: FamilyKind, written: Option<&Type>, errors: &mut Errors) -> Self {
        Self {
            kind,
            message: written.and_then(|ty| resolve(kind, ty, errors)),
            is_push: None,
        }
    }

    fn of_option(kind: FamilyKind, options: &Options, errors: &mut Errors) -> Option<Self> {
        options.given(kind.option())?;
        let written = match kind {
            FamilyKind::Pushes => &options.push,
            FamilyKind::Streams => &options.replies,
            FamilyKind::Receives => &options.requests,
        };
        let is_push = options.is_push.clone();
        Some(Self {
            kind,
            message: written.as_ref().and_then(|ty| resolve(kind, ty, errors)),
            is_push: is_push.filter(|_| kind == FamilyKind::Pushes),
        })
    }
}

fn check_is_push(options: &Options, errors: &mut Errors) {
    if let (Some(word), None) = (
        options.given(OptionName::IsPush),
        options.given(OptionName::Push),
    ) {
        let message = "`is_push` tells events from replies: add `push = Event<'_>`";
        errors.at(word, message);
    }
}

/// Returns the type of a message, unless no message can be of it.
fn resolve(kind: FamilyKind, ty: &Type, errors: &mut Errors) -> Option<Type> {
    let what = kind.what();
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
