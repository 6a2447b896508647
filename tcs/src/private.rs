//! The items that expansions of the attributes and of `plain!` name. Not part of the interface.

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use serde;

// A bound of `Protobuf`, which errors name.
#[cfg(feature = "protobuf")]
pub use crate::format::protobuf::ProstMessage;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use crate::macro_support::{
    operations::{
        Argument, Arguments, Choice, ChosenFormat, ExtractorCheck, FormatCheck, Message,
        NoExtractor, OperationReply, OperationsFormat, UnfitFormat, another_operation,
        assert_operations_format, no_such_item, read_arguments, read_message,
    },
    values::NoFormat,
};
// Expansions do not name these, nor `OperationsFormat`, but what they name has them in its signature.
pub use crate::macro_support::{
    bounds::ReadAs,
    values::{AtOnce, Encoder},
};
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
    macro_support::{
        answer::{Answer, AnyAnswer},
        bounds::{
            CallsOver, ChangedFraming, CloneArgument, DefaultSession, FromContextAlone, ReplyCheck,
            SameSession, SendField, SharedSession, State, UnreadReply, WithFraming,
            assert_send_field, assert_shared_session, assert_state,
        },
        options,
        pair::{OtherPair, Pair},
        values::{
            AnyGreeting, Encoded, FieldReference, FieldValue, Greeting, Hidden, Shown, Unknown,
            Unshown, at_once, encoder, in_words, send,
        },
    },
    protocol::{
        ClientProtocol, Concurrency, Context, Contract, FromSession, Pushes, Receives,
        ServerProtocol, Streams,
    },
    transport::Address,
};
