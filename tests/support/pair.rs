//! A message type of a user's own.

use tcs::format::{Decode, DecodeError, Encode, EncodeError, Frame, Plain, Writer};

/// Two words with a space between them.
#[derive(Clone, Debug)]
pub struct Pair<'a>(pub &'a str, pub &'a str);

impl<'a> Decode<'a, Plain> for Pair<'a> {
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let (a, b) = frame
            .text()?
            .split_once(' ')
            .ok_or_else(|| DecodeError::new("no pair"))?;
        Ok(Self(a, b))
    }
}

impl Encode<Plain> for Pair<'_> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Encode::<Plain>::encode(format_args!("{} {}", self.0, self.1), out)
    }
}
