//! What the expansions of the attributes name. Not part of the interface.

pub use crate::{
    ClientProtocol, Context, Contract, Decode, DecodeError, Encode, EncodeError, Facts, Framing,
    FromContext, LengthPrefixed, Peer, Plain, Received, Refusal, ServerProtocol, Writer,
};
