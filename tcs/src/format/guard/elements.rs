//! What values consist of, under guard.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Failure, Guarded};

/// A list or a map, and the number of the next element.
pub(super) struct Elements<'g, 'de, A> {
    of: Guarded<'g, 'de, A>,
    next: usize,
}

impl<'g, 'de, A> Elements<'g, 'de, A> {
    #[inline]
    pub(super) const fn new(of: Guarded<'g, 'de, A>) -> Self {
        Self { of, next: 0 }
    }

    /// No more than there can be, as this is what is allocated.
    #[inline]
    fn hint(&self, claimed: Option<usize>) -> Option<usize> {
        claimed.map(|count| count.min(self.of.guard.length))
    }

    #[inline]
    fn passed<T, E>(&mut self, element: Result<T, E>) -> Result<T, Failure<E>> {
        match element {
            Ok(element) => {
                self.next += 1;
                Ok(element)
            }
            Err(error) => {
                self.of.guard.failed_in(self.next);
                Err(Failure::Format(error))
            }
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, 'de, A> {
    type Error = Failure<A::Error>;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let seed = self.of.with(seed);
        let element = self.of.inner.next_element_seed(seed);
        self.passed(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.of.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, 'de, A> {
    type Error = Failure<A::Error>;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let seed = self.of.with(seed);
        self.of.inner.next_key_seed(seed).map_err(|error| {
            self.of.guard.failed_in(self.next);
            Failure::Format(error)
        })
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let seed = self.of.with(seed);
        let value = self.of.inner.next_value_seed(seed);
        self.passed(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint(self.of.inner.size_hint())
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, 'de, T> {
    type Value = T::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let guard = self.guard;
        let inner = self.with(inner);
        self.inner
            .deserialize(inner)
            .map_err(|failure| guard.lower(failure))
    }
}

impl<'de, 'g, A: EnumAccess<'de>> EnumAccess<'de> for Guarded<'g, 'de, A> {
    type Error = Failure<A::Error>;
    type Variant = Guarded<'g, 'de, A::Variant>;

    #[inline]
    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Self::Error> {
        let variant = self.with(());
        let seed = self.with(seed);
        let (value, inner) = self.inner.variant_seed(seed).map_err(Failure::Format)?;
        Ok((value, variant.with(inner)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guarded<'_, 'de, A> {
    type Error = Failure<A::Error>;

    #[inline]
    fn unit_variant(self) -> Result<(), Self::Error> {
        self.inner.unit_variant().map_err(Failure::Format)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let seed = self.with(seed);
        self.inner
            .newtype_variant_seed(seed)
            .map_err(Failure::Format)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.with(visitor);
        self.inner
            .tuple_variant(len, visitor)
            .map_err(Failure::Format)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let visitor = self.with(visitor);
        self.inner
            .struct_variant(fields, visitor)
            .map_err(Failure::Format)
    }
}
