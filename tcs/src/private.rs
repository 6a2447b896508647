//! The items that expansions of the attributes name. Not part of the interface.

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use serde;
pub use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "protobuf")]
pub use crate::format::protobuf::ProstMessage;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use crate::macro_support::{
    operations::{
        Argument, Arguments, Message, OperationReply, arguments as read_arguments, incomplete,
        read as read_message,
    },
    values::NoFormat,
};
pub use crate::{
    __arguments as arguments, __client as client, __message as message, __operations as operations,
    Address, Channel, Connection, ConnectionInfo, FromContext, Peer, Rejection, Result,
    format::{
        Decode, DecodeError, Encode, EncodeError, Frame, Plain, ReplyValue, Writer,
        plain::parse_text,
    },
    framing::{Framing, LengthPrefixed, connection_framing::ConnectionFraming},
    limit::assert_no_mistake,
    macro_support::{
        bounds::{
            CloneArgument, DefaultSession, ReadAs, SendField, State, assert_reply,
            assert_send_field, assert_state,
        },
        checks::{OtherPair, Pair, client_mistake, reject_with_mistake, server_mistake},
        values::{Encoded, Encoder, FieldReference, FieldValue, Unknown, encoder, send},
    },
    protocol::{ClientProtocol, Context, Contract, ServerProtocol},
};
