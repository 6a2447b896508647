//! What is wrong with the options of a protocol, as far as only the compiler can tell.

use std::marker::PhantomData;

use crate::{
    format::Decode,
    framing::Framing,
    protocol::{ClientProtocol, ServerProtocol},
};

/// Returns what is wrong with the framing of a server protocol, or with its use.
pub const fn server_mistake<P: ServerProtocol>(is_one_type: bool) -> Option<&'static str> {
    if P::ENDS_AT_HALF_CLOSE && P::Framing::EXCHANGES.end_at_half_close() {
        return Some("`half_close = ends` would end every request of this framing");
    }
    let is_value = <P::Request<'static> as Decode<'static, P::Format>>::IS_VALUE;
    mistake::<P::Framing>(is_value, is_one_type)
}

/// Returns what is wrong with the framing of a client protocol.
pub const fn client_mistake<P: ClientProtocol>(is_one_type: bool) -> Option<&'static str> {
    let is_value = <P::Reply<'static> as Decode<'static, P::Format>>::IS_VALUE;
    mistake::<P::Framing>(is_value, is_one_type)
}

/// Returns what is wrong with a framing. `is_value` is whether the format reads values of a `Codec`,
/// and `is_one_type` whether the framing is the format.
const fn mistake<F: Framing>(is_value: bool, is_one_type: bool) -> Option<&'static str> {
    if is_value != F::HAS_VALUES || F::HAS_VALUES && !is_one_type {
        return Some("a `Codec` is framing and format at once: write it in both options");
    }
    F::PARAMETER_ERROR
}

/// Returns what is wrong with the option `reject_with` of a protocol.
pub const fn reject_with_mistake<P: ServerProtocol>() -> Option<&'static str> {
    if P::Framing::HAS_REJECTION_FRAME {
        return Some("this framing tells rejections by itself: remove `reject_with`");
    }
    None
}

/// Two types, to ask whether they are one.
///
/// Where the type has a constant of its own, the compiler prefers it to that of [`OtherPair`].
#[derive(Debug)]
pub struct Pair<A, B>(PhantomData<(A, B)>);

impl<T> Pair<T, T> {
    pub const IS_ONE_TYPE: bool = true;
}

/// A [`Pair`] of different types.
pub trait OtherPair {
    const IS_ONE_TYPE: bool = false;
}

impl<A, B> OtherPair for Pair<A, B> {}
