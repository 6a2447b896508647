//! Postcard.
//!
//! The format is small, and written here rather than taken from the crate of its name, which is the
//! reference in the tests: that one does not limit how deep a message nests, and drops the texts of
//! errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use self::{input::Input, output::Output};
use super::{
    Decode, DecodeError, Encode, EncodeError, Frame, Writer, collected::Collected, shortened,
};

mod elements;
mod input;
mod output;
mod varint;

/// Postcard, with the feature `postcard`: the leanest format, between programs in Rust.
///
/// It writes values one after the other, without names or types: both ends must have the same
/// ones, so that a field can be added only together with a new message. The format is specified at
/// <https://postcard.jamesmunns.com/wire-format>. Every type with serde's `Serialize` can be sent, and
/// every one with `Deserialize` be read, as long as the message need not say what it is: neither
/// `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` nor `serde_json::Value` can be read.
///
/// | type | in bytes |
/// |---|---|
/// | integers of 16 bits and more | 7 bits in a byte, the lowest first; signed ones in zigzag |
/// | `u8`, `i8`, `bool`, floats | as they are, little-endian |
/// | text, `&[u8]`, lists, maps | the count, then the elements |
/// | structs, tuples | the fields |
/// | an enum | the number of the variant, then its fields |
/// | `Option<T>` | 0, or 1 and the value |
/// | `Result<T, E>` | 0 and the value, or 1 and the error: a value on both ends |
/// | `()` | nothing |
/// | [`Answer<T>`](crate::Answer) | `T`, which is also what the caller reads |
///
/// Its messages are bytes of all values, so they need a framing that says how many follow, such as the
/// default, [`Prefixed`](crate::Prefixed) or [`Netstrings`](crate::Netstrings): with lines and delimiters,
/// some messages cannot be sent.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcs::{Postcard, server_protocol};
///
/// #[derive(Deserialize, Serialize)]
/// struct Sample<'a> {
///     sensor: &'a str, // borrowed from what arrived, as `raw` is
///     raw: &'a [u8],
/// }
///
/// #[server_protocol(format = Postcard)]
/// fn check(sample: Sample<'_>) -> Result<u64, String> {
///     match sample.raw {
///         [] => Err(format!("{} sent nothing", sample.sensor)),
///         raw => Ok(raw.iter().map(|byte| u64::from(*byte)).sum()),
///     }
/// }
/// ```
///
/// # Results
///
/// A `Result` is a value like any other: the client gets it as the reply, so a call returns
/// `Result<Result<T, E>, tcs::Error>`. The last reply of a connection is an `Answer<Result<T, E>>`.
///
/// # What is borrowed
///
/// `&str` and `&[u8]` are borrowed from the receive buffer. In a field, `Cow<str>` is so with
/// `#[serde(borrow)]`, and copied without it.
///
/// # Errors
///
/// What cannot be read is refused as a *bad request* that names the byte, as is anything behind the
/// value, and what nests deeper than 128 levels (of lists, structs, enums, options, …). So is a list that
/// claims more elements than bytes follow: an honest one of values that take no bytes,
/// as `Vec<()>`, does so as well. A list or map that does not know its length before it is
/// written has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
pub enum Postcard {}

impl<T: Serialize> Encode<Postcard> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut chunk = [0; _];
        let mut output = Output(Collected::new(out, &mut chunk));
        self.serialize(&mut output).map_err(no_form)?;
        output.0.finish();
        Ok(())
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, Postcard> for T {
    #[inline]
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let mut input = Input::new(frame.bytes());
        match T::deserialize(&mut input) {
            Ok(value) if input.rest().is_empty() => Ok(value),
            read => Err(wrong(read.err(), frame, input.rest().len())),
        }
    }
}

/// Why a value cannot be written or read.
///
/// In a box, because the results of small values then fit into registers.
#[derive(Debug)]
struct Failure(Box<Reason>);

#[derive(Debug)]
enum Reason {
    Known(&'static str),
    /// A list or map has more elements than there are bytes.
    Claim(u64),
    /// What the type said.
    Custom(String),
}

impl Failure {
    #[cold]
    fn new(reason: &'static str) -> Self {
        Self(Box::new(Reason::Known(reason)))
    }

    #[cold]
    fn claim(count: u64) -> Self {
        Self(Box::new(Reason::Claim(count)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Known(reason) => f.write_str(reason),
            Reason::Claim(count) => {
                write!(
                    f,
                    "a list claims {count} elements, which is more than the bytes left"
                )
            }
            Reason::Custom(reason) => write!(f, "{}", shortened(reason)),
        }
    }
}

impl std::error::Error for Failure {}

impl serde::ser::Error for Failure {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self(Box::new(Reason::Custom(reason.to_string())))
    }
}

impl serde::de::Error for Failure {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self(Box::new(Reason::Custom(reason.to_string())))
    }
}

#[cold]
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn no_form(failure: Failure) -> EncodeError {
    EncodeError::new(format_args!("it has no form in Postcard: {failure}"))
}

#[cold]
fn wrong(failure: Option<Failure>, frame: Frame<'_>, left: usize) -> DecodeError {
    let place = frame.bytes().len() - left;
    match failure {
        Some(failure) => DecodeError::new(format_args!(
            "the Postcard is wrong at byte {place}: {failure}"
        )),
        None => DecodeError::new(format_args!(
            "the Postcard is wrong at byte {place}: the value ends here, and more follows"
        )),
    }
}

#[cfg(test)]
#[cfg(all(feature = "json", feature = "messagepack"))]
mod tests;
