//! The attributes before a function of a module: `#[blocking]`, `#[idempotent]`, `#[replies(…)]`, `#[requests(…)]` and
//! `#[secret]`.

use syn::{Attribute, Path, Type, ext::IdentExt as _, visit_mut::VisitMut as _};

use super::{
    message::MessageStream,
    parameter::{check_empty, is_conditional},
};
use crate::{
    errors::Errors,
    item::Function,
    options::{Side, StreamKind},
    syntax::{ParenthesizeGroups, is_handle, upper_camel},
};

const NAMES: &[&str] = &["blocking", "idempotent", "replies", "requests", "secret"];

/// The meaning of the attributes before an operation.
#[derive(Default)]
pub(super) struct OperationAttrs<'a> {
    /// The word that says that the function blocks its thread.
    pub(super) blocking: Option<&'a Path>,
    /// Whether executing the operation twice does no harm.
    pub(super) is_idempotent: bool,
    /// Whether `Debug` hides the arguments and the reply.
    pub(super) is_secret: bool,
    /// The items of the streamed reply, or the chunks after the request.
    pub(super) stream: Option<MessageStream>,
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
                "replies" | "requests" if found.stream.is_some() => {
                    let message = format_args!(
                        "an operation has one type of items, or of chunks: remove this `#[{name}]`"
                    );
                    errors.at(path, message);
                }
                "replies" => found.stream = Some(resolve_stream(StreamKind::ITEMS, attr, errors)),
                "requests" => found.stream = Some(resolve_stream(StreamKind::CHUNKS, attr, errors)),
                _ => found.is_secret = true,
            }
        }
        // The missing attribute of a handle is reported already. With messages of an unknown type, rustc does not
        // report it again.
        let unknown = |kind| MessageStream::new(kind, None, errors);
        found.stream = found
            .stream
            .or_else(|| kind_of_handle(function).map(unknown));
        found
    }
}

/// Returns the kind of messages for which the parameters have a handle.
fn kind_of_handle(function: &Function) -> Option<&'static StreamKind> {
    let protocol = upper_camel(&function.sig.ident.unraw().to_string());
    let mut kinds = [StreamKind::ITEMS, StreamKind::CHUNKS].into_iter();
    kinds.find(|kind| {
        let mut parameters = function.parameters();
        parameters.any(|parameter| is_handle(&parameter.ty, kind.handles, &protocol))
    })
}

/// Resolves the type in `#[replies(…)]` or `#[requests(…)]`.
fn resolve_stream(
    kind: &'static StreamKind,
    attr: &Attribute,
    errors: &mut Errors,
) -> MessageStream {
    let (name, messages, example) = (kind.option_text, kind.many, kind.example);
    let mut written = attr.parse_args::<Type>();
    if let Ok(ty) = &mut written {
        ParenthesizeGroups.visit_type_mut(ty);
    } else {
        let help = format_args!("write `#[{name}({example})]`");
        let message = format_args!("`#[{name}]` takes the type of the {messages}: {help}");
        errors.at(&attr.meta, message);
    }
    MessageStream::new(kind, written.ok().as_ref(), errors)
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
