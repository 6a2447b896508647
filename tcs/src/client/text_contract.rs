//! A contract of text, for tests.

use std::marker::PhantomData;

use crate::{
    format::Plain,
    framing::Framing,
    protocol::{Contract, Streams},
};

#[derive(Debug)]
pub(super) struct Text<F>(PhantomData<F>);

impl<F: Framing> Contract for Text<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

impl<F: Framing> Streams for Text<F> {
    type Format = Plain;
    type Item<'a> = &'a str;
}
