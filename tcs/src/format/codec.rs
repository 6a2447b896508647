//! The format of codecs, whose messages are values. The codec of the framing encodes them.

use std::{cell::Cell, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer};
use crate::{Response, framing::Codec};

/// A type whose values are messages of a [`Codec`].
///
/// This trait has no methods, because the codec does the work. Text, bytes and numbers are items, and so are tuples,
/// lists and options of any type. A type of your own becomes one like this:
///
/// ```
/// enum Command {
///     Get(String),
///     Set(String, String),
/// }
///
/// impl tcs::format::CodecItem for Command {}
/// ```
///
/// Rust does not allow this for a type of another crate. Use [`External`] for it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known as an item of a codec",
    label = "no `CodecItem`",
    note = "for a type of your own write `impl tcs::format::CodecItem for Type {{}}`, for others use `tcs::format::External<Type>`"
)]
pub trait CodecItem {}

/// A message of a [`Codec`] whose type is defined in another crate.
///
/// # Examples
///
/// ```
/// use tcs::{format::External, framing::Codec, server_protocol};
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
/// fn echo(External(frame): External<Frame>) -> External<Frame> {
///     External(frame)
/// }
/// # drop(tcs::ConcurrentServer::new(Echo));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is a wrapper and stays one")]
pub struct External<T>(pub T);

/// Implements `CodecItem` for types without parameters.
macro_rules! items {
    ($($type:ty),+ $(,)?) => {$(impl CodecItem for $type {})+};
}

items! {
    (), bool, char, str, String, Box<str>, Bytes, BytesMut, f32, f64,
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize,
}

impl<T> CodecItem for [T] {}
impl<T> CodecItem for Vec<T> {}
impl<T> CodecItem for Option<T> {}
impl<T> CodecItem for Box<T> {}
impl<T> CodecItem for Arc<T> {}
impl<T, const N: usize> CodecItem for [T; N] {}
impl<A, B> CodecItem for (A, B) {}
impl<A, B, C> CodecItem for (A, B, C) {}
impl<T: CodecItem + ?Sized> CodecItem for &T {}

/// The error of a protocol without attribute that has one codec as its framing and another one as
/// its format.
const MISMATCH: &str = "the format is another codec than the framing";

thread_local! {
    /// The buffer to which codecs write. Codecs need a `BytesMut`, and the send buffer is a `Vec<u8>`.
    static SCRATCH: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A larger scratch buffer is freed after use.
const MAX_KEPT: usize = 64 * 1024;

impl<C, T> Encode<Codec<C>> for External<T>
where
    C: Decoder<Item: Send> + Encoder<T, Error: fmt::Display> + Send + 'static,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let Some(codec) = out.encoder::<C>() else {
            return Err(EncodeError::new(MISMATCH));
        };
        // The buffer is taken and not borrowed, because a codec may itself encode an item of another codec on this
        // thread.
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
    T: CodecItem,
    C: Decoder<Item: Send> + Encoder<T, Error: fmt::Display> + Send + 'static,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Encode::<Codec<C>>::encode(External(self), out)
    }
}

impl<C: Decoder, T: Encode<Codec<C>>, E: fmt::Display> Encode<Codec<C>> for Result<T, E> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put_result(self)
    }
}

impl<C, T> Decode<'_, Codec<C>> for External<T>
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
    T: CodecItem + Send + 'static,
    C: Decoder<Item = T> + Send + 'static,
{
    const IS_VALUE: bool = true;

    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        <External<T> as Decode<'_, Codec<C>>>::decode(frame).map(|External(item)| item)
    }
}

impl<'a, C: Decoder, T: ReplyValue<'a, Codec<C>>, U> ReplyValue<'a, Codec<C>> for Response<T, U> {
    type Value = T::Value;
}

impl<'a, C: Decoder, T: ReplyValue<'a, Codec<C>>, E> ReplyValue<'a, Codec<C>> for Result<T, E> {
    type Value = T::Value;
}
