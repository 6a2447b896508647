//! Encoding and decoding, as the tests of all formats do it.
#![allow(dead_code, reason = "a format alone uses some of it")]

use std::fmt::Debug;

use super::{Decode, Encode, Frame, Writer, WriterState};

/// Encodes a message of at most `limit` bytes. Fails if bytes that precede it change.
pub(super) fn encode_within<F, T: Encode<F>>(message: T, limit: usize) -> (Vec<u8>, WriterState) {
    let mut buffer = b"before".to_vec();
    let mut writer = Writer::new(&mut buffer, limit);
    message.encode(&mut writer).expect("encodes");
    let outcome = writer.into_state();
    assert!(buffer.starts_with(b"before"));
    (buffer.split_off(6), outcome)
}

pub(super) fn encode<F, T: Encode<F>>(message: T) -> Vec<u8> {
    let (bytes, outcome) = encode_within(message, usize::MAX);
    assert_eq!(outcome, WriterState::Message);
    bytes
}

pub(super) fn encode_err<F, T: Encode<F>>(message: T) -> String {
    let mut buffer = Vec::new();
    let result = message.encode(&mut Writer::new(&mut buffer, usize::MAX));
    result.expect_err("cannot be encoded").to_string()
}

pub(super) fn decode<'a, F, T: Decode<'a, F>>(bytes: &'a [u8]) -> Result<T, String> {
    T::decode(Frame::new(bytes)).map_err(|error| error.to_string())
}

#[track_caller]
pub(super) fn decode_err<'a, F, T: Decode<'a, F> + Debug>(bytes: &'a [u8]) -> String {
    decode::<F, T>(bytes).expect_err("cannot be decoded")
}

/// Fails unless a message that is cut short anywhere, or has a byte too many, is rejected.
#[track_caller]
pub(super) fn assert_consumes_all<F, T: for<'a> Decode<'a, F> + Debug>(message: &[u8], more: u8) {
    for length in 0..message.len() {
        decode_err::<F, T>(message.get(..length).unwrap_or_default());
    }
    decode_err::<F, T>(&[message, &[more]].concat());
}

/// Fails unless the text of `part` is borrowed from `whole`.
#[track_caller]
pub(super) fn assert_borrowed(part: &str, whole: &[u8]) {
    assert!(
        whole.as_ptr_range().contains(&part.as_ptr()),
        "{part:?} is a copy"
    );
}
