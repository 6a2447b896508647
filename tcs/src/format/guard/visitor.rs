//! The wrapper of visitors.

use std::fmt;

use serde::de::{
    Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor, value::SeqDeserializer,
};

use super::{Guard, elements::GuardedElements, guarded::Guarded};

/// A visitor of the type, which the format calls with the values that it has read.
pub(super) struct GuardedVisitor<'g, 'de, V> {
    pub(super) visitor: V,
    pub(super) guard: &'g Guard<'de>,
    pub(super) hint: Hint,
}

/// The kind of value that the type expects. serde calls the methods of deserializers *hints*.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Any value. The message says what it is.
    Any,
    /// A list or a map. The message says how long it is.
    Collection,
    /// Bytes.
    Bytes,
    /// An `f32`, for which a format may have a larger number.
    F32,
    /// A value of any other type.
    Other,
}

impl<'g, 'de, V> GuardedVisitor<'g, 'de, V> {
    /// Wraps a list or map. Counts its elements, unless the type says how many there are.
    #[inline]
    fn elements<A, E: Error>(
        &self,
        access: A,
        count: Option<usize>,
    ) -> Result<GuardedElements<'g, 'de, A>, E> {
        if matches!(self.hint, Hint::Any | Hint::Collection) {
            self.guard.claim(count.unwrap_or_default())?;
        }
        Ok(GuardedElements {
            access,
            guard: self.guard,
            index: 0,
        })
    }
}

/// Methods that visit a value without parts.
macro_rules! visit {
    ($($method:ident($($name:ident: $type:ty)?)),+ $(,)?) => {$(
        #[inline]
        fn $method<E: Error>(self $(, $name: $type)?) -> Result<V::Value, E> {
            self.guard.to_format(self.visitor.$method($($name)?))
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for GuardedVisitor<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool(value: bool), visit_char(value: char), visit_f32(value: f32),
        visit_i8(value: i8), visit_i16(value: i16), visit_i32(value: i32), visit_i64(value: i64),
        visit_u8(value: u8), visit_u16(value: u16), visit_u32(value: u32), visit_u64(value: u64),
        visit_i128(value: i128), visit_u128(value: u128),
        visit_borrowed_str(value: &'de str), visit_string(value: String),
        visit_byte_buf(value: Vec<u8>), visit_none(), visit_unit(),
    }

    /// Visits a float. serde would round one that is too large for an `f32` to infinity.
    #[inline]
    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        #[expect(clippy::cast_possible_truncation, reason = "it is what serde does")]
        let is_too_large = self.hint == Hint::F32 && (value as f32).is_infinite();
        if is_too_large && value.is_finite() {
            return Err(self
                .guard
                .reject(format_args!("a number is too large for an `f32`")));
        }
        self.guard.to_format(self.visitor.visit_f64(value))
    }

    /// Visits bytes of the message, as a list of numbers if the type takes any value. Types with
    /// `#[serde(untagged)]` and the like keep what comes. Such types would later read kept bytes as text, and not as a
    /// list.
    ///
    /// For a collection, `rmp-serde` visits bytes only if they are text that is not UTF-8. As a list,
    /// they would be read where other text is an error.
    #[inline]
    fn visit_borrowed_bytes<E: Error>(self, value: &'de [u8]) -> Result<V::Value, E> {
        if self.hint == Hint::Any {
            return self.visit_seq(SeqDeserializer::new(value.iter().copied()));
        }
        self.guard
            .to_format(self.visitor.visit_borrowed_bytes(value))
    }

    /// Visits text that the format had to rewrite.
    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.guard
            .to_format(match self.guard.scratch.copy_text(value) {
                Some(copy) => self.visitor.visit_borrowed_str(copy),
                None => self.visitor.visit_str(value),
            })
    }

    // `serde_json` calls this method for text with escapes, if the type asked for bytes.
    #[inline]
    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<V::Value, E> {
        self.guard.to_format(match self.guard.scratch.copy(value) {
            Some(copy) => self.visitor.visit_borrowed_bytes(copy),
            None => self.visitor.visit_bytes(value),
        })
    }

    /// Visits a struct around one value. It is not a level, because no type nests by such structs
    /// alone.
    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let value = Guarded::new(value, self.guard);
        self.guard
            .to_format(self.visitor.visit_newtype_struct(value))
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let value = Guarded::new(value, self.guard);
        // An option is a level, because options can nest without taking bytes.
        self.guard.nested(|| self.visitor.visit_some(value))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, value: A) -> Result<V::Value, A::Error> {
        let value = Guarded::new(value, self.guard);
        self.guard.nested(|| self.visitor.visit_enum(value))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let count = list.size_hint();
        // `rmp-serde` detects bytes by their first element, so it writes empty ones as an empty list.
        if self.hint == Hint::Bytes && count == Some(0) {
            return self.visit_borrowed_bytes(&[]);
        }
        let list = self.elements(list, count)?;
        self.guard.nested(|| self.visitor.visit_seq(list))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let count = map.size_hint();
        let map = self.elements(map, count)?;
        self.guard.nested(|| self.visitor.visit_map(map))
    }
}
