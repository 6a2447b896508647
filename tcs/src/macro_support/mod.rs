//! What the expansions of the attributes and of `plain!` need besides the public interface. Not part of the interface.
//!
//! Expansions name all of it by `tcs::__private`, which is this module.
//!
//! Some of these items ask the compiler something about a type: `Answer`, `Pair`, `FieldValue`, `Greeting`, `Shown`, and
//! those whose name ends in `Check`. An inherent item is preferred to a trait's of the same name, and exists only where
//! its bounds hold. So the trait's is the answer for all other types. The technique is also called autoref
//! specialization.

#![allow(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "only expansions see them, make them and match them"
)]

mod answer;
mod bounds;
mod macros;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
mod operations;
pub mod options;
mod pair;
mod values;

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use serde;

pub use self::{
    answer::{Answer, AnswerFallback},
    bounds::{
        CallsOver, ChangedFraming, CloneArgument, DefaultSession, FromContextAlone, ReplyCheck,
        ReplyCheckFallback, SameSession, SendField, SharedSession, State, WithFraming,
        assert_send_field, assert_shared_session, assert_state,
    },
    pair::{Pair, PairFallback},
    values::{
        Encoded, FieldValue, FieldValueFallback, Greeting, GreetingFallback, Hidden, Shown,
        ShownFallback, Unknown, at_once, encoder, in_words, send,
    },
};
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use self::{
    operations::{
        Argument, Arguments, Choice, ChosenFormat, ExtractorCheck, ExtractorCheckFallback,
        FormatCheck, FormatCheckFallback, Message, OperationReply, OperationsFormat,
        another_operation, assert_operations_format, no_such_item, read_arguments, read_message,
    },
    values::NoFormat,
};
// Expansions do not name these, nor `OperationsFormat`, but what they name has them in its signature.
pub use self::{
    bounds::ReadAs,
    values::{AtOnce, Encoder},
};
// A bound of `Protobuf`, which errors name.
#[cfg(feature = "protobuf")]
pub use crate::format::protobuf::ProstMessage;
// `plain!` calls it.
pub use crate::format::plain::parse_text;
// No expansion names it: the tests of framings feed it bytes, and it is no part of their interface.
pub use crate::framing::connection_framing::ConnectionFraming;
pub use crate::{
    __arguments as arguments, __client as client, __message as message, __operations as operations,
    __unserved as unserved, Channel, Connection, ConnectionInfo, Peer, Rejection, Result, blocking,
    checks::{client_error, reject_with_error, server_error, upload_error},
    client::{ChannelItems, Items, Upload},
    conversation::{CloneFraming, LentFraming},
    format::{Decode, DecodeError, Encode, EncodeError, Frame, Plain, Writer},
    framing::{HasIds, LengthPrefixed},
    protocol::{
        ClientProtocol, Concurrency, Context, Contract, FromSession, Pushes, Receives,
        ServerProtocol, Streams,
    },
    transport::Address,
};
