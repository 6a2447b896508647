//! Reads values.

use serde::de::{Deserializer, Visitor};

use super::{
    Failure,
    elements::Elements,
    varint::{self, ends, joined},
};

/// How many lists, maps, structs, enums and options a message may have inside one another: as many
/// as `serde_json` allows.
pub(super) const DEPTH: u32 = 128;

/// What is still to be read of a message.
#[derive(Debug)]
pub(super) struct Input<'de> {
    rest: &'de [u8],
    /// How many elements all lists together may still claim: no more than the message has bytes.
    claims: usize,
    /// How many levels may follow.
    depth: u32,
}

impl<'de> Input<'de> {
    #[inline]
    pub(super) const fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            claims: bytes.len(),
            depth: DEPTH,
        }
    }

    #[inline]
    pub(super) const fn rest(&self) -> &'de [u8] {
        self.rest
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Failure> {
        let (first, rest) = self.rest.split_first().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ends)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'de [u8], Failure> {
        let count = self.varint(u64::MAX)?;
        if let Ok(count) = usize::try_from(count)
            && let Some((taken, rest)) = self.rest.split_at_checked(count)
        {
            self.rest = rest;
            Ok(taken)
        } else {
            Err(ends())
        }
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, Failure> {
        str::from_utf8(self.bytes()?).map_err(|_| no_text())
    }

    /// Reads an integer of 7 bits in each byte. `most` is the greatest of its type.
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs a third of a list of integers"
    )]
    #[inline(always)]
    pub(super) fn varint(&mut self, most: u64) -> Result<u64, Failure> {
        let bytes = self.rest;
        // Four bytes are looked at together.
        if let Some(window) = bytes.first_chunk() {
            let word = u32::from_le_bytes(*window);
            if word & 0x80 == 0 {
                self.rest = bytes.get(1..).unwrap_or_default();
                return Ok((word & 0x7f).into());
            }
            if word & 0x8000 == 0 {
                self.rest = bytes.get(2..).unwrap_or_default();
                return Ok(joined(word & 0x7f7f));
            }
            // This clears the top bits of three bytes; where one was not set, it is now.
            let four = word.wrapping_sub(0x0080_8080);
            if four & 0x8080_0000 == 0 && most > u16::MAX.into() {
                self.rest = bytes.get(4..).unwrap_or_default();
                return Ok(joined(four));
            }
            let three = joined(word & 0x007f_7f7f);
            if word & 0x0080_0000 == 0 && three <= most {
                self.rest = bytes.get(3..).unwrap_or_default();
                return Ok(three);
            }
        } else if let [a @ ..0x80, rest @ ..] = bytes {
            self.rest = rest;
            return Ok((*a).into());
        }
        let (value, length) = varint::long(bytes, most);
        if length > 0
            && let Some(rest) = bytes.get(length..)
        {
            self.rest = rest;
            return Ok(value);
        }
        let (failure, left) = varint::wrong(bytes, most);
        self.rest = bytes.get(bytes.len() - left..).unwrap_or_default();
        Err(failure)
    }

    fn varint_of_128(&mut self) -> Result<u128, Failure> {
        let mut rest = self.rest;
        let value = varint::by_bytes_of_128(&mut rest, u128::MAX);
        // Where it is wrong, the place is told by what is left.
        self.rest = rest;
        value
    }

    /// Reads how many elements follow, of which each has a byte at least.
    #[inline]
    fn count(&mut self) -> Result<usize, Failure> {
        let count = self.varint(u64::MAX)?;
        match usize::try_from(count) {
            Ok(count) if count <= self.claims.min(self.rest.len()) => {
                self.claims -= count;
                Ok(count)
            }
            _ => Err(Failure::claim(count)),
        }
    }

    /// Reads something that may hold others like itself.
    #[inline]
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(Failure::new("it nests deeper than 128 levels"));
        };
        self.depth = depth;
        let value = read(self)?;
        self.depth += 1;
        Ok(value)
    }
}

#[cold]
fn no_text() -> Failure {
    Failure::new("a text is not UTF-8")
}

/// The signs of integers are in their lowest bits, so that those near zero are short.
macro_rules! integers {
    ($($method:ident, $signed_method:ident, $visit:ident, $visit_signed:ident, $type:ty, $signed:ty;)+) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            #[allow(clippy::cast_possible_truncation, reason = "it is the most of the type at most")]
            visitor.$visit(self.varint(<$type>::MAX.into())? as $type)
        }

        #[inline]
        fn $signed_method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            #[allow(clippy::cast_possible_truncation, reason = "it is the most of the type at most")]
            let value = self.varint(<$type>::MAX.into())? as $type;
            visitor.$visit_signed((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
        }
    )+};
}

macro_rules! untold {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Failure> {
            Err(Failure::new("the type asks what comes, which Postcard does not say"))
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Input<'de> {
    type Error = Failure;

    untold!(deserialize_any deserialize_identifier deserialize_ignored_any);

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Failure::new("a `bool` is neither 0 nor 1")),
        }
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u8(self.byte()?)
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i8(self.byte()?.cast_signed())
    }

    integers! {
        deserialize_u16, deserialize_i16, visit_u16, visit_i16, u16, i16;
        deserialize_u32, deserialize_i32, visit_u32, visit_i32, u32, i32;
        deserialize_u64, deserialize_i64, visit_u64, visit_i64, u64, i64;
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u128(self.varint_of_128()?)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let value = self.varint_of_128()?;
        visitor.visit_i128((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let mut chars = self.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => visitor.visit_char(char),
            _ => Err(Failure::new("a `char` is not one character")),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        // It is copied before it is checked, because what is allocated is aligned, and then checked in
        // words and not in bytes.
        let text = String::from_utf8(self.bytes()?.to_vec()).map_err(|_| no_text())?;
        visitor.visit_string(text)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.nested(|input| visitor.visit_some(input)),
            _ => Err(Failure::new("an option is neither 0 nor 1")),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let left = self.count()?;
        self.nested(|input| visitor.visit_seq(Elements { input, left }))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.nested(|input| visitor.visit_seq(Elements { input, left }))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(left, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let left = self.count()?;
        self.nested(|input| visitor.visit_map(Elements { input, left }))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.nested(|input| visitor.visit_enum(input))
    }
}
