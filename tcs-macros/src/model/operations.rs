//! Resolves the operations of a module, one by one and against each other.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{PatType, Type, ext::IdentExt as _};

use super::{
    Field, check_receiver, generics,
    handler::{ArgumentSource, Arguments, CallKind, Handler},
    message::resolve_message,
    parameter::{self, Role},
    protocol_type::ItemRef,
    server::{ServerImpl, check_session_option, resolve_reply},
};
use crate::{
    args::{Args, OptionName, Side},
    errors::Errors,
    item::{Function, Module},
    syntax::{
        added_attrs, is_one_of, is_type_name,
        lifetimes::{self, MESSAGE},
        names_one_of, path_starts, upper_camel,
    },
};

/// The names of the types that are generated in a module.
const GENERATED: &[&str] = &["Client", "Contract", "Protocol", "Reply", "Request"];

/// The methods of the generated client that are not operations.
const CLIENT_METHODS: &[&str] = &["clone", "connect", "into_inner", "over", "share"];

/// A module of operations.
pub(crate) struct Operations<'a> {
    pub(crate) module: &'a Module,
    pub(crate) list: Vec<Operation<'a>>,
    /// How each function is called, also one that is no operation because of an error.
    pub(crate) handlers: Vec<Handler<'a>>,
    /// The server's side. There is none if the attribute makes the client alone.
    pub(crate) server: Option<ServerImpl<'a>>,
}

/// An operation, with its request and its reply.
pub(crate) struct Operation<'a> {
    pub(crate) function: &'a Function,
    pub(crate) index: usize,
    /// The name in messages and in texts.
    pub(crate) name: String,
    /// The name of the variants in the enums of requests and replies.
    pub(crate) variant: Ident,
    /// The fields of the request; their lifetimes are [`MESSAGE`].
    pub(crate) arguments: Vec<Field>,
    /// The return type of the function; its lifetimes are [`MESSAGE`].
    pub(crate) reply: Type,
}

impl Operation<'_> {
    /// Returns whether an argument borrows.
    pub(crate) fn borrows(&self) -> bool {
        let mut arguments = self.arguments.iter();
        arguments.any(|argument| lifetimes::borrows(&argument.ty))
    }
}

impl<'a> Operations<'a> {
    /// Resolves a module, and reports all errors in it.
    pub(super) fn resolve(args: &Args, module: &'a Module, errors: &mut Errors) -> Self {
        check_options(args, errors);
        if args.given(OptionName::Format).is_none() {
            let help = "write `format = Json`, `Postcard` or `MessagePack`";
            let message = format_args!("operations need a format: {help}");
            errors.at(&module.ident, message);
        }
        let (mut list, mut handlers) = (Vec::new(), Vec::new());
        for function in module.operations() {
            let (handler, operation) = resolve_function(args.side, function, &list, errors);
            handlers.push(handler);
            list.extend(operation);
        }
        if handlers.is_empty() {
            let message = "a protocol has an operation: write a `pub fn` in the module";
            errors.at(&module.ident, message);
        }
        let server = (args.side == Side::Server).then(|| {
            check_session_option(args, module.operations(), errors);
            let name = Ident::new("Protocol", module.ident.span());
            ServerImpl::of(&handlers, ItemRef::Module(module), name)
        });
        Self {
            module,
            list,
            handlers,
            server,
        }
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    use OptionName::{Blocking, Reply, Request, Server};
    if let Some(name) = &args.name {
        let message = "the types in a module have fixed names: remove this one";
        errors.at(name, message);
    }
    if let Some(option) = args.given(Blocking) {
        let message = "a function of a module says so itself: write `#[blocking]` before it";
        errors.at(option, message);
    }
    for option in args.given_of(&[Server, Request, Reply]) {
        let message = format_args!("a module has both halves: remove `{option}`");
        errors.at(option, message);
    }
}

/// Returns how a function is called, and the operation that it is unless there is an error in it.
fn resolve_function<'a>(
    side: Side,
    function: &'a Function,
    others: &[Operation<'a>],
    errors: &mut Errors,
) -> (Handler<'a>, Option<Operation<'a>>) {
    check_receiver(Side::Server, function, errors);
    if side == Side::Server && !function.has_body() {
        // In a module, rustc asks for a body. A client leaves out the function, and needs none.
        errors.leave_to_rustc();
    }
    let variant = resolve_variant(function, others, errors);
    let kind = resolve_kind(function, errors);
    let (mut call_arguments, request) = resolve_arguments(side, function, errors);
    let reply = resolve_reply(function, errors).map(|reply| lifetimes::unify(&reply, MESSAGE));
    // They hide types of these names that the module imports by `use super::*`. One at the end of a path is another.
    let mut generated = path_starts(function.sig.to_token_stream());
    generated.retain(|word| is_one_of(word, GENERATED));
    for word in &generated {
        let help = "is the generated type here: name yours by a path";
        errors.at(word, format_args!("`{word}` {help}"));
    }
    if !generated.is_empty() {
        // A state of such a type would contain itself.
        call_arguments = Arguments::default();
    }
    let handler = Handler::new(function, kind, call_arguments);
    let (Some(arguments), Some(reply)) = (request, reply) else {
        return (handler, None);
    };
    let params = generics::names(&function.sig.generics);
    let types = arguments.iter().map(|argument| &argument.ty);
    let types = types.chain([&reply]);
    let generic: Vec<_> = types.filter(|ty| names_one_of(*ty, &params)).collect();
    for ty in &generic {
        let message = "both ends know the messages: name the type instead of a parameter";
        errors.at(*ty, message);
    }
    if !generic.is_empty() || !generated.is_empty() {
        return (handler, None);
    }
    if side == Side::Server {
        handler.check_unused_params(errors);
    }
    let operation = variant.map(|variant| Operation {
        function,
        index: others.len(),
        name: function.sig.ident.unraw().to_string(),
        variant,
        arguments,
        reply,
    });
    (handler, operation)
}

/// Finds where each argument of an operation comes from. Also returns those in its request, unless there is an
/// error in a parameter.
fn resolve_arguments(
    side: Side,
    function: &Function,
    errors: &mut Errors,
) -> (Arguments, Option<Vec<Field>>) {
    let mut arguments = Arguments::default();
    let mut request = Vec::new();
    let mut is_valid = function.sig.receiver().is_none();
    for parameter in function.parameters() {
        match parameter::resolve_role(parameter, errors) {
            Role::Plain => match resolve_argument(parameter, &request, errors) {
                Some(argument) => {
                    let name = argument.name.clone();
                    arguments.push(ArgumentSource::Argument(name));
                    request.push(argument);
                }
                None => is_valid = false,
            },
            Role::Unclear => is_valid = false,
            // A client neither has nor needs them: it may not even know their types.
            Role::State | Role::Session | Role::Context if side == Side::Client => {}
            role => arguments.add(role, parameter, errors),
        }
    }
    (arguments, is_valid.then_some(request))
}

/// Returns how an operation is called, which its attributes say.
fn resolve_kind(function: &Function, errors: &mut Errors) -> CallKind {
    let mut blocking = None;
    for attr in &function.attrs {
        let path = attr.path();
        let mut added = added_attrs(&attr.meta).into_iter();
        if added.any(|attr| attr.path().is_ident("cfg")) {
            let message =
                "both ends know the same operations: remove the `#[cfg]`, or reject inside";
            errors.at(path, message);
        }
        if path.is_ident("blocking") {
            parameter::check_empty(attr, errors);
            blocking = Some(path);
        }
    }
    CallKind::resolve(function, blocking, errors)
}

fn resolve_argument(parameter: &PatType, others: &[Field], errors: &mut Errors) -> Option<Field> {
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
    Some(Field {
        name: name.clone(),
        ty: lifetimes::unify(&ty?, MESSAGE),
    })
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
