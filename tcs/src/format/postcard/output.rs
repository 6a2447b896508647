//! Writes values.

use std::fmt::{self, Write as _};

use serde::{
    Serialize,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant, Serializer,
    },
};

use super::{
    super::collected::Collected,
    Failure,
    varint::{TOP, spread, spread_long},
};

/// Where values are written.
#[derive(Debug)]
pub(super) struct Output<'w, 'a>(pub(super) Collected<'w, 'a>);

impl Output<'_, '_> {
    /// Writes an integer of 7 bits in each byte.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest bits are what is wanted"
    )]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs a third of a list of integers"
    )]
    #[inline(always)]
    fn varint(&mut self, value: u64) {
        if value < 1 << 7 {
            self.0.first([value as u8], 1);
        } else if value < 1 << 28 {
            let word = spread(value as u32);
            if value >= 1 << 21 {
                self.0.first((word + 0x0080_8080).to_le_bytes(), 4);
            } else if value >= 1 << 14 {
                self.0.first((word + 0x8080).to_le_bytes(), 3);
            } else {
                self.0.first((word + 0x80).to_le_bytes(), 2);
            }
        } else if value < 1 << 35 {
            let word = u64::from(spread(value as u32 & 0x0fff_ffff)) + 0x8080_8080;
            self.0.first((word + (value >> 28 << 32)).to_le_bytes(), 5);
        } else if value < 1 << 56 {
            let count = value.ilog2() as usize / 7 + 1;
            let word = spread_long(value) + (TOP >> (72 - 8 * count));
            self.0.first(word.to_le_bytes(), count);
        } else {
            let word = spread_long(value & (u64::MAX >> 8)) + TOP;
            self.0.first(word.to_le_bytes(), 8);
            // The last 8 bits need a second byte if the top one is set.
            let last = (value >> 56) as u8;
            self.0.first([last, 1], 1 + usize::from(last >> 7));
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest bits are what is wanted"
    )]
    fn varint_of_128(&mut self, mut value: u128) {
        while value >= 1 << 7 {
            self.0.first([value as u8 | 0x80], 1);
            value >>= 7;
        }
        self.0.first([value as u8], 1);
    }

    #[inline]
    fn count(&mut self, count: Option<usize>) -> Result<(), Failure> {
        let Some(count) = count else {
            return Err(Failure::new("a list or map does not know its length"));
        };
        self.varint(count as u64);
        Ok(())
    }
}

/// The signs of integers go into their lowest bits, so that those near zero are short.
macro_rules! integers {
    ($($method:ident, $signed_method:ident, $type:ty, $signed:ty, $bits:literal;)+) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), Failure> {
            self.varint(value.into());
            Ok(())
        }

        #[inline]
        fn $signed_method(self, value: $signed) -> Result<(), Failure> {
            self.varint(((value << 1) ^ (value >> ($bits - 1))).cast_unsigned().into());
            Ok(())
        }
    )+};
}

impl Serializer for &mut Output<'_, '_> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    integers! {
        serialize_u16, serialize_i16, u16, i16, 16;
        serialize_u32, serialize_i32, u32, i32, 32;
        serialize_u64, serialize_i64, u64, i64, 64;
    }

    fn serialize_u128(self, value: u128) -> Result<(), Failure> {
        self.varint_of_128(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Failure> {
        self.varint_of_128(((value << 1) ^ (value >> 127)).cast_unsigned());
        Ok(())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), Failure> {
        self.0.first([value], 1);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), Failure> {
        self.serialize_u8(value.cast_unsigned())
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Failure> {
        self.serialize_u8(value.into())
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Failure> {
        self.0.first(value.to_le_bytes(), size_of_val(&value));
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Failure> {
        self.0.first(value.to_le_bytes(), size_of_val(&value));
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Failure> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Failure> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Failure> {
        self.varint(value.len() as u64);
        self.0.all(value);
        Ok(())
    }

    /// Text has its length before it, so it is made twice.
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Failure> {
        let mut length = Length(0);
        write!(length, "{value}").map_err(|_| failing())?;
        self.varint(length.0 as u64);
        let mut text = Limited {
            out: self,
            left: length.0,
        };
        write!(text, "{value}").map_err(|_| failing())?;
        if text.left == 0 {
            Ok(())
        } else {
            Err(failing())
        }
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Failure> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        self.0.first([1], 1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        number: u32,
        _variant: &'static str,
    ) -> Result<(), Failure> {
        self.serialize_u32(number)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        number: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.varint(number.into());
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, count: Option<usize>) -> Result<Self, Failure> {
        self.count(count)?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, count: Option<usize>) -> Result<Self, Failure> {
        self.count(count)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _count: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _count: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _count: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        number: u32,
        _variant: &'static str,
        _count: usize,
    ) -> Result<Self, Failure> {
        self.varint(number.into());
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        number: u32,
        _variant: &'static str,
        _count: usize,
    ) -> Result<Self, Failure> {
        self.varint(number.into());
        Ok(self)
    }
}

/// Nothing stands between the elements of anything.
macro_rules! elements {
    ($($trait:ident: $method:ident($($key:ty)?);)+) => {$(
        impl $trait for &mut Output<'_, '_> {
            type Ok = ();
            type Error = Failure;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), Failure> {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<(), Failure> {
                Ok(())
            }
        }
    )+};
}

elements! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

impl SerializeMap for &mut Output<'_, '_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        key.serialize(&mut **self)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cold]
fn failing() -> Failure {
    Failure::new("its `Display` returned an error, or two texts for one value")
}

/// Counts text.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Writes as much text as was promised.
struct Limited<'o, 'w, 'a> {
    out: &'o mut Output<'w, 'a>,
    left: usize,
}

impl fmt::Write for Limited<'_, '_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        self.out.0.all(text.as_bytes());
        Ok(())
    }
}
