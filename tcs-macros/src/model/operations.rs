//! Resolves the operations of a module, one by one and against each other.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{PatType, Signature, Type, ext::IdentExt as _};

use super::{
    Field, check_receiver, generics,
    handler::{ArgumentSource, CallKind, Handler, Sources, check_unused},
    message::resolve_message,
    parameter::{self, Role},
    protocol_type::Source,
    server::{ServerImpl, check_session_option, resolve_reply},
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

/// The methods of the generated client that are not operations.
const CLIENT_METHODS: &[&str] = &["clone", "connect", "into_inner", "over", "share"];

/// A module of operations.
pub(crate) struct Operations<'a> {
    pub(crate) module: &'a Module,
    pub(crate) list: Vec<Operation<'a>>,
    /// The server's side. There is none if the attribute makes the client alone.
    pub(crate) server: Option<ServerImpl<'a>>,
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
    /// Resolves a module, and reports all that is wrong.
    pub(super) fn resolve(args: &Args, module: &'a Module, errors: &mut Errors) -> Self {
        check_options(args, errors);
        if args.given(OptionName::Format).is_none() {
            let help = "write `format = Json`, `Postcard` or `MessagePack`";
            let message = format_args!("operations need a format: {help}");
            errors.at(&module.ident, message);
        }
        let mut list: Vec<Operation<'_>> = Vec::new();
        let mut others = Vec::new();
        for function in module.operations() {
            match resolve_function(args.side, function, &list, errors) {
                Ok(operation) => list.push(operation),
                Err(handler) => others.push(handler),
            }
        }
        if module.operations().next().is_none() {
            let help = "a protocol has an operation: write a `pub fn` in the module";
            errors.at(&module.ident, help);
        }
        let server = (args.side == Side::Server).then(|| {
            check_session_option(args, module.operations(), errors);
            let handlers = list.iter().map(|operation| &operation.handler);
            let handlers: Vec<_> = handlers.chain(&others).collect();
            let name = Ident::new("Protocol", module.ident.span());
            ServerImpl::of(&handlers, Source::Module(module), name)
        });
        Self {
            module,
            list,
            server,
        }
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    use OptionName::{Blocking, Reply, Request, Server};
    if let Some(name) = &args.name {
        let help = "the types in a module have fixed names: remove this one";
        errors.at(name, help);
    }
    if let Some(option) = args.given(Blocking) {
        let help = "a function of a module says so itself: write `#[blocking]` before it";
        errors.at(option, help);
    }
    for option in args.given_of(&[Server, Request, Reply]) {
        let message = format_args!("a module has both halves: remove `{option}`");
        errors.at(option, message);
    }
}

/// Returns the operation that a function is. If something is wrong with it, returns what the type of the
/// protocol needs of it, so that the type has its states all the same.
#[expect(clippy::result_large_err, reason = "an operation is larger")]
fn resolve_function<'a>(
    side: Side,
    function: &'a Function,
    others: &[Operation<'a>],
    errors: &mut Errors,
) -> Result<Operation<'a>, Handler<'a>> {
    check_receiver(Side::Server, function, errors);
    if side == Side::Server && !function.has_body() {
        // In a module, rustc asks for a body. A client leaves out the function, and needs none.
        errors.leave_to_rustc();
    }
    let variant = resolve_variant(function, others, errors);
    let kind = resolve_kind(function, errors);
    let (mut sources, arguments) = resolve_arguments(side, function, errors);
    let reply = resolve_reply(function, errors).map(|reply| lifetimes::unify(&reply, MESSAGE));
    let generated = generated_names(&function.sig);
    for word in &generated {
        let help = "is the generated type here: name yours by a path";
        errors.at(word, format_args!("`{word}` {help}"));
    }
    if !generated.is_empty() {
        // A state of such a type would contain itself.
        sources = Sources::default();
    }
    let (handler, unused) = Handler::new(function, kind, sources);
    let (Some(arguments), Some(reply)) = (arguments, reply) else {
        return Err(handler);
    };
    let params = generics::names(&function.sig.generics);
    let types = arguments.iter().map(|argument| &argument.ty);
    let types = types.chain([&reply]);
    let generic: Vec<_> = types.filter(|ty| names_one_of(*ty, &params)).collect();
    for ty in &generic {
        let help = "both ends know the messages: name the type instead of a parameter";
        errors.at(*ty, help);
    }
    if !generic.is_empty() || !generated.is_empty() {
        return Err(handler);
    }
    if side == Side::Server {
        check_unused(&unused, errors);
    }
    let Some(variant) = variant else {
        return Err(handler);
    };
    Ok(Operation {
        index: others.len(),
        name: function.sig.ident.unraw().to_string(),
        variant,
        arguments,
        reply,
        handler,
    })
}

/// Finds where each argument of an operation comes from. Returns also those that its request has, if all
/// parameters are right.
fn resolve_arguments(
    side: Side,
    function: &Function,
    errors: &mut Errors,
) -> (Sources, Option<Vec<Field>>) {
    let mut sources = Sources::default();
    let mut arguments = Vec::new();
    let mut is_valid = function.sig.receiver().is_none();
    for parameter in function.parameters() {
        match parameter::resolve_role(parameter, errors) {
            Role::Plain => match resolve_argument(parameter, &arguments, errors) {
                Some(argument) => {
                    let name = argument.name.clone();
                    sources.0.push(ArgumentSource::Argument(name));
                    arguments.push(argument);
                }
                None => is_valid = false,
            },
            Role::Unclear => is_valid = false,
            // A client neither has nor needs them: it may not even know their types.
            Role::State | Role::Session | Role::Context if side == Side::Client => {}
            role => sources.add(role, parameter, errors),
        }
    }
    (sources, is_valid.then_some(arguments))
}

/// Returns the generated types that a signature names, other than at the end of a path.
///
/// The generated types hide types of these names that the module imports by `use super::*`.
fn generated_names(signature: &Signature) -> Vec<Ident> {
    let mut words = path_starts(signature.to_token_stream());
    words.retain(|word| is_one_of(word, GENERATED));
    words
}

/// Returns how an operation is called, which its attributes say.
fn resolve_kind(function: &Function, errors: &mut Errors) -> CallKind {
    let mut blocking = None;
    for attr in &function.attrs {
        let path = attr.path();
        let is_cfg_in = || path.is_ident("cfg_attr") && mentions(&attr.meta, "cfg");
        if path.is_ident("cfg") || is_cfg_in() {
            let help = "both ends know the same operations: remove the `#[cfg]`, or reject inside";
            errors.at(path, help);
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn client_methods_are_those_of_the_library() {
        let file = "../tcs/src/macro_support/macros.rs";
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
            .expect("the library is beside this crate");
        let (_, client) = text
            .split_once("macro_rules! __client")
            .expect("it is there");
        let (client, _) = client
            .split_once("macro_rules!")
            .expect("it is not the last");
        assert!(
            client.contains("#[derive(Clone, Debug)]"),
            "the derived methods"
        );
        let functions = client.split("fn ").skip(1);
        let names = functions.filter_map(|function| function.split(['(', '<']).next());
        let mut names: Vec<_> = names.chain(["clone"]).collect();
        names.sort_unstable();
        assert_eq!(CLIENT_METHODS, names);
    }
}
