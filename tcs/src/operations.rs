//! What the messages of operations are read and written with; their types are generated.
//!
//! A request is an enum of struct variants, so that arguments have names where a format has them; a
//! reply is an enum of newtype variants. Both are implemented here and in expansions rather than
//! derived: so each type that is no message is one error at that type, and what a peer names that is
//! not there is told in words.

#![allow(
    missing_docs,
    clippy::exhaustive_structs,
    reason = "only expansions see them, and make them"
)]

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
    ser::SerializeStructVariant,
};

/// What an operation takes.
///
/// A trait of our own, so that one error says it instead of one for each of the bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an operation",
    label = "not both `Serialize` and `Deserialize`",
    note = "each parameter without a helper attribute is an argument, which a client sends",
    note = "write `#[context]` before what is taken from the connection (`#[context] peer: &Peer`), `#[state]` before what all connections share, `#[session]` before what one keeps",
    note = "with serde: derive `Serialize` and `Deserialize`; text and bytes are the only references that can be read"
)]
pub trait Argument<'de>: Sized {
    /// Reads it from where it stands in the message.
    fn read<R: Read<'de>>(from: R) -> Result<Self, R::Error>;

    /// Writes it into the message.
    fn write<W: SerializeStructVariant>(
        &self,
        name: &'static str,
        to: &mut W,
    ) -> Result<(), W::Error>;
}

#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de>> Argument<'de> for T {
    #[inline]
    fn read<R: Read<'de>>(from: R) -> Result<Self, R::Error> {
        from.read()
    }

    #[inline]
    fn write<W: SerializeStructVariant>(
        &self,
        name: &'static str,
        to: &mut W,
    ) -> Result<(), W::Error> {
        to.serialize_field(name, self)
    }
}

/// What an operation returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of an operation",
    label = "not both `Serialize` and `Deserialize`",
    note = "the server writes a reply and the client reads it: derive both",
    note = "text and bytes are the only references that can be read: return a copy, or a type with a lifetime",
    note = "an operation is answered by its value: `Answer` is for protocols of one function"
)]
pub trait Returned<'de>: Sized {
    /// Reads it from behind the operation's name.
    fn read<A: VariantAccess<'de>>(from: A) -> Result<Self, A::Error>;

    /// Writes it behind the operation's name.
    fn write<S: Serializer>(
        &self,
        number: u32,
        name: &'static str,
        to: S,
    ) -> Result<S::Ok, S::Error>;
}

#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de>> Returned<'de> for T {
    #[inline]
    fn read<A: VariantAccess<'de>>(from: A) -> Result<Self, A::Error> {
        from.newtype_variant()
    }

    #[inline]
    fn write<S: Serializer>(
        &self,
        number: u32,
        name: &'static str,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_newtype_variant("Reply", number, name, self)
    }
}

/// A place where an argument stands.
pub trait Read<'de> {
    type Error;

    fn read<T: Deserialize<'de>>(self) -> Result<T, Self::Error>;
}

/// The next element of a message without names.
#[derive(Debug)]
pub struct Element<'a, A> {
    pub list: &'a mut A,
    pub name: &'static str,
}

impl<'de, A: SeqAccess<'de>> Read<'de> for Element<'_, A> {
    type Error = A::Error;

    #[inline]
    fn read<T: Deserialize<'de>>(self) -> Result<T, A::Error> {
        match self.list.next_element()? {
            Some(value) => Ok(value),
            None => Err(missing(self.name)),
        }
    }
}

/// The value behind a name.
#[derive(Debug)]
pub struct Value<'a, A>(pub &'a mut A);

impl<'de, A: MapAccess<'de>> Read<'de> for Value<'_, A> {
    type Error = A::Error;

    #[inline]
    fn read<T: Deserialize<'de>>(self) -> Result<T, A::Error> {
        self.0.next_value()
    }
}

/// Nothing: the message does not name the argument. One that is optional is `None` then.
#[derive(Debug)]
pub struct Missing<E> {
    name: &'static str,
    error: PhantomData<E>,
}

impl<E> Missing<E> {
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            error: PhantomData,
        }
    }
}

impl<'de, E: Error> Read<'de> for Missing<E> {
    type Error = E;

    #[cold]
    fn read<T: Deserialize<'de>>(self) -> Result<T, E> {
        T::deserialize(self)
    }
}

impl<'de, E: Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, E> {
        Err(missing(self.name))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cold]
fn missing<E: Error>(name: &str) -> E {
    E::custom(format_args!("the argument `{name}` is missing"))
}

/// Fails where an argument is named twice.
#[cold]
pub fn twice<E: Error>(name: &str) -> E {
    E::custom(format_args!("the argument `{name}` stands there twice"))
}

/// Reads which operation is meant, as its number.
///
/// `number` is a function of the type, so that the compiler sees which names there are.
#[derive(Clone, Copy, Debug)]
pub struct Operation<F> {
    pub count: u64,
    pub number: F,
}

impl<'de, F: Fn(&str) -> Option<u64>> DeserializeSeed<'de> for Operation<F> {
    type Value = u64;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<F: Fn(&str) -> Option<u64>> Visitor<'_> for Operation<F> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation")
    }

    #[inline]
    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if number < self.count {
            Ok(number)
        } else {
            Err(no_number(number, self.count))
        }
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<u64, E> {
        match (self.number)(name) {
            Some(number) => Ok(number),
            None => Err(no_name(name)),
        }
    }

    #[inline]
    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<u64, E> {
        self.visit_str(&String::from_utf8_lossy(name))
    }
}

#[cold]
fn no_number<E: Error>(number: u64, count: u64) -> E {
    E::custom(format_args!(
        "there is no operation {number}, they end before {count}"
    ))
}

#[cold]
fn no_name<E: Error>(name: &str) -> E {
    E::custom(format_args!("there is no operation `{name}`"))
}

/// Reads which argument is named, as its number; `None` is one that is not known.
#[derive(Clone, Copy, Debug)]
pub struct Name<F>(pub F);

impl<'de, F: Fn(&str) -> Option<u64>> DeserializeSeed<'de> for Name<F> {
    type Value = Option<u64>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<u64>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<F: Fn(&str) -> Option<u64>> Visitor<'_> for Name<F> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an argument")
    }

    #[inline]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<u64>, E> {
        Ok(Some(number))
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<u64>, E> {
        Ok((self.0)(name))
    }

    #[inline]
    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Option<u64>, E> {
        Ok(str::from_utf8(name).ok().and_then(|name| (self.0)(name)))
    }
}
