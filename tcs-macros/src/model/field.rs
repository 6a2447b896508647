//! The fields of the type.

use proc_macro2::Ident;
use syn::Type;

/// A parameter that is a field of the type.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}
