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

/// A kind of messages that a protocol has beside its requests and replies, with its names.
#[derive(PartialEq, Eq)]
pub(crate) struct StreamKind {
    /// The types with which a function sends or receives the messages, and the other types that name the protocol.
    pub(crate) handles: &'static [&'static str],
    /// The option that gives the type of the messages, and the attribute of an operation.
    pub(crate) option: OptionName,
    pub(crate) option_text: &'static str,
    pub(crate) example: &'static str,
    /// The trait of the library, and its associated type.
    pub(crate) trait_name: &'static str,
    pub(crate) associated_type: &'static str,
    /// The names of the messages in errors.
    pub(crate) one: &'static str,
    pub(crate) many: &'static str,
}

/// The messages of one kind.
pub(crate) struct MessageStream {
    pub(crate) kind: &'static StreamKind,
    /// The type, or `None` if it has an error. Its lifetimes are [`ITEM`].
    pub(crate) message: Option<Type>,
    /// Tells events from replies.
    pub(crate) is_push: Option<Path>,
}

impl StreamKind {
    pub(crate) const EVENTS: &Self = &Self {
        handles: &["Push", "PushGroup", "PushGroups"],
        option: OptionName::Push,
        option_text: "push",
        example: "Event<'_>",
        trait_name: "Pushes",
        associated_type: "Event",
        one: "an event",
        many: "events",
    };
    pub(crate) const ITEMS: &Self = &Self {
        handles: &["Replies"],
        option: OptionName::Replies,
        option_text: "replies",
        example: "Row<'_>",
        trait_name: "Streams",
        associated_type: "Item",
        one: "an item",
        many: "items",
    };
    pub(crate) const CHUNKS: &Self = &Self {
        handles: &["Requests"],
        option: OptionName::Requests,
        option_text: "requests",
        example: "Chunk<'_>",
        trait_name: "Receives",
        associated_type: "Chunk",
        one: "a chunk",
        many: "chunks",
    };
    pub(super) const ALL: [&Self; 3] = [Self::EVENTS, Self::ITEMS, Self::CHUNKS];

    /// Returns the type that the options give.
    pub(super) const fn written<'o>(&self, options: &'o Options) -> Option<&'o Type> {
        match self.option {
            OptionName::Push => options.push.as_ref(),
            OptionName::Replies => options.replies.as_ref(),
            _ => options.requests.as_ref(),
        }
    }
}

impl MessageStream {
    /// Resolves the messages of these kinds that the options declare.
    pub(super) fn of_options(
        kinds: &[&'static StreamKind],
        options: &Options,
        errors: &mut Errors,
    ) -> Vec<Self> {
        check_is_push(options, errors);
        let is_given = |kind: &&&StreamKind| options.given(kind.option).is_some();
        let streams = kinds.iter().filter(is_given).map(|kind| {
            let is_push = options.is_push.clone();
            Self {
                is_push: is_push.filter(|_| *kind == StreamKind::EVENTS),
                ..Self::new(kind, kind.written(options), errors)
            }
        });
        streams.collect()
    }

    /// Resolves messages. `written` is `None` if their type did not parse, and the error is reported already.
    pub(super) fn new(
        kind: &'static StreamKind,
        written: Option<&Type>,
        errors: &mut Errors,
    ) -> Self {
        Self {
            kind,
            message: written.and_then(|ty| resolve(kind, ty, errors)),
            is_push: None,
        }
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

/// Returns the type of a message, unless no message can have this type.
fn resolve(kind: &'static StreamKind, ty: &Type, errors: &mut Errors) -> Option<Type> {
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
