//! What the protocol of an item is made of: its parts as checked, without what is wrong.

pub(crate) mod client_function;
pub(crate) mod generics;
pub(crate) mod handler;
mod message;
mod name;
pub(crate) mod operations;
pub(crate) mod parameter;
pub(crate) mod protocol_type;
pub(crate) mod server;

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, Type};

use self::{
    client_function::ClientFunction, name::type_name, operations::Operations,
    server::ServerFunction,
};
use crate::{
    args::{Args, Side},
    errors::Errors,
    item::{Function, Item},
};

/// An item with the protocol that it makes.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Model<'a> {
    Server(ServerFunction<'a>),
    Client(ClientFunction<'a>),
    Operations(Operations<'a>),
    /// A function whose type could have no name or no place; this has been reported.
    WithoutType(&'a Function),
    /// What could not be parsed; this has been reported.
    Other(&'a TokenStream),
}

/// A parameter that is a field of the type, or an argument in a message.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl<'a> Model<'a> {
    /// Checks an item, and reports all that is wrong.
    pub(crate) fn check(args: &'a Args, item: &'a Item, errors: &mut Errors) -> Self {
        match item {
            Item::Function(function) => Self::check_function(args, function, errors),
            Item::Module(module) => Self::Operations(Operations::check(args, module, errors)),
            Item::Other(tokens) => Self::Other(tokens),
        }
    }

    fn check_function(args: &'a Args, function: &'a Function, errors: &mut Errors) -> Self {
        check_receiver(args.side, function, errors);
        check_misplaced(args.side, function, errors);
        if !function.has_body() {
            let help = "a protocol function has a body: write `{ … }`";
            errors.at(&function.sig.ident, help);
        }
        let name = type_name(args, function, errors);
        let Some(name) = name.filter(|_| !function.is_member()) else {
            return Self::WithoutType(function);
        };
        match args.side {
            Side::Server => Self::Server(ServerFunction::check(args, name, function, errors)),
            Side::Client => Self::Client(ClientFunction::check(args, name, function, errors)),
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

/// Reports `#[blocking]` outside of a module.
fn check_misplaced(side: Side, function: &Function, errors: &mut Errors) {
    let mut paths = function.attrs.iter().map(Attribute::path);
    if let Some(path) = paths.find(|path| path.is_ident("blocking")) {
        let help = match side {
            Side::Server => "write `#[server_protocol(blocking)]`",
            Side::Client => "remove it",
        };
        errors.at(
            path,
            format_args!("`#[blocking]` is for a function of a module: {help}"),
        );
    }
}
