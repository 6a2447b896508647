//! Reads and writes the messages of operations, whose types are generated.
//!
//! A request is an enum of struct variants, so that arguments have names in formats with names. A reply
//! is an enum of newtype variants. serde's traits are implemented here and in expansions instead of
//! derived. So each type that is not a message is one error at that type, and the error about an
//! operation or an argument that does not exist names it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        DeserializeSeed, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
        Visitor,
    },
    ser::SerializeStructVariant,
};

use super::values::NoFormat;
use crate::{
    format::{Decode, DecodeError, Encode},
    protocol::{FromSession, ServerProtocol},
};

/// An argument of an operation.
///
/// A trait of our own, so that there is one error instead of one for each of its bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an operation",
    label = "not both `Serialize` and `Deserialize`",
    note = "each parameter without a helper attribute is an argument, which a client sends",
    note = "write `#[context]` before what is taken from the connection (`#[context] closed: Closed<'_>`), `#[state]` before what all connections share, `#[session]` before what one keeps",
    note = "with serde: derive `Serialize` and `Deserialize`; text and bytes are the only references that can be read"
)]
pub trait Argument<'de>: Sized {
    /// Reads the argument.
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;

    /// Writes the argument into the request.
    fn write<W: SerializeStructVariant>(
        &self,
        name: &'static str,
        to: &mut W,
    ) -> Result<(), W::Error>;
}

#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de>> Argument<'de> for T {
    #[inline]
    fn read<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::deserialize(from)
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

/// Asks whether the type of an argument is made of the states, the session or the connection. The inherent constant is
/// preferred to that of [`ExtractorCheckFallback`].
#[derive(Debug)]
pub struct ExtractorCheck<T, P>(PhantomData<(T, P)>);

// A type that cannot be an argument has its error already.
impl<T, P: ServerProtocol> ExtractorCheck<T, P>
where
    T: FromSession<'static, P> + Argument<'static>,
{
    pub const IS_EXTRACTOR: bool = true;
}

/// What [`ExtractorCheck`] says of any other type.
pub trait ExtractorCheckFallback {
    const IS_EXTRACTOR: bool = false;
}

impl<T, P> ExtractorCheckFallback for ExtractorCheck<T, P> {}

/// The return type of an operation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of an operation",
    label = "not both `Serialize` and `Deserialize`",
    note = "the server writes a reply and the client reads it: derive both",
    note = "text and bytes are the only references that can be read: return a copy, or a type with a lifetime",
    note = "an operation is answered by its value: `Response` is for protocols of one function"
)]
pub trait OperationReply<'de>: Sized {
    /// Reads the reply, after the operation's name.
    fn read<A: VariantAccess<'de>>(from: A) -> Result<Self, A::Error>;

    /// Writes the reply after the operation's name. `reply` is the name of the enum of replies.
    fn write<S: Serializer>(
        &self,
        reply: &'static str,
        number: u32,
        operation: &'static str,
        to: S,
    ) -> Result<S::Ok, S::Error>;
}

#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de>> OperationReply<'de> for T {
    #[inline]
    fn read<A: VariantAccess<'de>>(from: A) -> Result<Self, A::Error> {
        from.newtype_variant()
    }

    #[inline]
    fn write<S: Serializer>(
        &self,
        reply: &'static str,
        number: u32,
        operation: &'static str,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_newtype_variant(reply, number, operation, self)
    }
}

/// A format in which both ends can write and read the messages of operations.
#[diagnostic::on_unimplemented(
    message = "`{Self}` carries no operations",
    label = "not a format for requests and replies of several kinds",
    note = "write `Json`, `Postcard` or `MessagePack`; a format of your own needs `Encode` and `Decode` for `Request` and `Reply`"
)]
pub trait OperationsFormat<Request, Reply> {}

#[diagnostic::do_not_recommend]
impl<F, Request, Reply> OperationsFormat<Request, Reply> for F
where
    Request: Encode<F> + Decode<'static, F>,
    Reply: Encode<F> + Decode<'static, F>,
{
}

// An error in the option `format` is reported once:
//
// - `assert_operations_format` is what reports a format without operations, with the cure.
// - Code that used such a format would repeat the error. So `FormatCheck` asks whether the format is fit, and
//   `Choice` replaces one that is not by `NoFormat`, which carries all types of serde.
// - A format that is missing is `NoFormat` from the start; the macro has reported it.

/// Checks that a format carries operations.
pub const fn assert_operations_format<F: OperationsFormat<Request, Reply>, Request, Reply>() {}

/// Asks whether a format carries operations. The inherent constant is preferred to that of [`FormatCheckFallback`].
#[derive(Debug)]
pub struct FormatCheck<F, Request, Reply>(PhantomData<(F, Request, Reply)>);

impl<F: OperationsFormat<Request, Reply>, Request, Reply> FormatCheck<F, Request, Reply> {
    pub const IS_FIT: bool = true;
}

/// What [`FormatCheck`] says of any other format.
pub trait FormatCheckFallback {
    const IS_FIT: bool = false;
}

impl<F, Request, Reply> FormatCheckFallback for FormatCheck<F, Request, Reply> {}

/// A format if it is fit, or else [`NoFormat`].
#[derive(Debug)]
pub struct Choice<F, const IS_FIT: bool>(PhantomData<F>);

pub trait ChosenFormat {
    type Format;
}

impl<F> ChosenFormat for Choice<F, true> {
    type Format = F;
}

impl<F> ChosenFormat for Choice<F, false> {
    type Format = NoFormat;
}

/// The number of the operation that the option `describe` adds: the same in each module, whatever operations it has.
const DESCRIBE: u64 = u32::MAX as u64;

/// A request or a reply: an enum with a variant for each operation.
pub trait Message<'de>: Sized {
    const NAME: &'static str;
    const OPERATIONS: &'static [&'static str];
    /// How many of them have their position as their number. The one after these has `u32::MAX`.
    const NUMBERED: usize;

    /// Reads the arguments or the reply of the operation of this number.
    fn read<A: VariantAccess<'de>>(operation: usize, from: A) -> Result<Self, A::Error>;

    /// Writes the operation with its arguments or its reply.
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

/// Reads a message.
#[inline]
pub fn read_message<'de, M: Message<'de>, D: Deserializer<'de>>(from: D) -> Result<M, D::Error> {
    from.deserialize_enum(M::NAME, M::OPERATIONS, OperationVisitor(PhantomData))
}

struct OperationVisitor<M>(PhantomData<M>);

impl<'de, M: Message<'de>> Visitor<'de> for OperationVisitor<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation")
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<M, A::Error> {
        let numbered = M::NUMBERED;
        let name = NameSeed::<M>::of(M::OPERATIONS, numbered, Some("operation"));
        match from.variant_seed(name)? {
            (Some(operation), from) => M::read(operation, from),
            (None, _) => Err(no_such_item()),
        }
    }
}

/// The arguments of one operation, while they are read.
pub trait Arguments<'de>: Sized {
    const OPERATION: &'static str;
    const NAMES: &'static [&'static str];

    /// Returns `true` if the argument at this position was read.
    fn has(&self, position: usize) -> bool;

    /// Reads the argument at this position.
    fn read<D: Deserializer<'de>>(&mut self, position: usize, from: D) -> Result<(), D::Error>;
}

/// Reads arguments into a value that has none yet.
#[inline]
pub fn read_arguments<'de, T, A>(none: T, from: A) -> Result<T, A::Error>
where
    T: Arguments<'de>,
    A: VariantAccess<'de>,
{
    from.struct_variant(T::NAMES, ArgumentsVisitor(none))
}

struct ArgumentsVisitor<T>(T);

impl<'de, T: Arguments<'de>> Visitor<'de> for ArgumentsVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the arguments of `{}`", T::OPERATION)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<T, A::Error> {
        for (position, name) in T::NAMES.iter().enumerate() {
            let argument = ArgumentSeed(&mut self.0, position);
            if list.next_element_seed(argument)?.is_none() {
                return Err(missing(name));
            }
        }
        Ok(self.0)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
        let names = T::NAMES;
        while let Some(position) = map.next_key_seed(NameSeed::<T>::of(names, names.len(), None))? {
            match position {
                Some(position) if self.0.has(position) => return Err(twice(names, position)),
                Some(position) => map.next_value_seed(ArgumentSeed(&mut self.0, position))?,
                None => {
                    let IgnoredAny = map.next_value()?;
                }
            }
        }
        for (position, name) in names.iter().enumerate() {
            if !self.0.has(position) {
                let error = PhantomData;
                self.0.read(position, Missing { name, error })?;
            }
        }
        Ok(self.0)
    }
}

/// The position of an argument.
struct ArgumentSeed<'a, T>(&'a mut T, usize);

impl<'de, T: Arguments<'de>> DeserializeSeed<'de> for ArgumentSeed<'_, T> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.read(self.1, from)
    }
}

/// The value of an argument that is not in the message: `None` if it is an `Option`, else an error.
struct Missing<E> {
    name: &'static str,
    error: PhantomData<E>,
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

#[cold]
fn twice<E: Error>(names: &[&str], position: usize) -> E {
    let name = names.get(position).copied().unwrap_or_default();
    E::custom(format_args!("the argument `{name}` is given twice"))
}

/// Returns the error for an operation or an argument that does not exist. Names and numbers are checked
/// before, with an error that shows them; so no message leads here.
#[cold]
pub fn no_such_item<E: Error>() -> E {
    E::custom("there is no such operation or argument")
}

/// Returns the error for the reply to another operation.
#[cold]
pub fn another_operation() -> DecodeError {
    DecodeError::new("the reply is that of another operation")
}

/// Reads a name, or its number in formats without names, and returns its position in the list.
///
/// It is generic over the type `T` that has the names, so that they are constants in its code.
struct NameSeed<T> {
    names: &'static [&'static str],
    /// How many of them have their position as their number.
    numbered: usize,
    /// What the names are of, for the error about an unknown one; `None` if it is skipped.
    what: Option<&'static str>,
    of: PhantomData<T>,
}

impl<T> NameSeed<T> {
    const fn of(
        names: &'static [&'static str],
        numbered: usize,
        what: Option<&'static str>,
    ) -> Self {
        let of = PhantomData;
        Self {
            names,
            numbered,
            what,
            of,
        }
    }

    #[inline]
    fn found<E: Error>(
        &self,
        position: Option<usize>,
        name: &dyn fmt::Display,
    ) -> Result<Option<usize>, E> {
        match (position, self.what) {
            (None, Some(what)) => Err(unknown(what, name)),
            (position, _) => Ok(position),
        }
    }
}

impl<'de, T> DeserializeSeed<'de> for NameSeed<T> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl<T> Visitor<'_> for NameSeed<T> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<usize>, E> {
        let count = self.numbered;
        let position = usize::try_from(number)
            .ok()
            .filter(|position| *position < count)
            .or_else(|| (number == DESCRIBE && count < self.names.len()).then_some(count));
        self.found(position, &format_args!("{number}, there are only {count}"))
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let position = self.names.iter().position(|known| *known == name);
        self.found(position, &format_args!("`{name}`"))
    }

    #[inline]
    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Option<usize>, E> {
        self.visit_str(&String::from_utf8_lossy(name))
    }
}

#[cold]
fn unknown<E: Error>(what: &str, name: &dyn fmt::Display) -> E {
    E::custom(format_args!("there is no {what} {name}"))
}

#[cfg(test)]
mod tests {
    use serde::de::value::{self, BytesDeserializer, MapDeserializer, SeqDeserializer};

    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Read {
        has: [bool; 3],
        first: u8,
        second: u8,
        more: Option<u8>,
    }

    impl<'de> Arguments<'de> for Read {
        const OPERATION: &'static str = "add";
        const NAMES: &'static [&'static str] = &["first", "second", "more"];

        fn has(&self, position: usize) -> bool {
            self.has[position]
        }

        fn read<D: Deserializer<'de>>(&mut self, position: usize, from: D) -> Result<(), D::Error> {
            match position {
                0 => self.first = Argument::read(from)?,
                1 => self.second = Argument::read(from)?,
                _ => self.more = Argument::read(from)?,
            }
            self.has[position] = true;
            Ok(())
        }
    }

    #[test]
    fn arguments_are_read_by_name() {
        for (given, expected) in [
            (&[("first", 1), ("second", 2)][..], Ok((1, 2))),
            (&[("second", 2), ("first", 1)], Ok((1, 2))),
            // An unknown one is skipped, as serde does.
            (&[("first", 1), ("other", 9), ("second", 2)], Ok((1, 2))),
            (
                &[("first", 1), ("first", 1)],
                Err("the argument `first` is given twice"),
            ),
            (&[("second", 2)], Err("the argument `first` is missing")),
            (&[("first", 1)], Err("the argument `second` is missing")),
        ] {
            let map = MapDeserializer::<_, value::Error>::new(given.iter().copied());
            let read = ArgumentsVisitor(Read::default()).visit_map(map);
            let expected = expected.map(|(first, second)| Read {
                has: [true; 3],
                first,
                second,
                // An `Option` may be missing.
                more: None,
            });
            assert_eq!(
                read.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned)
            );
        }
    }

    #[test]
    fn arguments_without_names_are_all_there() {
        for (given, error) in [
            (&[][..], "the argument `first` is missing"),
            (&[1], "the argument `second` is missing"),
            // Nothing says that it is the `Option` that is missing.
            (&[1, 2], "the argument `more` is missing"),
        ] {
            let list = SeqDeserializer::<_, value::Error>::new(given.iter().copied());
            let read = ArgumentsVisitor(Read::default()).visit_seq(list);
            assert_eq!(read.expect_err("an argument is missing").to_string(), error);
        }
    }

    const NAMES: &[&str] = &["add", "find", "describe"];

    #[test]
    fn name_is_found_by_its_text_or_its_number() {
        let last = u64::from(u32::MAX);
        let number = |numbered, number: u64| {
            let name = NameSeed::<()>::of(NAMES, numbered, Some("operation"));
            let found: Result<_, value::Error> = name.visit_u64(number);
            found.map_err(|error| error.to_string())
        };
        let none = |text: &str| Err(format!("there is no operation {text}"));
        assert_eq!(number(2, 0), Ok(Some(0)));
        assert_eq!(number(2, 1), Ok(Some(1)));
        assert_eq!(number(2, 2), none("2, there are only 2"));
        assert_eq!(number(2, last), Ok(Some(2)));
        assert_eq!(number(2, last + 1), none("4294967296, there are only 2"));
        assert_eq!(number(3, 2), Ok(Some(2)));
        assert_eq!(number(3, last), none("4294967295, there are only 3"));

        let bytes = |name: &[u8]| {
            let seed = NameSeed::<()>::of(NAMES, 2, Some("operation"));
            let found = seed.deserialize(BytesDeserializer::<value::Error>::new(name));
            found.map_err(|error| error.to_string())
        };
        assert_eq!(bytes(b"find"), Ok(Some(1)));
        assert_eq!(bytes(b"describe"), Ok(Some(2)));
        assert_eq!(bytes(b"fin"), none("`fin`"));
        assert_eq!(bytes(b"\xff"), none("`\u{fffd}`"));

        // An argument that is not known is skipped.
        let skipped = || NameSeed::<()>::of(NAMES, 3, None);
        assert_eq!(skipped().visit_str::<value::Error>("other"), Ok(None));
        assert_eq!(skipped().visit_u64::<value::Error>(3), Ok(None));
    }
}
