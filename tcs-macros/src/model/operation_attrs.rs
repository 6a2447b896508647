//! The attributes before a function of a module: `#[blocking]`, `#[idempotent]`, `#[replies(…)]` and `#[secret]`.

use syn::{Attribute, Path, Type, visit_mut::VisitMut as _};

use super::{
    family::Family,
    parameter::{check_empty, is_conditional},
};
use crate::{
    errors::Errors,
    item::Function,
    options::Side,
    syntax::{ParenthesizeGroups, added_attrs, is_one_of},
};

const NAMES: &[&str] = &["blocking", "idempotent", "replies", "secret"];

/// What the attributes before an operation say.
#[derive(Default)]
pub(super) struct OperationAttrs<'a> {
    /// The word that says that the function blocks its thread.
    pub(super) blocking: Option<&'a Path>,
    /// Whether executing the operation twice does no harm.
    pub(super) is_idempotent: bool,
    /// Whether `Debug` hides the arguments and the reply.
    pub(super) is_secret: bool,
    /// The items of the streamed reply.
    pub(super) items: Option<Family>,
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
                if name != "replies" {
                    check_empty(attr, errors);
                }
            } else {
                let help = "cannot be conditional: write it without `cfg_attr`";
                errors.at(path, format_args!("`#[{name}]` {help}"));
            }
            match name {
                "blocking" => found.blocking = Some(path),
                "idempotent" => found.is_idempotent = true,
                "replies" if found.items.is_some() => {
                    let message = "a reply has one type of items: remove this `#[replies]`";
                    errors.at(path, message);
                }
                "replies" => {
                    let ty = path
                        .is_ident(name)
                        .then(|| parse_items(attr, errors))
                        .flatten();
                    found.items = Some(Family::of_items(ty.as_ref(), errors));
                }
                _ => found.is_secret = true,
            }
        }
        found
    }
}

/// Parses the type in `#[replies(…)]`.
fn parse_items(attr: &Attribute, errors: &mut Errors) -> Option<Type> {
    let Ok(mut ty) = attr.parse_args::<Type>() else {
        let message = "`#[replies]` takes the type of the items: write `#[replies(Row<'_>)]`";
        errors.at(&attr.meta, message);
        return None;
    };
    ParenthesizeGroups.visit_type_mut(&mut ty);
    Some(ty)
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
            Side::Server if name == "replies" => "write `#[server_protocol(replies = …)]`",
            _ => "remove it",
        };
        let message = format_args!("`#[{name}]` is for a function of a module: {help}");
        errors.at(path, message);
    }
}
