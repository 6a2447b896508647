//! Values under guard.

use std::fmt;

use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::{Failure, Guarded, elements::Elements};

macro_rules! deserialize {
    ($is_counted:literal: $($method:ident($($name:ident: $type:ty),*);)+) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = Guarded { is_counted: $is_counted, ..self.with(visitor) };
            self.inner.$method($($name,)* visitor).map_err(Failure::Format)
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, 'de, D> {
    type Error = Failure<D::Error>;

    deserialize! { true:
        deserialize_any();
        deserialize_ignored_any();
        deserialize_seq();
        deserialize_map();
    }

    deserialize! { false:
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($($name:ident: $type:ty)?);)+) => {$(
        #[inline]
        fn $method<E: Error>(self $(, $name: $type)?) -> Result<V::Value, E> {
            let guard = self.guard;
            self.inner.$method($($name)?).map_err(|failure| guard.lower(failure))
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guarded<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(value: bool);
        visit_i8(value: i8);
        visit_i16(value: i16);
        visit_i32(value: i32);
        visit_i64(value: i64);
        visit_i128(value: i128);
        visit_u8(value: u8);
        visit_u16(value: u16);
        visit_u32(value: u32);
        visit_u64(value: u64);
        visit_u128(value: u128);
        visit_f32(value: f32);
        visit_f64(value: f64);
        visit_char(value: char);
        visit_borrowed_str(value: &'de str);
        visit_string(value: String);
        visit_borrowed_bytes(value: &'de [u8]);
        visit_byte_buf(value: Vec<u8>);
        visit_none();
        visit_unit();
    }

    /// Takes text that the format had to rewrite.
    #[inline]
    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        let guard = self.guard;
        match guard.scratch.keep(value) {
            Some(kept) => self.inner.visit_borrowed_str(kept),
            None => self.inner.visit_str(value),
        }
        .map_err(|failure| guard.lower(failure))
    }

    #[inline]
    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<V::Value, E> {
        let guard = self.guard;
        match guard.scratch.keep_bytes(value) {
            Some(kept) => self.inner.visit_borrowed_bytes(kept),
            None => self.inner.visit_bytes(value),
        }
        .map_err(|failure| guard.lower(failure))
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let guard = self.guard;
        let (visitor, value) = self.enter(value)?;
        visitor
            .visit_some(value)
            .map_err(|failure| guard.lower(failure))
    }

    /// A struct around one value adds no level, because no value nests by such structs alone.
    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        let guard = self.guard;
        let value = self.with(value);
        self.inner
            .visit_newtype_struct(value)
            .map_err(|failure| guard.lower(failure))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let guard = self.guard;
        self.check(elements.size_hint())?;
        let (visitor, elements) = self.enter(elements)?;
        visitor
            .visit_seq(Elements::new(elements))
            .map_err(|failure| guard.lower(failure))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let guard = self.guard;
        self.check(entries.size_hint())?;
        let (visitor, entries) = self.enter(entries)?;
        visitor
            .visit_map(Elements::new(entries))
            .map_err(|failure| guard.lower(failure))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, value: A) -> Result<V::Value, A::Error> {
        let guard = self.guard;
        let (visitor, value) = self.enter(value)?;
        visitor
            .visit_enum(value)
            .map_err(|failure| guard.lower(failure))
    }
}
