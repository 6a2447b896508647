//! The kinds of messages beside requests and replies, which options declare: events, items and chunks.

use syn::Type;

use super::{OptionName, Options};

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
    pub(crate) const ALL: [&Self; 3] = [Self::EVENTS, Self::ITEMS, Self::CHUNKS];

    /// Returns the type that the options give.
    pub(crate) const fn written<'o>(&self, options: &'o Options) -> Option<&'o Type> {
        match self.option {
            OptionName::Push => options.push.as_ref(),
            OptionName::Replies => options.replies.as_ref(),
            _ => options.requests.as_ref(),
        }
    }
}
