//! The typed message, and a lean binary form of it that is written by hand.
//!
//! Little-endian numbers, and a `u32` count before the string and the list. The hand-written loop
//! and the library use the same code, so that the difference between them is the loop. It also has
//! the forms that serde's formats give it.

use serde::{Deserialize, Serialize};
use tcs::format::{Decode, DecodeError, Encode, EncodeError, Frame, Plain, Writer};

/// A number, a name and a list, all owned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// A number.
    pub id: u64,
    /// 16 characters in the works.
    pub name: String,
    /// 16 numbers in the works.
    pub values: Vec<u32>,
}

impl Typed {
    /// Returns the message that the works send.
    pub fn sample() -> Self {
        Self {
            id: 0x0123_4567_89ab_cdef,
            name: "sixteen letters!".to_owned(),
            values: (0..16).map(|number| number * 0x0101_0101).collect(),
        }
    }

    /// Returns the bytes of [`sample`](Self::sample) in a form: `typed`, `json` or `postcard`; or with
    /// the name of an operation, `operation-json` or `operation-postcard`, and `operation-small`
    /// or `operation-async` for a number alone.
    pub fn sample_as(form: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match form {
            "typed" => Self::sample().write(|part| bytes.extend_from_slice(part)),
            "json" => serde_json::to_writer(&mut bytes, &Self::sample()).ok()?,
            "postcard" => bytes = postcard::to_extend(&Self::sample(), bytes).ok()?,
            "operation-json" => {
                bytes.extend_from_slice(b"{\"echo\":");
                serde_json::to_writer(&mut bytes, &Self::sample()).ok()?;
                bytes.push(b'}');
            }
            "operation-postcard" => {
                bytes.push(2);
                bytes = postcard::to_extend(&Self::sample(), bytes).ok()?;
            }
            "operation-async" | "operation-small" => bytes.extend_from_slice(&[1, 100]),
            _ => return None,
        }
        Some(bytes)
    }

    /// Reads a message, of which nothing may be left over.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*count) as usize)?;
        let (count, rest) = rest.split_first_chunk()?;
        let (values, []) = rest.as_chunks() else {
            return None;
        };
        if values.len() != u32::from_le_bytes(*count) as usize {
            return None;
        }
        Some(Self {
            id: u64::from_le_bytes(*id),
            name: str::from_utf8(name).ok()?.to_owned(),
            values: values
                .iter()
                .map(|value| u32::from_le_bytes(*value))
                .collect(),
        })
    }

    /// Hands the parts of the message to `put`, in order.
    ///
    /// # Panics
    ///
    /// When the name or the list has more than `u32::MAX` elements.
    #[inline]
    pub fn write(&self, mut put: impl FnMut(&[u8])) {
        let count = |length: usize| u32::try_from(length).expect("a short one").to_le_bytes();
        put(&self.id.to_le_bytes());
        put(&count(self.name.len()));
        put(self.name.as_bytes());
        put(&count(self.values.len()));
        for value in &self.values {
            put(&value.to_le_bytes());
        }
    }
}

impl Encode<Plain> for Typed {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.write(|bytes| out.put(bytes));
        Ok(())
    }
}

impl Decode<'_, Plain> for Typed {
    #[inline]
    fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
        Self::read(frame.bytes()).ok_or_else(|| DecodeError::new("not the typed message"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_forms_are_what_the_servers_answer() {
        let json = Typed::sample_as("json").expect("a form");
        assert_eq!(json.len(), 208);
        let postcard = Typed::sample_as("postcard").expect("a form");
        assert_eq!(postcard.len(), 88);
        assert_eq!(Typed::sample_as("letters"), None);
    }

    #[test]
    fn message_is_read_as_it_was_written_and_no_other_way() {
        let mut bytes = Vec::new();
        Typed::sample().write(|part| bytes.extend_from_slice(part));
        assert_eq!(bytes.len(), 96);
        assert_eq!(Typed::read(&bytes), Some(Typed::sample()));
        for length in 0..bytes.len() {
            assert_eq!(Typed::read(&bytes[..length]), None);
        }
        bytes.push(0);
        assert_eq!(Typed::read(&bytes), None);
    }
}
