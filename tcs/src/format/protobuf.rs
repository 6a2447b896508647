//! Protocol Buffers, by `prost`.

use prost::Message;

use super::{Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer};
use crate::Response;

/// Protocol Buffers, with the feature `protobuf`: messages declared once, for many languages.
///
/// The messages are types with `prost::Message`, which `prost` generates from `.proto` files or
/// derives. They are sent by value and own what they contain.
///
/// | type | in bytes |
/// |---|---|
/// | `T: prost::Message` | as specified at <https://protobuf.dev/programming-guides/encoding>, without a length before it |
/// | `()` | an empty message |
/// | `String`, `Vec<u8>`, `bool`, `u32`, … | the wrapper messages of `google.protobuf`, such as `StringValue` |
/// | [`Response<T>`](crate::Response) | `T`, which is also what the caller reads |
///
/// ```
/// use tcs::{format::Protobuf, server_protocol};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Order {
///     #[prost(string, tag = "1")]
///     item: String,
///     #[prost(uint32, tag = "2")]
///     count: u32,
/// }
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Outcome {
///     #[prost(oneof = "Is", tags = "1, 2")]
///     is: Option<Is>,
/// }
///
/// #[derive(Clone, PartialEq, prost::Oneof)]
/// enum Is {
///     #[prost(uint64, tag = "1")]
///     Cents(u64),
///     #[prost(string, tag = "2")]
///     Rejected(String),
/// }
///
/// #[server_protocol(format = Protobuf)]
/// fn sell(order: Order) -> Outcome {
///     let is = match order.count {
///         0..100 => Is::Cents(250 * u64::from(order.count)),
///         _ => Is::Rejected(format!("{} is sold out", order.item)),
///     };
///     Outcome { is: Some(is) }
/// }
/// ```
///
/// # Results
///
/// Protocol Buffers have no `Result`. A function that can fail returns a message with a `oneof`, as
/// above. To reject a request, as [`Plain`](crate::format::Plain) does with `Err`, implement
/// [`ServerProtocol`](crate::protocol::ServerProtocol) by hand and return a
/// [`Rejection`](crate::Rejection).
///
/// # Errors
///
/// See [the errors of all formats](crate::format#errors). For Protocol Buffers:
///
/// - A message may nest 100 levels. If any crate in your program enables the feature
///   `no-recursion-limit` of `prost`, there is no limit, and a request can overflow the stack.
/// - Unknown fields are skipped, and missing fields have their defaults.
/// - The message of an error has the names of messages and fields, the innermost first.
/// - A message beyond its limit (a server's `max_reply_len`, or a client's `max_frame_len`) is an
///   error before any of it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
#[doc(alias("prost", "protocol buffers"))]
pub enum Protobuf {}

impl<T: Message> Encode<Protobuf> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match out.room_for(self.encoded_len()) {
            Some(buffer) => Message::encode(&self, buffer).map_err(EncodeError::new),
            None => Ok(()),
        }
    }
}

/// A message that can be read.
///
/// The library has its own trait, so that there is one error instead of one for each of its bounds.
pub trait ProstMessage: Message + Default {}

#[diagnostic::do_not_recommend]
impl<T: Message + Default> ProstMessage for T {}

impl<T: ProstMessage> Decode<'_, Protobuf> for T {
    #[inline]
    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        <Self as Message>::decode(frame.bytes()).map_err(|error| decode_error(&error))
    }
}

impl<'a, T: ReplyValue<'a, Protobuf>, U> ReplyValue<'a, Protobuf> for Response<T, U> {
    type Value = T::Value;
}

#[cold]
fn decode_error(error: &prost::DecodeError) -> DecodeError {
    let text = error.to_string();
    // `malformed` names the format.
    let reason = text.strip_prefix("failed to decode Protobuf message: ");
    DecodeError::malformed("Protobuf", "", reason.unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    use super::Protobuf;
    use crate::format::{
        WriterState,
        test_support::{decode, decode_err, encode, encode_within},
    };

    #[derive(Clone, PartialEq, Message)]
    struct Tree {
        #[prost(uint64, tag = "1")]
        id: u64,
        #[prost(string, tag = "2")]
        name: String,
        #[prost(bytes = "vec", tag = "3")]
        raw: Vec<u8>,
        #[prost(sint32, repeated, tag = "4")]
        numbers: Vec<i32>,
        #[prost(message, repeated, tag = "5")]
        children: Vec<Self>,
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let parts = || {
            (
                any::<u64>(),
                any::<String>(),
                vec(any::<u8>(), 0..9),
                vec(any::<i32>(), 0..9),
            )
        };
        let leaf = parts().prop_map(|(id, name, raw, numbers)| Tree {
            id,
            name,
            raw,
            numbers,
            children: Vec::new(),
        });
        leaf.prop_recursive(4, 16, 3, move |children| {
            (parts(), vec(children, 0..3)).prop_map(|((id, name, raw, numbers), children)| Tree {
                id,
                name,
                raw,
                numbers,
                children,
            })
        })
    }

    proptest! {
        #[test]
        fn messages_come_back(value in tree()) {
            let bytes = encode::<Protobuf, _>(value.clone());
            prop_assert_eq!(decode::<Protobuf, _>(&bytes), Ok(value));
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in vec(any::<u8>(), 0..40)) {
            drop(decode::<Protobuf, Tree>(&bytes));
        }
    }

    #[test]
    fn message_that_is_too_large_is_not_written() {
        let message = Tree {
            name: "x".repeat(98),
            ..Tree::default()
        };
        assert_eq!(
            encode_within::<Protobuf, _>(message.clone(), 100).1,
            WriterState::Message
        );
        assert_eq!(
            encode_within::<Protobuf, _>(message.clone(), 101).0.len(),
            100
        );
        let (bytes, outcome) = encode_within::<Protobuf, _>(message, 99);
        assert_eq!((bytes.len(), outcome), (0, WriterState::TooLarge(100)));
    }

    #[test]
    fn decode_error_says_where_and_why() {
        for (bytes, expected) in [
            (
                b"\x12\x01\xff".as_slice(),
                "Tree.name: invalid string value: data is not UTF-8 encoded",
            ),
            (
                b"\x0d\x01\x00\x00\x00",
                "Tree.id: invalid wire type: ThirtyTwoBit (expected Varint)",
            ),
            (
                b"\x2a\x02\x12\x09",
                "Tree.name: Tree.children: buffer underflow",
            ),
            (b"\x12\xff\xff\xff\xff\x0f", "Tree.name: buffer underflow"),
            (b"\x08", "Tree.id: invalid varint"),
        ] {
            assert_eq!(
                decode_err::<Protobuf, Tree>(bytes),
                format!("invalid Protobuf: {expected}")
            );
        }
    }

    #[test]
    fn endless_nesting_is_rejected() {
        let nested = |levels| {
            (0..levels).fold(Tree::default(), |inner, _| Tree {
                children: vec![inner],
                ..Tree::default()
            })
        };
        assert_eq!(
            decode::<Protobuf, _>(&nested(100).encode_to_vec()),
            Ok(nested(100))
        );
        let rejection = decode_err::<Protobuf, Tree>(&nested(101).encode_to_vec());
        assert!(
            rejection.contains("Tree.children: Tree.children"),
            "{rejection}"
        );
        // Groups that no field wants.
        let rejection = decode_err::<Protobuf, Tree>(&b"\x7b".repeat(100_000));
        assert!(rejection.contains("recursion limit reached"), "{rejection}");
    }
}
