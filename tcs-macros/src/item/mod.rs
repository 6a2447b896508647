//! The item under an attribute, as it was written.

mod function;
mod module;

pub(crate) use self::{
    function::Function,
    module::{GENERATED, Module},
};
