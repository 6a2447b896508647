//! The serializer of Postcard.

use std::fmt::{self, Write as _};

use postcard::{Error, Serializer, ser_flavors::Flavor};
use serde::{
    Serialize,
    de::value::Error as TextError,
    ser::{self, Error as _},
};

use crate::format::writer::BoundedText;

/// The serializer of `postcard`, with an error for each field that is left out.
///
/// `postcard` itself writes a struct without the fields that `#[serde(skip_serializing_if = …)]`
/// leaves out, and nobody can read that. It also drops the text of an error. serde reports a field
/// only to the serializer of its struct, so this wraps the serializer of every value with parts.
/// `postcard` writes what takes bytes: single values, and the beginnings of lists, maps, options
/// and enums.
pub(super) struct CheckedSerializer<F: Flavor> {
    pub(super) inner: Serializer<F>,
    /// How many bytes a text that is displayed may have. More do not fit the message.
    pub(super) max_text: usize,
}

/// Converts an error of `postcard` to one of serde's own, which keep their texts.
#[cold]
fn text_error(error: Error) -> TextError {
    match error {
        Error::SerializeSeqLengthUnknown => {
            TextError::custom("a list or map does not know its length")
        }
        error => TextError::custom(error),
    }
}

/// Methods that write a value, or the beginning of one.
macro_rules! write_value {
    ($($method:ident($($name:ident: $type:ty),*)),+ $(,)?) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<(), TextError> {
            self.inner.$method($($name),*).map_err(text_error)
        }
    )+};
}

/// Methods that begin a value with parts, each with the method that writes what precedes the parts.
macro_rules! begin {
    ($($method:ident($($name:ident: $type:ty),*) $(=> $first:ident($($argument:ident),*))?),+ $(,)?) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self, TextError> {
            $(self.inner.$first($($argument),*).map_err(text_error)?;)?
            Ok(self)
        }
    )+};
}

impl<F: Flavor> ser::Serializer for &mut CheckedSerializer<F> {
    type Ok = ();
    type Error = TextError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write_value! {
        serialize_bool(value: bool), serialize_char(value: char),
        serialize_i8(value: i8), serialize_i16(value: i16), serialize_i32(value: i32),
        serialize_i64(value: i64), serialize_i128(value: i128),
        serialize_u8(value: u8), serialize_u16(value: u16), serialize_u32(value: u32),
        serialize_u64(value: u64), serialize_u128(value: u128),
        serialize_f32(value: f32), serialize_f64(value: f64),
        serialize_str(value: &str), serialize_bytes(value: &[u8]),
        serialize_none(), serialize_unit(), serialize_unit_struct(name: &'static str),
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str),
    }

    begin! {
        serialize_seq(length: Option<usize>) => serialize_seq(length),
        serialize_map(length: Option<usize>) => serialize_map(length),
        serialize_tuple(_length: usize),
        serialize_tuple_struct(_name: &'static str, _length: usize),
        serialize_struct(_name: &'static str, _length: usize),
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, _length: usize)
            => serialize_unit_variant(name, index, variant),
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, _length: usize)
            => serialize_unit_variant(name, index, variant),
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TextError> {
        // As `postcard` writes it. Its own method would serialize the value with a serializer that does not check.
        self.inner.serialize_u8(1).map_err(text_error)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), TextError> {
        value.serialize(self.serialize_tuple_variant(name, index, variant, 1)?)
    }

    /// Writes a value as the text that it displays.
    ///
    /// `postcard` would format the value twice, first to count its bytes. If the value displayed
    /// something else the second time, the message could not be read.
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), TextError> {
        let mut buffer = Vec::new();
        let mut text = BoundedText {
            buffer: &mut buffer,
            room: self.max_text.saturating_add(1),
        };
        write!(text, "{value}")
            .map_err(|_| TextError::custom("its `Display` returned an error"))?;
        if text.room == 0 && buffer.len() <= self.max_text {
            return Err(TextError::custom("there is no memory for its text"));
        }
        // A text is written as its bytes are.
        self.serialize_bytes(&buffer)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Traits whose methods write a part of a value, or report a field that is left out.
macro_rules! write_parts {
    ($($trait:ident { $($method:ident($($name:ident)?)),+ }$(, $skip_field:ident)?;)+) => {$(
        impl<F: Flavor> ser::$trait for &mut CheckedSerializer<F> {
            type Ok = ();
            type Error = TextError;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), TextError> {
                value.serialize(&mut **self)
            })+

            // serde's derive calls this for `skip_serializing_if` on a named field alone. A field with
            // `skip_serializing` is left out of the struct's length as well, and one without a name is not
            // reported.
            $(fn $skip_field(&mut self, name: &'static str) -> Result<(), TextError> {
                Err(TextError::custom(format_args!("it leaves out the field `{name}`")))
            })?

            #[inline]
            fn end(self) -> Result<(), TextError> {
                Ok(())
            }
        }
    )+};
}

write_parts! {
    SerializeSeq { serialize_element() };
    SerializeTuple { serialize_element() };
    SerializeTupleStruct { serialize_field() };
    SerializeTupleVariant { serialize_field() };
    SerializeMap { serialize_key(), serialize_value() };
    SerializeStruct { serialize_field(_name) }, skip_field;
    SerializeStructVariant { serialize_field(_name) }, skip_field;
}
