//! The protocol that is derived from an item: types, names and enums, but no code.
//!
//! A function `check_…` reports errors, and may return whether there is none; a function `resolve_…` also returns
//! what is left without them.

pub(crate) mod client_function;
pub(crate) mod concurrency;
pub(crate) mod family;
pub(crate) mod generics;
pub(crate) mod handler;
mod message;
mod name;
pub(crate) mod operation_attrs;
pub(crate) mod operations;
pub(crate) mod parameter;
pub(crate) mod protocol_type;
pub(crate) mod server;

use proc_macro2::Ident;
use syn::Type;

use self::{
    client_function::ClientFunction, name::resolve_name, operation_attrs::check_no_operation_attrs,
    operations::Operations, server::ServerFunction,
};
use crate::{
    errors::Errors,
    item::{Function, Item},
    options::{OptionName, Options, Side},
};

/// An item under an attribute, as it was understood.
pub(crate) struct Model<'a> {
    pub(crate) options: &'a Options,
    pub(crate) item: ModelItem<'a>,
    /// Whether there is no error; otherwise generated code has stubs, and calls none of the functions.
    pub(crate) is_valid: bool,
}

/// An item with the protocol that it makes.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum ModelItem<'a> {
    Server(ServerFunction<'a>),
    Client(ClientFunction<'a>),
    Operations(Operations<'a>),
    /// A function whose type could have no name or no place; this has been reported.
    WithoutType(&'a Function),
}

/// A parameter that is a field of the type.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl<'a> Model<'a> {
    /// Resolves an item, and reports all errors in it.
    pub(crate) fn resolve(options: &'a Options, item: &'a Item, errors: &mut Errors) -> Self {
        let item = match item {
            Item::Function(function) => resolve_function(options, function, errors),
            Item::Module(module) => {
                ModelItem::Operations(Operations::resolve(options, module, errors))
            }
        };
        Self {
            options,
            item,
            is_valid: errors.may_call_functions(),
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
    if options.side == Side::Client {
        for option in options.given_of(&[OptionName::Push, OptionName::IsPush]) {
            let help = format_args!("remove it, or write `#[server_protocol({option} = …)]`");
            errors.at(option, format_args!("a client declares no events: {help}"));
        }
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

/// Reports `self`, which no protocol function can have.
fn check_receiver(side: Side, function: &Function, errors: &mut Errors) {
    if let Some(receiver) = function.sig.receiver() {
        let help = match side {
            Side::Server => "write `#[state] name: &Type` in a free function",
            Side::Client => "write a free function, whose parameters become fields",
        };
        let message = format_args!("`self` is not possible: {help}");
        errors.at(&receiver.self_token, message);
    }
}
