//! Whether two types are one, which only the compiler can tell.

use std::marker::PhantomData;

/// Two types, to ask whether they are one. The inherent constant is preferred to that of [`PairFallback`].
#[derive(Debug)]
pub struct Pair<A, B>(PhantomData<(A, B)>);

impl<T> Pair<T, T> {
    pub const IS_ONE_TYPE: bool = true;
}

/// A [`Pair`] of different types.
pub trait PairFallback {
    const IS_ONE_TYPE: bool = false;
}

impl<A, B> PairFallback for Pair<A, B> {}
