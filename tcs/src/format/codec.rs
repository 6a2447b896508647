//! The format of codecs, whose messages are values. The codec of the framing makes bytes of them.

use std::{cell::Cell, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{Decode, DecodeError, Encode, EncodeError, Frame, Received, Response, Writer};
use crate::framing::Codec;

/// A type whose values are messages of a [`Codec`].
///
/// It has no methods, because the codec does the work. Text, bytes and numbers are items, and so are tuples, lists
/// and options of any type. A type of your own becomes one like this:
///
/// ```
/// enum Command {
///     Get(String),
///     Set(String, String),
/// }
///
/// impl tcs::Item for Command {}
/// ```
///
/// Rust does not allow this for a type of another crate. Use [`Carry`] for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known as an item of a codec",
    label = "no `Item`",
    note = "for a type of your own write `impl tcs::Item for Type {{}}`, for others use `tcs::Carry<Type>`"
)]
pub trait Item {}

/// A message of a [`Codec`] whose type is defined in another crate.
///
/// # Examples
///
/// ```
/// use tcs::{Carry, Codec, server_protocol};
/// # mod other {
/// #     use bytes::BytesMut;
/// #     use tokio_util::codec::{Decoder, Encoder};
/// #     #[derive(Default)]
/// #     pub struct FrameCodec;
/// #     pub struct Frame(pub u8);
/// #     impl Decoder for FrameCodec {
/// #         type Item = Frame;
/// #         type Error = std::io::Error;
/// #         fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, Self::Error> {
/// #             Ok(bytes.split_to(bytes.len().min(1)).first().copied().map(Frame))
/// #         }
/// #     }
/// #     impl Encoder<Frame> for FrameCodec {
/// #         type Error = std::io::Error;
/// #         fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), Self::Error> {
/// #             out.extend_from_slice(&[frame.0]);
/// #             Ok(())
/// #         }
/// #     }
/// # }
/// use other::{Frame, FrameCodec};
///
/// #[server_protocol(framing = Codec<FrameCodec>, format = Codec<FrameCodec>)]
/// fn echo(Carry(frame): Carry<Frame>) -> Carry<Frame> {
///     Carry(frame)
/// }
/// # drop(tcs::ConcurrentServer::new(Echo));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is what it carries")]
pub struct Carry<T>(pub T);

macro_rules! items {
    ($($type:ty),+ $(,)?) => {$(impl Item for $type {})+};
}

items! {
    (), bool, char, str, String, Box<str>, Bytes, BytesMut, f32, f64,
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize,
}

impl<T> Item for [T] {}
impl<T> Item for Vec<T> {}
impl<T> Item for Option<T> {}
impl<T> Item for Box<T> {}
impl<T> Item for Arc<T> {}
impl<T, const N: usize> Item for [T; N] {}
impl<A, B> Item for (A, B) {}
impl<A, B, C> Item for (A, B, C) {}
impl<T: Item + ?Sized> Item for &T {}

/// The error of a protocol without attribute that has one codec as its framing and another one as its
/// format.
const MISMATCH: &str = "the format is another codec than the framing";

thread_local! {
    /// The buffer that codecs write to. They need a `BytesMut`, and the send buffer is a `Vec<u8>`.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A larger scratch buffer is freed after use.
const MAX_KEPT: usize = 64 * 1024;

impl<C, T> Encode<Codec<C>> for Carry<T>
where
    C: Decoder<Item: Send> + Encoder<T, Error: fmt::Display> + Send + 'static,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Some(codec) = out.encoder::<C>() else {
            return Err(EncodeError::new(MISMATCH));
        };
        // It is taken, not borrowed: a codec may itself encode an item of another codec on this thread.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.clear();
        let encoded = codec.encode(self.0, &mut scratch);
        if encoded.is_ok() {
            out.put(&scratch);
        }
        if scratch.capacity() <= MAX_KEPT {
            // This fails while the thread ends, which drops the buffer.
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
        encoded.map_err(EncodeError::new)
    }
}

#[diagnostic::do_not_recommend]
impl<C, T> Encode<Codec<C>> for T
where
    T: Item,
    C: Decoder<Item: Send> + Encoder<T, Error: fmt::Display> + Send + 'static,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Encode::<Codec<C>>::encode(Carry(self), out)
    }
}

impl<C: Decoder, T: Encode<Codec<C>>, E: fmt::Display> Encode<Codec<C>> for Result<T, E> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Ok(reply) => reply.encode(out)?,
            Err(error) => out.error(error),
        }
        Ok(())
    }
}

impl<C, T> Decode<'_, Codec<C>> for Carry<T>
where
    T: Send + 'static,
    C: Decoder<Item = T> + Send + 'static,
{
    const IS_VALUE: bool = true;

    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        let item = frame.into_value();
        item.map(Self).ok_or_else(|| DecodeError::new(MISMATCH))
    }
}

#[diagnostic::do_not_recommend]
impl<C, T> Decode<'_, Codec<C>> for T
where
    T: Item + Send + 'static,
    C: Decoder<Item = T> + Send + 'static,
{
    const IS_VALUE: bool = true;

    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        <Carry<T> as Decode<'_, Codec<C>>>::decode(frame).map(|Carry(item)| item)
    }
}

impl<'a, C: Decoder, T: Received<'a, Codec<C>>> Received<'a, Codec<C>> for Response<T> {
    type Value = T::Value;
}

impl<'a, C: Decoder, T: Received<'a, Codec<C>>, E> Received<'a, Codec<C>> for Result<T, E> {
    type Value = T::Value;
}
