//! Checks the operations of a module, one by one and against each other.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{Generics, PatType, Signature, Type, ext::IdentExt as _};

use super::{
    Field, check_receiver, generics,
    handler::{ArgumentSource, Handler},
    message::message_type,
    parameter::{self, Role},
    protocol_type::ProtocolType,
    server::{ServerParts, check_reply, check_session_option},
};
use crate::{
    args::{Args, OptionName, Side},
    errors::Errors,
    item::{Function, Module},
    syntax::{
        is_one_of, is_type_name,
        lifetimes::{self, MESSAGE},
        mentions, names_one_of, path_starts, upper_camel,
    },
};

/// The names of the types that are generated in a module.
const GENERATED: &[&str] = &["Client", "Contract", "Protocol", "Reply", "Request"];

/// The formats of this library that carry no enums of serde.
const UNFIT_FORMATS: &[&str] = &["Codec", "Plain", "Protobuf"];

/// The methods of the generated client that are not operations.
const CLIENT_METHODS: &[&str] = &["clone", "connect", "into_inner", "over", "share"];

/// A module of operations.
pub(crate) struct Operations<'a> {
    pub(crate) module: &'a Module,
    pub(crate) list: Vec<Operation<'a>>,
    /// The library's `NoFormat` if the attribute names none that can carry operations.
    pub(crate) format: Type,
    /// The server's side. There is none if the attribute makes the client alone.
    pub(crate) server: Option<ServerParts<'a>>,
}

/// An operation, with its request and its reply.
pub(crate) struct Operation<'a> {
    pub(crate) index: usize,
    /// The name in messages and in texts.
    pub(crate) name: String,
    /// The name of the variants in the enums of requests and replies.
    pub(crate) variant: Ident,
    /// Their lifetimes are [`MESSAGE`].
    pub(crate) arguments: Vec<Field>,
    /// The return type of the function; its lifetimes are [`MESSAGE`].
    pub(crate) reply: Type,
    pub(crate) handler: Handler<'a>,
}

impl Operation<'_> {
    /// Returns whether an argument borrows.
    pub(crate) fn borrows(&self) -> bool {
        self.arguments
            .iter()
            .any(|argument| lifetimes::borrows(&argument.ty))
    }
}

impl<'a> Operations<'a> {
    /// Checks a module, reporting all that is wrong.
    pub(super) fn check(args: &'a Args, module: &'a Module, errors: &mut Errors) -> Self {
        check_options(args, errors);
        let format = check_format(args, module, errors);
        let mut list: Vec<Operation<'_>> = Vec::new();
        let mut invalid: Vec<Handler<'_>> = Vec::new();
        for function in module.operations() {
            let variant = variant(function, &list, errors);
            let (handler, messages) = check_function(args.side, function, errors);
            match (variant, messages) {
                (Some(variant), Some((arguments, reply))) => list.push(Operation {
                    index: list.len(),
                    name: function.sig.ident.unraw().to_string(),
                    variant,
                    arguments,
                    reply,
                    handler,
                }),
                _ => invalid.push(handler),
            }
        }
        if module.operations().next().is_none() {
            let help = "a protocol has an operation: write a `pub fn` in the module";
            errors.at(&module.ident, help);
        }
        let server = (args.side == Side::Server).then(|| {
            check_session_option(args, module.operations(), errors);
            let valid = list.iter().map(|operation| &operation.handler);
            let handlers: Vec<_> = valid.chain(&invalid).collect();
            ServerParts::of(&handlers, |generics, fields| {
                ProtocolType::of_module(args, module, generics, fields, errors)
            })
        });
        Self {
            module,
            list,
            format,
            server,
        }
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    if let Some(name) = &args.name {
        let help = "the types in a module have fixed names: remove this one";
        errors.at(name, help);
    }
    if let Some(option) = args.given(OptionName::Blocking) {
        let help = "a function of a module says so itself: write `#[blocking]` before it";
        errors.at(option, help);
    }
    let halves = [OptionName::Server, OptionName::Request, OptionName::Reply];
    for option in halves.iter().filter_map(|option| args.given(*option)) {
        let message = format_args!("a module has both halves: remove `{option}`");
        errors.at(option, message);
    }
}

/// Returns the format. For one that is missing, or carries no operations, returns one in which any type
/// of serde is a message, so that there is no other error about the format.
fn check_format(args: &Args, module: &Module, errors: &mut Errors) -> Type {
    let none = || args.library.ty("NoFormat", &module.ident);
    let Some(format) = &args.format else {
        if args.given(OptionName::Format).is_none() {
            let help = "write `format = Json`, `Postcard` or `MessagePack`";
            let message = format_args!("operations need a format: {help}");
            errors.at(&module.ident, message);
        }
        return none();
    };
    if let Type::Path(path) = format
        && let Some(last) = path.path.segments.last()
        && is_one_of(&last.ident, UNFIT_FORMATS)
    {
        let help = "carries no operations: write `Json`, `Postcard` or `MessagePack`";
        errors.at(format, format_args!("`{}` {help}", last.ident));
        return none();
    }
    format.clone()
}

/// Checks a function, but not its name; returns its arguments and its reply, if they are right.
fn check_function<'a>(
    side: Side,
    function: &'a Function,
    errors: &mut Errors,
) -> (Handler<'a>, Option<(Vec<Field>, Type)>) {
    check_receiver(Side::Server, function, errors);
    if side == Side::Server && !function.has_body() {
        // In a module, rustc asks for a body. A client leaves out the function, and needs none.
        errors.leave_to_rustc();
    }
    let mut handler = Handler::new(function);
    check_attributes(&mut handler, errors);
    let arguments = resolve_arguments(side, &mut handler, errors);
    let reply = check_reply(function, errors);
    let has_generated = has_generated(&function.sig, errors);
    let (Some(arguments), Some(reply)) = (arguments, reply) else {
        return (handler, None);
    };
    let reply = lifetimes::unify(&reply, MESSAGE);
    let types = arguments.iter().map(|argument| &argument.ty);
    let generic = types
        .chain([&reply])
        .filter(|ty| is_generic(function, ty, errors));
    if generic.count() > 0 || has_generated {
        // Its type parameters are left out with it. Otherwise each would be reported as in no state too.
        handler.generics = Generics::default();
        handler.sources.clear();
        return (handler, None);
    }
    let is_unused = side == Side::Server && !handler.remove_unused(errors).is_empty();
    (handler, (!is_unused).then_some((arguments, reply)))
}

/// Finds where each argument of an operation comes from, and reports what is wrong. Returns those that
/// its request has, if all parameters are right.
fn resolve_arguments(
    side: Side,
    handler: &mut Handler<'_>,
    errors: &mut Errors,
) -> Option<Vec<Field>> {
    let mut arguments = Vec::new();
    let mut is_valid = handler.function.sig.receiver().is_none();
    for parameter in handler.function.parameters() {
        match parameter::role(parameter, errors) {
            Role::Plain => match check_argument(parameter, &arguments, errors) {
                Some(argument) => {
                    let name = argument.name.clone();
                    handler.sources.push(ArgumentSource::Argument(name));
                    arguments.push(argument);
                }
                None => is_valid = false,
            },
            Role::Unclear => is_valid = false,
            role @ (Role::State | Role::Session | Role::Context) => {
                // A client neither has nor needs them: it may not even know their types.
                if side == Side::Server {
                    handler.add(role, parameter, errors);
                }
            }
        }
    }
    is_valid.then_some(arguments)
}

/// Returns whether an argument or a reply has a type parameter of the function, and reports it.
fn is_generic(function: &Function, ty: &Type, errors: &mut Errors) -> bool {
    let is_generic = names_one_of(ty, &generics::names(&function.sig.generics));
    if is_generic {
        let help = "both ends know the messages: name the type instead of a parameter";
        errors.at(ty, help);
    }
    is_generic
}

/// Returns whether a signature names a generated type, other than at the end of a path, and reports it.
///
/// The generated types hide types of these names that the module imports by `use super::*`.
fn has_generated(signature: &Signature, errors: &mut Errors) -> bool {
    let mut words = path_starts(signature.to_token_stream());
    words.retain(|word| is_one_of(word, GENERATED));
    for word in &words {
        let help = "is the generated type here: name yours by a path";
        errors.at(word, format_args!("`{word}` {help}"));
    }
    !words.is_empty()
}

/// Checks the attributes of an operation.
fn check_attributes(handler: &mut Handler<'_>, errors: &mut Errors) {
    for attr in &handler.function.attrs {
        let path = attr.path();
        let is_cfg_in = || path.is_ident("cfg_attr") && mentions(&attr.meta, "cfg");
        if path.is_ident("cfg") || is_cfg_in() {
            let help = "both ends know the same operations: remove the `#[cfg]`, or reject inside";
            errors.at(path, help);
        }
        if path.is_ident("blocking") {
            parameter::check_empty(attr, errors);
            handler.set_blocking(path, errors);
        }
    }
}

fn check_argument(parameter: &PatType, others: &[Field], errors: &mut Errors) -> Option<Field> {
    let ty = message_type(&parameter.ty, "a request", errors);
    let Some(name) = parameter::name(&parameter.pat) else {
        let help = "an argument of an operation needs a name: write `name: Type`";
        errors.at(&parameter.pat, help);
        return None;
    };
    if others.iter().any(|other| other.name == *name) {
        errors.leave_to_rustc();
        return None;
    }
    Some(Field {
        name: name.clone(),
        ty: lifetimes::unify(&ty?, MESSAGE),
    })
}

/// Returns the name of the operation's variants.
fn variant(function: &Function, others: &[Operation<'_>], errors: &mut Errors) -> Option<Ident> {
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    let camel = upper_camel(&name);
    let why = if CLIENT_METHODS.contains(&name.as_str()) {
        format!("`Client` has a method `{name}` already")
    } else if !is_type_name(&camel) {
        "this function's name makes no name of a message".to_owned()
    } else if others.iter().any(|other| other.name == name) {
        // Two functions of one name.
        errors.leave_to_rustc();
        return None;
    } else if let Some(other) = others.iter().find(|other| other.variant == camel) {
        format!("`{}` has the message `{camel}` already", other.name)
    } else {
        return Some(Ident::new(&camel, ident.span()));
    };
    errors.at(ident, format_args!("{why}: rename the operation"));
    None
}
