//! What the expansions of the attributes need besides the public interface.
//!
//! Expansions name these items by `tcs::__private`, which re-exports them.
//!
//! Some of them ask the compiler something about a type: `Answer`, `Pair`, `FieldValue`, `Greeting`, `Shown`, and those
//! whose name ends in `Check`. An inherent item is preferred to a trait's of the same name, and exists only where its
//! bounds hold. So the trait's is the answer for all other types. The technique is also called autoref specialization.

#![allow(
    missing_docs,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "only expansions see them, make them and match them"
)]

pub(crate) mod answer;
pub(crate) mod bounds;
mod macros;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub(crate) mod operations;
pub mod options;
pub(crate) mod pair;
pub(crate) mod values;
