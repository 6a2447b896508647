//! The attributes before a function of a module: `#[blocking]`, `#[idempotent]` and `#[secret]`.

use syn::{Attribute, Path};

use super::parameter::{check_empty, is_conditional};
use crate::{
    errors::Errors,
    item::Function,
    options::Side,
    syntax::{added_attrs, is_one_of},
};

const NAMES: &[&str] = &["blocking", "idempotent", "secret"];

/// What the attributes before an operation say.
#[derive(Default)]
pub(super) struct OperationAttrs<'a> {
    /// The word that says that the function blocks its thread.
    pub(super) blocking: Option<&'a Path>,
    /// Whether executing the operation twice does no harm.
    pub(super) is_idempotent: bool,
    /// Whether `Debug` hides the arguments and the reply.
    pub(super) is_secret: bool,
}

impl<'a> OperationAttrs<'a> {
    pub(super) fn resolve(function: &'a Function, errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for attr in &function.attrs {
            let path = attr.path();
            if is_conditional(attr) {
                let message =
                    "both ends know the same operations: remove the `#[cfg]`, or reject inside";
                errors.at(path, message);
            }
            let Some(name) = name_in(attr) else {
                continue;
            };
            if path.is_ident(name) {
                check_empty(attr, errors);
            } else {
                let help = "cannot be conditional: write it without `cfg_attr`";
                errors.at(path, format_args!("`#[{name}]` {help}"));
            }
            match name {
                "blocking" => found.blocking = Some(path),
                "idempotent" => found.is_idempotent = true,
                _ => found.is_secret = true,
            }
        }
        found
    }
}

/// Returns whether an attribute is for a function of a module, or adds one under a condition.
pub(crate) fn is_operation_attr(attr: &Attribute) -> bool {
    name_in(attr).is_some()
}

fn name_in(attr: &Attribute) -> Option<&'static str> {
    let added = added_attrs(&attr.meta);
    let mut words = added.iter().filter_map(|attr| attr.path().get_ident());
    let word = words.find(|word| is_one_of(word, NAMES))?;
    NAMES.iter().copied().find(|name| word == name)
}

/// Reports these attributes before a function that is not in a module.
pub(super) fn check_no_operation_attrs(side: Side, function: &Function, errors: &mut Errors) {
    for path in function.attrs.iter().map(Attribute::path) {
        let Some(name) = path.get_ident().filter(|word| is_one_of(word, NAMES)) else {
            continue;
        };
        let help = match side {
            _ if name == "idempotent" => "call it through `channel.idempotent()`",
            Side::Server if name == "blocking" => "write `#[server_protocol(blocking)]`",
            _ => "remove it",
        };
        let message = format_args!("`#[{name}]` is for a function of a module: {help}");
        errors.at(path, message);
    }
}
