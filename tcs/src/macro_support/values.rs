//! Values and functions that expansions use.

use std::{
    fmt::{self, Debug},
    pin::Pin,
    task::{self, Poll},
};

use crate::{
    Rejection, Response,
    format::{Decode, DecodeError, Encode, EncodeError, Frame, Writer},
};

/// A message that is made when it is encoded.
#[derive(Debug)]
pub struct Encoder<F>(F);

/// The result of a closure that encodes. It is a type of its own, so that no `return` in the user's
/// expression can end the closure before the message is encoded.
#[derive(Debug)]
pub struct Encoded(pub Result<(), EncodeError>);

/// Makes a message of a closure that makes and encodes it.
pub fn encoder<F>(encode: F) -> Encoder<F>
where
    F: FnOnce(&mut Writer<'_>) -> Encoded,
{
    Encoder(encode)
}

impl<Format, F> Encode<Format> for Encoder<F>
where
    F: FnOnce(&mut Writer<'_>) -> Encoded,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        (self.0)(out).0
    }
}

/// The message of a greeting, with a type that is known. The inherent method is preferred to that of [`GreetingFallback`].
#[derive(Debug)]
pub struct Greeting<T>(pub T);

/// Without this, the last parameter of `Response::ReplyAndClose("closed")` could not be inferred.
impl<T> Greeting<Response<T>> {
    /// Returns the message.
    pub fn get(self) -> Response<T> {
        self.0
    }
}

/// What [`Greeting`] is for other messages.
pub trait GreetingFallback<T> {
    /// Returns the message.
    fn get(self) -> T;
}

impl<T> GreetingFallback<T> for Greeting<T> {
    fn get(self) -> T {
        self.0
    }
}

/// The message of a function with an error, so that its type is a protocol all the same.
#[derive(Debug)]
pub enum Unknown {}

impl<Format> Encode<Format> for Unknown {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {}
    }
}

impl<Format> Decode<'_, Format> for Unknown {
    fn decode(_frame: Frame<'_>) -> Result<Self, DecodeError> {
        Err(DecodeError::new("the protocol function does not compile"))
    }
}

/// A field as the request expression of a client sees it: a copy where its type is `Copy`, else a
/// reference. The inherent method is preferred to that of [`FieldValueFallback`].
#[derive(Debug)]
pub struct FieldValue<'a, T>(pub &'a T);

impl<T: Copy> FieldValue<'_, T> {
    /// Returns the value.
    pub const fn get(&self) -> T {
        *self.0
    }
}

/// What [`FieldValue`] is where its own bound does not hold.
pub trait FieldValueFallback<'a, T> {
    /// Returns the reference.
    fn get(&self) -> &'a T;
}

impl<'a, T> FieldValueFallback<'a, T> for FieldValue<'a, T> {
    fn get(&self) -> &'a T {
        self.0
    }
}

/// A value of a message as its `Debug` shows it: as its own `Debug` does, if it has one. The inherent method is
/// preferred to that of [`ShownFallback`].
#[derive(Debug)]
pub struct Shown<'a, T>(pub &'a T);

impl<'a, T: Debug> Shown<'a, T> {
    /// Returns the value.
    pub fn get(&self) -> &'a dyn Debug {
        self.0
    }
}

/// What [`Shown`] is where its own bound does not hold.
pub trait ShownFallback {
    /// Returns what is shown in place of the value.
    fn get(&self) -> &'static dyn Debug {
        &Hidden("_")
    }
}

impl<T> ShownFallback for Shown<'_, T> {}

/// What `Debug` of a message shows in place of a value.
pub struct Hidden(&'static str);

impl Hidden {
    pub const SECRET: Self = Self("***");
}

impl Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Returns the future of a function. One that is not `Send` is then one error, at the function's name.
pub const fn send<F: Future + Send>(future: F) -> F {
    future
}

/// The future of a function that does not wait.
#[derive(Debug)]
pub struct AtOnce<F>(Option<F>);

/// Returns the future that calls a closure and is ready.
pub const fn at_once<F, T>(call: F) -> AtOnce<F>
where
    F: FnOnce() -> Result<T, Rejection>,
{
    AtOnce(Some(call))
}

impl<F> Unpin for AtOnce<F> {}

impl<F, T> Future for AtOnce<F>
where
    F: FnOnce() -> Result<T, Rejection>,
{
    type Output = Result<T, Rejection>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Self::Output> {
        match self.0.take() {
            Some(call) => Poll::Ready(call()),
            // A future is not polled again after it was ready.
            None => Poll::Pending,
        }
    }
}

/// Makes a message of a rejection. A function that takes something else is then one error, with what it should take.
pub fn in_words<'a, M>(words: impl Fn(&'a Rejection) -> M, rejection: &'a Rejection) -> M {
    words(rejection)
}

/// The format of operations whose own format is missing: any type of serde is a message in it.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[derive(Debug)]
pub enum NoFormat {}

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
impl<T: serde::Serialize> Encode<NoFormat> for T {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Err(EncodeError::new("the operations have no format"))
    }
}

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
impl<'a, T: serde::Deserialize<'a>> Decode<'a, NoFormat> for T {
    fn decode(_frame: Frame<'a>) -> Result<Self, DecodeError> {
        Err(DecodeError::new("the operations have no format"))
    }
}
