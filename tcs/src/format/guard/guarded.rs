//! The wrapper of types that need no state of their own.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};

use super::{
    Guard, GuardError,
    visitor::{GuardedVisitor, Hint},
};

/// A deserializer of the format, its access to an enum or a variant, or a seed of the type.
pub(super) struct Guarded<'g, 'de, T> {
    inner: T,
    guard: &'g Guard<'de>,
}

impl<'g, 'de, T> Guarded<'g, 'de, T> {
    #[inline]
    pub(super) const fn new(inner: T, guard: &'g Guard<'de>) -> Self {
        Self { inner, guard }
    }
}

/// Methods that read a value with a visitor, each with its hint.
macro_rules! deserialize {
    ($hint:ident: $($method:ident($($name:ident: $type:ty),*)),+ $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let visitor = GuardedVisitor { visitor, guard: self.guard, hint: Hint::$hint };
            Ok(self.inner.$method($($name,)* visitor)?)
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, 'de, D> {
    type Error = GuardError<D::Error>;

    deserialize! { Any: deserialize_any() }

    deserialize! { Collection: deserialize_seq(), deserialize_map() }

    deserialize! { Bytes: deserialize_bytes(), deserialize_byte_buf() }

    deserialize! { F32: deserialize_f32() }

    deserialize! {
        Other: deserialize_bool(), deserialize_char(), deserialize_f64(),
        deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(),
        deserialize_str(), deserialize_string(),
        deserialize_option(), deserialize_unit(), deserialize_identifier(), deserialize_ignored_any(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    // Types such as `IpAddr` choose between text and bytes by this result.
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, 'de, A> {
    type Error = GuardError<A::Error>;
    type Variant = Guarded<'g, 'de, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Self::Error> {
        let seed = Guarded::new(seed, self.guard);
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Guarded::new(variant, self.guard)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, 'de, A> {
    type Error = GuardError<A::Error>;

    #[inline]
    fn unit_variant(self) -> Result<(), Self::Error> {
        Ok(self.inner.unit_variant()?)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let seed = Guarded::new(seed, self.guard);
        Ok(self.inner.newtype_variant_seed(seed)?)
    }

    deserialize! {
        Other: tuple_variant(len: usize),
        struct_variant(fields: &'static [&'static str]),
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, 'de, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        let deserializer = Guarded::new(deserializer, self.guard);
        self.guard.to_format(self.inner.deserialize(deserializer))
    }
}
