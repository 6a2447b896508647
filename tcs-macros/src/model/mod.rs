//! The protocol that is derived from an item: types, names and enums, but no code.
//!
//! A function `check_…` reports errors, and may return whether there is none. A function `resolve_…` also returns the
//! parts without errors.

pub(crate) mod client_function;
pub(crate) mod generics;
pub(crate) mod handler;
pub(crate) mod message;
mod name;
pub(crate) mod operation_attrs;
pub(crate) mod operations;
pub(crate) mod parameter;
pub(crate) mod protocol_type;
pub(crate) mod server;

use self::{
    client_function::ClientFunction, handler::check_receiver, name::resolve_name,
    operation_attrs::check_no_operation_attrs, operations::Operations, server::ServerFunction,
};
use crate::{
    errors::Errors,
    item::{Function, Item},
    options::{Options, Side},
};

/// An item under an attribute, with its meaning.
pub(crate) struct Model<'a> {
    pub(crate) options: &'a Options,
    pub(crate) item: ModelItem<'a>,
    /// Whether there is no error. Otherwise, generated code has stubs, because the call of a function with an error would
    /// cause a further error.
    pub(crate) is_valid: bool,
}

/// An item with the protocol that it makes.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum ModelItem<'a> {
    Server(ServerFunction<'a>),
    Client(ClientFunction<'a>),
    Operations(Operations<'a>),
    /// A function whose type has no valid name or no place. The error is reported already.
    WithoutType(&'a Function),
}

impl<'a> Model<'a> {
    /// Resolves an item, and reports all errors in it.
    pub(crate) fn resolve(options: &'a Options, item: &'a Item, errors: &mut Errors) -> Self {
        options.check_places(matches!(item, Item::Module(_)), errors);
        let item = match item {
            Item::Function(function) => resolve_function(options, function, errors),
            Item::Module(module) => {
                ModelItem::Operations(Operations::resolve(options, module, errors))
            }
        };
        Self {
            options,
            item,
            is_valid: errors.is_empty(),
        }
    }
}

fn resolve_function<'a>(
    options: &'a Options,
    function: &'a Function,
    errors: &mut Errors,
) -> ModelItem<'a> {
    check_receiver(options.side, function, errors);
    check_no_operation_attrs(options.side, function, errors);
    if !function.has_body() {
        let message = "a protocol function has a body: write `{ … }`";
        errors.at(&function.sig.ident, message);
    }
    let name = resolve_name(options, function, errors);
    match (name.filter(|_| !function.is_member()), options.side) {
        (None, _) => ModelItem::WithoutType(function),
        (Some(name), Side::Server) => {
            ModelItem::Server(ServerFunction::resolve(options, name, function, errors))
        }
        (Some(name), Side::Client) => {
            ModelItem::Client(ClientFunction::resolve(options, name, function, errors))
        }
    }
}
