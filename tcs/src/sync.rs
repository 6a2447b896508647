//! The locks and atomics that threads share: those of std, or, in the models of `docs/reliability.md`, those of
//! `shuttle`, which tries other orders of the threads at each of them.

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};
