//! What the protocol of an item is made of: its parts as checked, without what is wrong.

pub(crate) mod client;
pub(crate) mod generics;
mod name;
pub(crate) mod operations;
pub(crate) mod parameter;
pub(crate) mod server;

use proc_macro2::Ident;
use syn::{Attribute as Attr, Type};

use self::{
    client::ClientFunction, name::type_name, operations::Operations, server::ServerFunction,
};
use crate::{
    args::{Args, Attribute},
    errors::Errors,
    item::{Function, Item},
    syntax::{bare, find_impl, is_unsized, mentions},
};

/// The protocol of an item.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Model<'a> {
    Server(ServerFunction<'a>),
    Client(ClientFunction<'a>),
    Operations(Operations<'a>),
    /// There is none, because its type could have no name or no place; this has been reported.
    Nothing,
}

/// A parameter that is a field of the type, or an argument in a message.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
}

impl<'a> Model<'a> {
    /// Checks an item, and reports all that is wrong.
    pub(crate) fn check(args: &Args, item: &'a Item, errors: &mut Errors) -> Self {
        match item {
            Item::Function(function) => Self::check_function(args, function, errors),
            Item::Module(module) => Self::Operations(Operations::check(args, module, errors)),
            Item::Other(_) => Self::Nothing,
        }
    }

    fn check_function(args: &Args, function: &'a Function, errors: &mut Errors) -> Self {
        check_signature(args.attribute, function, errors);
        check_misplaced(function, errors);
        if !function.has_body() {
            let help = "a protocol function has a body: write `{ … }`";
            errors.at(&function.sig.ident, help);
        }
        let name = type_name(args, function, errors);
        let Some(name) = name.filter(|_| !function.is_member()) else {
            return Self::Nothing;
        };
        match args.attribute {
            Attribute::Server => Self::Server(ServerFunction::check(args, name, function, errors)),
            Attribute::Client => Self::Client(ClientFunction::check(args, name, function, errors)),
        }
    }
}

/// Reports what no protocol function can be.
fn check_signature(attribute: Attribute, function: &Function, errors: &mut Errors) {
    if let Some(receiver) = function.sig.receiver() {
        let help = match attribute {
            Attribute::Server => "write `#[state] name: &Type` in a free function",
            Attribute::Client => "each parameter of a free function becomes a field",
        };
        let message = format_args!("`self` is not possible: {help}");
        errors.at(&receiver.self_token, message);
    }
}

/// Reports `#[blocking]` outside of a module.
fn check_misplaced(function: &Function, errors: &mut Errors) {
    let mut paths = function.attrs.iter().map(Attr::path);
    if let Some(path) = paths.find(|path| path.is_ident("blocking")) {
        let help = "`#[blocking]` is for a function of a module: here it is an option";
        errors.at(path, help);
    }
}

/// Returns the type of a message, unless no message can be of it. `what` is a request or a reply.
fn message(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    let mut message = ty.clone();
    match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            errors.leave_to_rustc();
            return None;
        }
        Type::Reference(reference) => {
            let mut reference = reference.clone();
            if let Type::TraitObject(_) = bare(&reference.elem) {
                errors.at(
                    ty,
                    format_args!("{what} has one type: name it instead of `dyn`"),
                );
                return None;
            }
            if let Some(written) = reference.lifetime.take_if(|name| name.ident == "static") {
                let help = "lives as long as its exchange: remove `'static`";
                errors.at(&written, format_args!("{what} {help}"));
            }
            if let Some(mutability) = reference.mutability {
                let help = "is borrowed from what arrived, which is shared: remove `mut`";
                errors.at(&mutability, format_args!("{what} {help}"));
                return None;
            }
            message = Type::Reference(reference);
        }
        _ => {}
    }
    has_one_type(&message, what, errors).then_some(message)
}

/// Returns whether a type is complete, and reports `impl`.
fn has_one_type(ty: &Type, what: &str, errors: &mut Errors) -> bool {
    let keyword = find_impl(ty);
    if let Some(keyword) = &keyword {
        let message = format_args!("{what} has one type: name it instead of `impl`");
        errors.at(keyword, message);
    }
    keyword.is_none() && !matches!(ty, Type::Verbatim(_))
}

/// Returns the return type, unless a reply cannot be of it. `never` says why not `!`.
fn output(function: &Function, what: &str, never: &str, errors: &mut Errors) -> Option<Type> {
    let output = function.output();
    if let Type::Never(_) = bare(&output) {
        errors.at(&output, format_args!("{never}: it must return"));
        return None;
    }
    if mentions(&output, &["Future"]) && mentions(&output, &["impl", "dyn"]) {
        let help = "a function that waits is an `async fn`: write it so, with what it returns";
        errors.at(&output, help);
        return None;
    }
    has_one_type(&output, what, errors).then_some(output)
}
