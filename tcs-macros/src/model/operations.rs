//! Resolves the operations of a module, one by one and against each other.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{FnArg, Generics, PatType, Type, ext::IdentExt as _, parse_quote};

use super::{
    generics,
    handler::{CallKind, Handler, ParameterSource, Parameters, check_receiver},
    message::{MessageStream, resolve_message},
    name::is_in_prelude,
    operation_attrs::OperationAttrs,
    parameter::{self, Role},
    protocol_type::ProtocolType,
    server::{ServerImpl, check_server_options, resolve_reply},
};
use crate::{
    errors::Errors,
    item::{Function, GENERATED, Module},
    options::{OptionName, Options, Side, StreamKind},
    syntax::{
        is_one_of, is_type_name,
        lifetimes::{self, MESSAGE},
        mentions_one_of, path_starts, same_tokens, upper_camel, without_argument,
    },
};

/// The methods of the generated client that are not operations.
const CLIENT_METHODS: &[&str] = &[
    "clone",
    "connect",
    "deadline",
    "into_channel",
    "into_inner",
    "next_event",
    "over",
];

/// A module of operations.
pub(crate) struct Operations<'a> {
    pub(crate) module: &'a Module,
    pub(crate) list: Vec<Operation<'a>>,
    /// The server's side, or `None` if the attribute makes only the client.
    pub(crate) server: Option<ServerImpl<'a>>,
    /// The events that the server pushes.
    pub(crate) pushes: Option<MessageStream>,
}

/// An operation, with its request and its reply.
pub(crate) struct Operation<'a> {
    pub(crate) handler: Handler<'a>,
    pub(crate) index: usize,
    /// The number in formats without names.
    pub(crate) number: u32,
    /// The name in messages and in texts.
    pub(crate) name: String,
    /// The name of the variants in the enums of requests and replies.
    pub(crate) variant: Ident,
    /// The fields of the request; their lifetimes are [`MESSAGE`].
    pub(crate) arguments: Vec<Argument<'a>>,
    /// The return type of the function; its lifetimes are [`MESSAGE`].
    pub(crate) reply: Type,
    /// Whether `Debug` hides the reply.
    pub(crate) is_reply_secret: bool,
    /// Whether executing the operation twice does no harm.
    pub(crate) is_idempotent: bool,
    /// The items of a streamed reply, or the chunks after the request. A generated type with the name of the variants
    /// declares their type.
    pub(crate) stream: Option<MessageStream>,
}

/// A parameter that is a field of a request.
pub(crate) struct Argument<'a> {
    pub(crate) name: Ident,
    pub(crate) written: &'a Type,
    /// The type with the lifetime [`MESSAGE`].
    pub(crate) ty: Type,
    /// Whether `Debug` hides the argument.
    pub(crate) is_secret: bool,
}

impl Operation<'_> {
    /// Returns `true` if chunks follow the request.
    pub(crate) fn takes_chunks(&self) -> bool {
        matches!(&self.stream, Some(stream) if stream.kind == StreamKind::CHUNKS)
    }

    /// Returns `true` if an argument borrows.
    pub(crate) fn borrows(&self) -> bool {
        let mut arguments = self.arguments.iter();
        arguments.any(|argument| lifetimes::borrows(&argument.ty))
    }
}

impl<'a> Operations<'a> {
    /// Resolves a module, and reports all errors in it.
    pub(super) fn resolve(options: &Options, module: &'a Module, errors: &mut Errors) -> Self {
        if let Some(name) = &options.name {
            let message = "the types in a module have fixed names: remove this one";
            errors.at(name, message);
        }
        if options.given(OptionName::Format).is_none() {
            let help = "write `format = Json`, `Postcard` or `MessagePack`";
            let message = format_args!("operations need a format: {help}");
            errors.at(&module.ident, message);
        }
        let (mut list, mut handlers) = (Vec::new(), Vec::new());
        for function in module.operations() {
            let operation =
                resolve_operation(options, module, function, &list, &mut handlers, errors);
            list.extend(operation);
        }
        if handlers.is_empty() {
            let message = "a protocol has an operation: write a `pub fn` in the module";
            errors.at(&module.ident, message);
        }
        let mut uploads = list.iter().filter(|operation| operation.takes_chunks());
        let upload = uploads
            .next()
            .map(|operation| &operation.handler.function.sig.ident);
        let server = (options.side == Side::Server).then(|| {
            check_server_options(options, module.operations(), errors);
            // The states of a function with an error count too, so that the type keeps its fields.
            let ty = ProtocolType::of_module(module);
            ServerImpl::of(options, handlers.iter(), ty, upload, errors)
        });
        Self {
            module,
            list,
            server,
            pushes: MessageStream::of_options(&[StreamKind::EVENTS], options, errors).pop(),
        }
    }
}

/// Resolves a function, and reports all errors in it. Adds its handler to the others even if there is an error.
fn resolve_operation<'a>(
    options: &Options,
    module: &Module,
    function: &'a Function,
    others: &[Operation<'_>],
    handlers: &mut Vec<Handler<'a>>,
    errors: &mut Errors,
) -> Option<Operation<'a>> {
    check_receiver(Side::Server, function, errors);
    if options.side == Side::Server && !function.has_body() {
        // In a module, rustc asks for a body. A client leaves out the function, and needs none.
        errors.leave_to_rustc();
    }
    let variant = resolve_variant(function, others, errors);
    let attrs = OperationAttrs::resolve(function, errors);
    let kind = CallKind::resolve(function, attrs.blocking, errors);
    let (mut parameters, mut arguments) =
        resolve_parameters(options, function, attrs.is_secret, errors);
    if !check_generated_names(options, module, function, errors) {
        // A state of such a type would contain itself.
        (parameters, arguments) = Default::default();
    }
    let handler = Handler::new(function, kind, parameters);
    if matches!(&attrs.stream, Some(stream) if stream.kind == StreamKind::CHUNKS) {
        handler.check_framing_is_kept(errors);
    }
    handlers.push(handler.clone());
    let reply = resolve_reply(function, errors).map(|reply| lifetimes::unify(&reply, MESSAGE));
    let (arguments, reply) = (arguments?, reply?);
    let messages = arguments.iter().map(|argument| &argument.ty);
    if !check_concrete(messages.chain([&reply]), &function.sig.generics, errors) {
        return None;
    }
    if options.side == Side::Server {
        generics::check_unused(&handler.unused_params, "`#[state]`", errors);
    }
    let variant = variant?;
    if options.side == Side::Server {
        handler.check_handles_can_wait(&variant.to_string(), errors);
    }
    if let Some(stream) = &attrs.stream
        && !check_stream(stream, function, &variant, errors)
    {
        return None;
    }
    let number = match options.given(OptionName::Describe) {
        // The description has the same number in all modules, whatever operations are added.
        Some(option) if function.sig.ident == *option => u32::MAX,
        _ => u32::try_from(others.len()).unwrap_or(u32::MAX),
    };
    Some(Operation {
        handler,
        index: others.len(),
        number,
        name: function.sig.ident.unraw().to_string(),
        variant,
        arguments,
        reply,
        is_reply_secret: attrs.is_secret,
        is_idempotent: attrs.is_idempotent,
        stream: attrs.stream,
    })
}

/// Reports the names of generated types in a signature, which hide types of these names that the module imports by
/// `use super::*`. A name at the end of a path is another type.
fn check_generated_names(
    options: &Options,
    module: &Module,
    function: &Function,
    errors: &mut Errors,
) -> bool {
    let params = generics::param_idents(&function.sig.generics);
    let mut sig = function.sig.clone();
    let mut parameters = Vec::new();
    // A handle names the protocol, as in `Push<Protocol>`. If there are events, connections and states may keep such a
    // handle.
    let may_keep = options.given(OptionName::Push).is_some();
    let has_handle = |ty: &Type| {
        let mut words = path_starts(ty.to_token_stream()).into_iter();
        words.any(|word| is_one_of(&word, StreamKind::EVENTS.handles))
    };
    for input in &mut sig.inputs {
        let FnArg::Typed(parameter) = input else {
            continue;
        };
        if let Some(name) = parameter::name(&parameter.pat) {
            parameters.push(name.clone());
            *parameter.pat = parse_quote!(_);
        }
        if parameter::is_context(parameter, function)
            || has_handle(&parameter.ty)
            || may_keep && parameter.attrs.iter().any(parameter::is_ours)
        {
            let ty = without_argument(parameter.ty.to_token_stream(), "Protocol");
            *parameter.ty = Type::Verbatim(ty);
        }
    }
    let mut types = path_starts(sig.to_token_stream());
    // Only the declaration of a parameter is the mistake, and not its uses.
    types.retain(|word| !params.contains(word));
    let mut is_valid = true;
    for (words, help) in [
        ([params, parameters].concat(), "rename the parameter"),
        (types, "name yours by a path"),
    ] {
        for word in words.iter().filter(|word| is_one_of(word, GENERATED)) {
            // A type of this name in the module has an error already.
            if !module.refused.contains(word) {
                let message = format_args!("`{word}` is the generated type here: {help}");
                errors.at(word, message);
            }
            is_valid = false;
        }
    }
    is_valid
}

/// Reports items or chunks whose type depends on a parameter, or whose type cannot have the name.
fn check_stream(
    stream: &MessageStream,
    function: &Function,
    name: &Ident,
    errors: &mut Errors,
) -> bool {
    let is_message = |name| mentions_one_of(&stream.message, std::slice::from_ref(name));
    let why = if is_one_of(name, GENERATED) {
        format!("`{name}` is the generated type here")
    } else if is_in_prelude(&name.to_string()) {
        format!("its type would hide the prelude's `{name}`")
    } else if is_message(name) {
        let messages = stream.kind.many;
        format!("its type would hide the `{name}` of its {messages}")
    } else {
        return check_concrete(stream.message.iter(), &function.sig.generics, errors);
    };
    let ident = &function.sig.ident;
    errors.at(ident, format_args!("{why}: rename the operation"));
    false
}

/// Reports messages whose types depend on a parameter.
fn check_concrete<'t>(
    messages: impl Iterator<Item = &'t Type>,
    generics: &Generics,
    errors: &mut Errors,
) -> bool {
    let params = generics::param_idents(generics);
    let mut generic: Vec<_> = messages
        .filter(|ty| mentions_one_of(*ty, &params))
        .collect();
    generic.dedup_by(|one, other| same_tokens(*one, *other));
    let message = "both ends know the messages: name the type instead of a parameter";
    errors.at_each(&generic, message)
}

/// Finds the sources of an operation's parameters. Also returns the arguments in its request, unless there is an error
/// in a parameter. If `all_secret`, `Debug` hides each of them.
fn resolve_parameters<'a>(
    options: &Options,
    function: &'a Function,
    all_secret: bool,
    errors: &mut Errors,
) -> (Parameters, Option<Vec<Argument<'a>>>) {
    let mut parameters = Parameters::default();
    let mut arguments = Vec::new();
    let mut is_valid = function.sig.receiver().is_none();
    for parameter in function.parameters() {
        let role = match parameter::resolve_role(parameter, errors) {
            Role::Plain if parameter::is_context(parameter, function) => Role::Context,
            Role::Plain if parameter::lacks_state(parameter, errors) => Role::State,
            role => role,
        };
        match role {
            role @ (Role::Plain | Role::Secret) => {
                match resolve_argument(parameter, &arguments, errors) {
                    Some((name, ty)) => {
                        parameters.push(ParameterSource::Argument(name.clone()));
                        arguments.push(Argument {
                            name,
                            written: &parameter.ty,
                            ty,
                            is_secret: all_secret || role == Role::Secret,
                        });
                    }
                    None => is_valid = false,
                }
            }
            Role::Unclear => is_valid = false,
            // A client does not need these parameters, and may not know their types.
            Role::State | Role::Session | Role::Framing | Role::Context
                if options.side == Side::Client => {}
            role => parameters.resolve_one(role, parameter, errors),
        }
    }
    (parameters, is_valid.then_some(arguments))
}

/// Returns the name and the type of an argument.
fn resolve_argument(
    parameter: &PatType,
    others: &[Argument<'_>],
    errors: &mut Errors,
) -> Option<(Ident, Type)> {
    let ty = resolve_message(&parameter.ty, "a request", errors);
    let Some(name) = parameter::name(&parameter.pat) else {
        let message = "an argument of an operation needs a name: write `name: Type`";
        errors.at(&parameter.pat, message);
        return None;
    };
    if others.iter().any(|other| other.name == *name) {
        errors.leave_to_rustc();
        return None;
    }
    Some((name.clone(), lifetimes::unify(&ty?, MESSAGE)))
}

/// Returns the name of the operation's variants.
fn resolve_variant(
    function: &Function,
    others: &[Operation<'_>],
    errors: &mut Errors,
) -> Option<Ident> {
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    let camel = upper_camel(&name);
    let why = if CLIENT_METHODS.contains(&name.as_str()) {
        format!("`Client` has a method `{name}` already")
    } else if !is_type_name(&name, &camel) {
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
