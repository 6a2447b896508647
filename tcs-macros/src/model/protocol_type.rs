//! The type that an attribute adds, whichever trait it implements.

use proc_macro2::Ident;
use syn::Generics;

use super::Field;
use crate::item::{Function, Module};

/// The type of a protocol.
pub(crate) struct ProtocolType<'a> {
    pub(crate) item: ItemRef<'a>,
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    /// The states of a server, with the types that functions borrow, or the fields of a client.
    pub(crate) fields: Vec<Field>,
}

/// The item that a type is derived from.
#[derive(Clone, Copy)]
pub(crate) enum ItemRef<'a> {
    Function(&'a Function),
    Module(&'a Module),
}

impl<'a> ProtocolType<'a> {
    /// Returns the name of the item, where errors that are about no single token are reported.
    pub(crate) const fn item_name(&self) -> &'a Ident {
        match self.item {
            ItemRef::Function(function) => &function.sig.ident,
            ItemRef::Module(module) => &module.ident,
        }
    }
}
