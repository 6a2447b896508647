//! The wrapper that puts every part of a message under guard.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
    value::SeqDeserializer,
};

use super::{Guard, ReadError};

/// A part of serde's reading under guard: a deserializer or an access of the format, or a visitor or a
/// seed of the type.
///
/// Format and type hand such parts to each other. The wrapper wraps every part that passes through it, so that
/// it is between them on all levels. An error of the format becomes a [`ReadError`] on its way to the type.
pub(super) struct Guarded<'g, 'de, T> {
    inner: T,
    guard: &'g Guard<'de>,
    /// The number of levels that may follow.
    depth: u32,
    /// What the type asks for.
    asked: Asked,
    /// The index of the next element of a list or entry of a map.
    next: usize,
}

/// What a type asks its deserializer for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A list, a map, or whatever comes. The length is then a claim of the message, and not a part of the type.
    Open,
    /// An `f32`, for which a format may have a larger number.
    Float,
    /// A value of any other type.
    Other,
}

impl<'g, 'de, T> Guarded<'g, 'de, T> {
    #[inline]
    pub(super) const fn new(inner: T, guard: &'g Guard<'de>) -> Self {
        Self {
            inner,
            guard,
            depth: guard.max_depth,
            asked: Asked::Other,
            next: 0,
        }
    }

    /// Wraps another part, on the same level.
    #[inline]
    fn wrap<U>(&self, inner: U) -> Guarded<'g, 'de, U> {
        Guarded {
            depth: self.depth,
            ..Guarded::new(inner, self.guard)
        }
    }

    /// Lets the type visit `value`, which is one level deeper and has `count` elements.
    #[inline]
    fn visit_nested<U, R, E: Error>(
        self,
        count: Option<usize>,
        value: U,
        visit: impl FnOnce(T, Guarded<'g, 'de, U>) -> Result<R, ReadError<E>>,
    ) -> Result<R, E> {
        if self.asked == Asked::Open {
            self.guard.claim(count.unwrap_or_default())?;
        }
        let Some(depth) = self.depth.checked_sub(1) else {
            let most = self.guard.max_depth;
            let reason = format_args!("it nests deeper than {most} levels");
            return Err(self.guard.reject_with(reason));
        };
        let value = Guarded {
            depth,
            ..self.wrap(value)
        };
        visit(self.inner, value).map_err(|error| self.guard.trace.format_error(error))
    }

    /// Records that the error is in the next element.
    #[cold]
    fn in_element<E>(&self, error: E) -> ReadError<E> {
        self.guard.trace.add_element(self.depth, self.next);
        ReadError::Format(error)
    }
}

macro_rules! deserialize {
    ($asked:ident: $($method:ident($($name:ident: $type:ty),*)),+ $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = Guarded { asked: Asked::$asked, ..self.wrap(visitor) };
            Ok(self.inner.$method($($name,)* visitor)?)
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, 'de, D> {
    type Error = ReadError<D::Error>;

    deserialize! {
        Open: deserialize_any(), deserialize_seq(), deserialize_map(),
    }

    deserialize! {
        Float: deserialize_f32(),
    }

    deserialize! {
        Other: deserialize_bool(), deserialize_char(), deserialize_f64(),
        deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(),
        deserialize_str(), deserialize_string(), deserialize_bytes(), deserialize_byte_buf(),
        deserialize_option(), deserialize_unit(), deserialize_identifier(), deserialize_ignored_any(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($($name:ident: $type:ty)?)),+ $(,)?) => {$(
        #[inline]
        fn $method<E: Error>(self $(, $name: $type)?) -> Result<V::Value, E> {
            self.inner.$method($($name)?).map_err(|error| self.guard.trace.format_error(error))
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guarded<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
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
        let is_too_large = self.asked == Asked::Float && (value as f32).is_infinite();
        if is_too_large && value.is_finite() {
            let reason = format_args!("a number is too large for an `f32`");
            return Err(self.guard.reject_with(reason));
        }
        let visited = self.inner.visit_f64(value);
        visited.map_err(|error| self.guard.trace.format_error(error))
    }

    /// Visits bytes of the message, as a list of numbers if the type did not ask for bytes. Types with
    /// `#[serde(untagged)]` and the like keep what comes. They would read kept bytes as text, and not as a list.
    #[inline]
    fn visit_borrowed_bytes<E: Error>(self, value: &'de [u8]) -> Result<V::Value, E> {
        if self.asked == Asked::Open {
            return self.visit_seq(SeqDeserializer::new(value.iter().copied()));
        }
        let visited = self.inner.visit_borrowed_bytes(value);
        visited.map_err(|error| self.guard.trace.format_error(error))
    }

    /// Visits text that the format had to rewrite.
    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        match self.guard.scratch.copy_text(value) {
            Some(copy) => self.inner.visit_borrowed_str(copy),
            None => self.inner.visit_str(value),
        }
        .map_err(|error| self.guard.trace.format_error(error))
    }

    #[inline]
    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<V::Value, E> {
        match self.guard.scratch.copy(value) {
            Some(copy) => self.inner.visit_borrowed_bytes(copy),
            None => self.inner.visit_bytes(value),
        }
        .map_err(|error| self.guard.trace.format_error(error))
    }

    /// Visits a struct around one value. It is not a level, because no type nests by such structs alone.
    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let value = self.wrap(value);
        let visited = self.inner.visit_newtype_struct(value);
        visited.map_err(|error| self.guard.trace.format_error(error))
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visit_nested(None, value, V::visit_some)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, value: A) -> Result<V::Value, A::Error> {
        self.visit_nested(None, value, V::visit_enum)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.visit_nested(list.size_hint(), list, V::visit_seq)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visit_nested(map.size_hint(), map, V::visit_map)
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, 'de, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let deserializer = self.wrap(inner);
        let value = self.inner.deserialize(deserializer);
        value.map_err(|error| self.guard.trace.format_error(error))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guarded<'_, 'de, A> {
    type Error = ReadError<A::Error>;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let element = self.inner.next_element_seed(self.wrap(seed));
        let element = element.map_err(|error| self.in_element(error))?;
        self.next += 1;
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.guard.limit(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guarded<'_, 'de, A> {
    type Error = ReadError<A::Error>;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = self.inner.next_key_seed(self.wrap(seed));
        key.map_err(|error| self.in_element(error))
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let value = self.inner.next_value_seed(self.wrap(seed));
        let value = value.map_err(|error| self.in_element(error))?;
        self.next += 1;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.guard.limit(self.inner.size_hint())
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, 'de, A> {
    type Error = ReadError<A::Error>;
    type Variant = Guarded<'g, 'de, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Self::Error> {
        let (outer, seed) = (self.wrap(()), self.wrap(seed));
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, outer.wrap(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, 'de, A> {
    type Error = ReadError<A::Error>;

    #[inline]
    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(self.inner.unit_variant()?)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let seed = self.wrap(seed);
        Ok(self.inner.newtype_variant_seed(seed)?)
    }

    deserialize! {
        Other: tuple_variant(len: usize),
        struct_variant(fields: &'static [&'static str]),
    }
}
