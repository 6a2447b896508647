//! What values consist of, under watch.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Guarded;

/// A list or a map, and the number of the next element.
pub(super) struct Elements<'g, A> {
    pub(super) of: Guarded<'g, A>,
    pub(super) next: usize,
}

impl<A> Elements<'_, A> {
    /// No more than there can be, as this is what is allocated.
    #[inline]
    fn hint(&self, claimed: Option<usize>) -> Option<usize> {
        claimed.map(|count| count.min(self.of.guard.length))
    }

    #[inline]
    fn passed<T, E>(&mut self, element: Result<T, E>) -> Result<T, E> {
        match element {
            Ok(element) => {
                self.next += 1;
                Ok(element)
            }
            Err(error) => {
                self.of.guard.failed_in(self.next);
                Err(error)
            }
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let seed = self.of.with(seed);
        let element = self.of.inner.next_element_seed(seed);
        self.passed(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.of.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let seed = self.of.with(seed);
        let key = self.of.inner.next_key_seed(seed);
        if key.is_err() {
            self.of.guard.failed_in(self.next);
        }
        key
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.of.with(seed);
        let value = self.of.inner.next_value_seed(seed);
        self.passed(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.of.inner.size_hint())
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let inner = self.with(inner);
        self.inner.deserialize(inner)
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, A> {
    type Error = A::Error;
    type Variant = Guarded<'g, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (guard, depth) = (self.guard, self.depth);
        let seed = self.with(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        let variant = Guarded {
            inner,
            guard,
            depth,
            is_counted: false,
        };
        Ok((value, variant))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
