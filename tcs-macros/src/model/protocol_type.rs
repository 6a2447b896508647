//! The type that an attribute adds, for a server or a client.

use proc_macro2::Ident;
use syn::{Attribute, Generics, Type, Visibility, ext::IdentExt as _};

use crate::item::{Function, Module};

/// A field of the type: the state of a server, or a parameter of a client.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

/// The type of a protocol.
pub(crate) struct ProtocolType<'a> {
    /// The name of the item, which is the place of errors that are not about a single token.
    pub(crate) item_name: &'a Ident,
    pub(crate) vis: Visibility,
    /// The attributes of the function, if the type is made of one.
    pub(crate) attrs: &'a [Attribute],
    /// The documentation, unless the function has some.
    pub(crate) docs: String,
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    /// The states of a server, with the types that functions borrow, or the fields of a client.
    pub(crate) fields: Vec<Field>,
}

impl<'a> ProtocolType<'a> {
    /// Makes the type of a function, without fields.
    pub(super) fn of_function(function: &'a Function, name: Ident) -> Self {
        let text = function.sig.ident.unraw();
        Self {
            item_name: &function.sig.ident,
            vis: function.vis.clone(),
            attrs: &function.attrs,
            docs: format!(" The protocol of [`{text}`](fn@{text})."),
            name,
            generics: Generics::default(),
            fields: Vec::new(),
        }
    }

    /// Makes the type of a module, without fields.
    pub(super) fn of_module(module: &'a Module) -> Self {
        let text = module.ident.unraw();
        Self {
            item_name: &module.ident,
            vis: module.vis_inside(),
            attrs: &[],
            docs: format!(" The protocol of the operations of `{text}`, which a server serves."),
            name: Ident::new("Protocol", module.ident.span()),
            generics: Generics::default(),
            fields: Vec::new(),
        }
    }
}
