//! The attributes before a function of a module: `#[blocking]`, `#[idempotent]`, `#[replies(…)]`, `#[requests(…)]` and
//! `#[secret]`.

use syn::{Attribute, Path, Type, visit_mut::VisitMut as _};

use super::{
    family::{Family, FamilyKind},
    parameter::{check_empty, is_conditional},
};
use crate::{errors::Errors, item::Function, options::Side, syntax::ParenthesizeGroups};

const NAMES: &[&str] = &["blocking", "idempotent", "replies", "requests", "secret"];

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
    /// The chunks after the request.
    pub(super) chunks: Option<Family>,
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
            let Some(name) = name_of(attr) else {
                continue;
            };
            if !matches!(name, "replies" | "requests") {
                check_empty(attr, errors);
            }
            match name {
                "blocking" => found.blocking = Some(path),
                "idempotent" => found.is_idempotent = true,
                "replies" | "requests" if found.items.is_some() || found.chunks.is_some() => {
                    let message = format_args!(
                        "an operation has one type of items, or of chunks: remove this `#[{name}]`"
                    );
                    errors.at(path, message);
                }
                "replies" => found.items = Some(resolve_family(FamilyKind::Streams, attr, errors)),
                "requests" => {
                    found.chunks = Some(resolve_family(FamilyKind::Receives, attr, errors));
                }
                _ => found.is_secret = true,
            }
        }
        found
    }
}

/// Resolves the type in `#[replies(…)]` or `#[requests(…)]`.
fn resolve_family(kind: FamilyKind, attr: &Attribute, errors: &mut Errors) -> Family {
    let words = kind.words();
    let (name, messages, example) = (words.option_text, words.many, words.example);
    let mut written = attr.parse_args::<Type>();
    if let Ok(ty) = &mut written {
        ParenthesizeGroups.visit_type_mut(ty);
    } else {
        let help = format_args!("write `#[{name}({example})]`");
        let message = format_args!("`#[{name}]` takes the type of the {messages}: {help}");
        errors.at(&attr.meta, message);
    }
    Family::of_attr(kind, written.ok().as_ref(), errors)
}

/// Returns the type in the attribute of this name.
pub(super) fn written_family(function: &Function, name: &str) -> Option<Type> {
    let mut attrs = function.attrs.iter();
    let attr = attrs.find(|attr| attr.path().is_ident(name))?;
    attr.parse_args().ok()
}

/// Returns `true` if an attribute is for a function of a module.
pub(crate) fn is_operation_attr(attr: &Attribute) -> bool {
    name_of(attr).is_some()
}

fn name_of(attr: &Attribute) -> Option<&'static str> {
    NAMES
        .iter()
        .copied()
        .find(|name| attr.path().is_ident(name))
}

/// Reports these attributes before a function that is not in a module.
pub(super) fn check_no_operation_attrs(side: Side, function: &Function, errors: &mut Errors) {
    for attr in &function.attrs {
        let Some(name) = name_of(attr) else {
            continue;
        };
        let help = match side {
            _ if name == "idempotent" => "call it through `channel.idempotent()`",
            Side::Server if name == "blocking" => "write `#[server_protocol(blocking)]`",
            Side::Server if name == "replies" => "write `#[server_protocol(replies = …)]`",
            Side::Server if name == "requests" => "write `#[server_protocol(requests = …)]`",
            _ => "remove it",
        };
        let message = format_args!("`#[{name}]` is for a function of a module: {help}");
        errors.at(attr.path(), message);
    }
}
