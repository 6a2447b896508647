//! The wrapper of lists and maps.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess};

use super::{Guard, GuardError, guarded::Guarded};

/// The access of the format to the elements of a list or the entries of a map.
pub(super) struct GuardedElements<'g, 'de, A> {
    pub(super) access: A,
    pub(super) guard: &'g Guard<'de>,
    /// The index of the next element or entry, for the path of an error.
    pub(super) index: usize,
}

impl<A> GuardedElements<'_, '_, A> {
    /// Records the place of the error if the next element, or a part of it, cannot be read.
    #[inline]
    fn element<T, E: Error>(&self, result: Result<T, E>) -> Result<T, GuardError<E>> {
        let guard = self.guard;
        match &result {
            // If there was an error inside, a type has ignored it.
            Ok(_) if guard.context.clear_error() => guard.check_failures::<E>()?,
            Ok(_) => {}
            Err(_) => guard.context.add_element(guard.depth.get(), self.index),
        }
        Ok(result?)
    }

    /// Limits a size hint to the length of the message, because types allocate for it.
    #[inline]
    fn limit(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|count| count.min(self.guard.length))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for GuardedElements<'_, 'de, A> {
    type Error = GuardError<A::Error>;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        let seed = Guarded::new(seed, self.guard);
        let element = self.access.next_element_seed(seed);
        let element = self.element(element)?;
        self.index += 1;
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.limit(self.access.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for GuardedElements<'_, 'de, A> {
    type Error = GuardError<A::Error>;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = self.access.next_key_seed(Guarded::new(seed, self.guard));
        self.element(key)
    }

    #[inline]
    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Self::Error> {
        let value = self.access.next_value_seed(Guarded::new(seed, self.guard));
        let value = self.element(value)?;
        self.index += 1;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.limit(self.access.size_hint())
    }
}
