//! Checks the operations of a module, one by one and against each other.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{FnArg, PatType, Type, TypePath, ext::IdentExt as _};

use super::{
    module::Module,
    names::{generated_in, variant},
};
use crate::{
    args::Args,
    emit::{Field, field},
    errors::Errors,
    generics,
    item::Function,
    lifetimes::{self, borrows},
    names::is_one_of,
    options::Attribute,
    parameter::{self, Role},
    server::{
        model::{Argument, Model, check_reply},
        parameters,
    },
    spans::numbered,
};

/// The formats of this library that carry no enums of serde.
const UNFIT: &[&str] = &["Codec", "Plain", "Protobuf"];

/// The operations of a module. What is wrong has been reported and is left out.
pub(super) struct Operations<'a> {
    pub(super) list: Vec<Operation<'a>>,
    /// States, session and generics of all of them.
    pub(super) model: Model,
    /// Whether there is a format that carries them.
    pub(super) is_carried: bool,
}

/// A function with what a message says of it.
pub(super) struct Operation<'a> {
    /// Its place among all of them.
    pub(super) number: u32,
    pub(super) function: &'a Function,
    /// The name in messages and in texts.
    pub(super) name: String,
    pub(super) variant: Ident,
    /// What the request says; their lifetimes are `'a`.
    pub(super) arguments: Vec<Field>,
    /// What the function returns; its lifetimes are `'a`.
    pub(super) reply: Type,
    /// What it is called with.
    pub(super) model: Model,
    pub(super) is_blocking: bool,
}

impl Operations<'_> {
    /// Tells whether a request borrows.
    pub(super) fn request_borrows(&self) -> bool {
        for operation in &self.list {
            for argument in &operation.arguments {
                if borrows(&argument.ty) {
                    return true;
                }
            }
        }
        false
    }

    /// Tells whether a reply borrows.
    pub(super) fn reply_borrows(&self) -> bool {
        for operation in &self.list {
            if borrows(&operation.reply) {
                return true;
            }
        }
        false
    }
}

impl Operation<'_> {
    /// Returns its request, as a pattern or an expression: the arguments are `argument_0` and so on.
    pub(super) fn bound(&self, span: Span) -> TokenStream {
        let mut fields = TokenStream::new();
        for (place, Field { name, .. }) in self.arguments.iter().enumerate() {
            let bound = numbered("argument", place, span);
            fields.extend(quote_spanned!(span=> #name: #bound,));
        }
        let variant = &self.variant;
        quote_spanned!(span=> #variant { #fields })
    }
}

/// Checks all of them, reporting all that is wrong.
pub(super) fn check<'a>(
    attribute: Attribute,
    args: &Args,
    module: &'a Module,
    errors: &mut Errors,
) -> Operations<'a> {
    let is_carried = check_options(attribute, args, module, errors);
    let mut operations = Operations {
        list: Vec::new(),
        model: Model::new(syn::Generics::default()),
        is_carried,
    };
    let mut seen: Vec<&Ident> = Vec::new();
    for function in module.operations() {
        let ident = &function.sig.ident;
        if seen.contains(&ident) {
            errors.leave_to_rustc();
            continue;
        }
        seen.push(ident);
        let variant = variant(function, &operations.list, errors);
        let checked = check_one(attribute, function, errors);
        operations.merge(&checked.model, errors);
        if let (Some(variant), Some((arguments, reply))) = (variant, checked.messages) {
            operations.list.push(Operation {
                number: u32::try_from(operations.list.len()).unwrap_or(u32::MAX),
                function,
                name: ident.unraw().to_string(),
                variant,
                arguments,
                reply,
                model: checked.model,
                is_blocking: checked.is_blocking,
            });
        }
    }
    if seen.is_empty() {
        errors.at(
            &module.ident,
            "a protocol has an operation: write a `pub fn` in the module",
        );
    }
    if attribute == Attribute::Server
        && let (Some(option), None) = (args.given("session"), &operations.model.session)
    {
        errors.at(
            option,
            "`session` is for a `#[session]` parameter, and there is none: remove one",
        );
    }
    operations
}

/// Returns whether the format is one that carries operations.
fn check_options(attribute: Attribute, args: &Args, module: &Module, errors: &mut Errors) -> bool {
    if let Some(name) = &args.name {
        errors.at(
            name,
            "the types in a module have their names: remove this one",
        );
    }
    if let Some(option) = args.given("blocking") {
        errors.at(
            option,
            "a function of a module says so itself: write `#[blocking]` before it",
        );
    }
    if attribute == Attribute::Client {
        for option in &["server", "request", "reply"] {
            if let Some(option) = args.given(option) {
                errors.at(
                    option,
                    format_args!("a module has both halves: remove `{option}`"),
                );
            }
        }
    }
    match &args.format {
        None if args.given("format").is_some() => false,
        None => {
            errors.at(
                &module.ident,
                "operations need a format: write `format = Json`, `Postcard` or `MessagePack`",
            );
            false
        }
        Some(Type::Path(TypePath { path, .. }))
            if let Some(last) = path.segments.last()
                && is_one_of(&last.ident, UNFIT) =>
        {
            let name = &last.ident;
            errors.at(
                &args.format,
                format_args!(
                    "`{name}` carries no operations: write `Json`, `Postcard` or `MessagePack`"
                ),
            );
            false
        }
        Some(_) => true,
    }
}

/// A function whose name is not looked at.
struct Checked {
    model: Model,
    messages: Option<(Vec<Field>, Type)>,
    is_blocking: bool,
}

fn check_one(attribute: Attribute, function: &Function, errors: &mut Errors) -> Checked {
    function.check("server_protocol", errors);
    if attribute == Attribute::Server && !function.has_body() {
        errors.leave_to_rustc();
    }
    let is_blocking = check_attributes(function, errors);
    let mut model = Model::new(generics::of_type(&function.sig.generics));
    let reply = check_reply(function, errors);
    let mut arguments = Some(Vec::new());
    for input in &function.sig.inputs {
        let FnArg::Typed(parameter) = input else {
            arguments = None;
            continue;
        };
        match (parameter::role(parameter, errors), attribute) {
            (Role::Plain, _) => {
                let argument = check_argument(parameter, arguments.as_deref(), errors);
                match (argument, &mut arguments) {
                    (Some(argument), Some(arguments)) => {
                        model.arguments.push(Argument::Request);
                        arguments.push(argument);
                    }
                    _ => arguments = None,
                }
            }
            (Role::State, Attribute::Server) => model.state(parameter, errors),
            (Role::Session, Attribute::Server) => model.session(parameter, errors),
            (Role::Context, Attribute::Server) => model.extracted(&parameter.ty, errors),
            (Role::Unclear, _) => arguments = None,
            (_, Attribute::Client) => {}
        }
    }
    let mut messages = match (arguments, reply) {
        (Some(arguments), Some(reply)) => Some((arguments, lifetimes::unify(&reply, "'a"))),
        _ => None,
    };
    if let Some((arguments, reply)) = &messages {
        let mut is_right = true;
        for argument in arguments {
            is_right &= check_message(function, &argument.ty, errors);
        }
        is_right &= check_message(function, reply, errors);
        if !is_right {
            // Where the parameters occur says enough.
            return Checked {
                model: Model::new(syn::Generics::default()),
                messages: None,
                is_blocking,
            };
        }
    }
    if attribute == Attribute::Server {
        let unused = generics::check_used(
            &mut model.generics,
            &model.fields,
            "must occur in the type of a `#[state]`: nothing else decides what it is",
            errors,
        );
        if !unused.is_empty() {
            messages = None;
        }
    }
    Checked {
        model,
        messages,
        is_blocking,
    }
}

/// Checks the type of an argument or a reply; returns whether both ends know it.
fn check_message(function: &Function, ty: &Type, errors: &mut Errors) -> bool {
    if generics::mentions_any(ty, &generics::names(&function.sig.generics)) {
        errors.at(
            ty,
            "both ends know the messages: name the type instead of a parameter",
        );
        return false;
    }
    if let Some(name) = generated_in(&ty.to_token_stream()) {
        errors.at(
            &name,
            format_args!("`{name}` is the generated type here: name yours by a path"),
        );
        return false;
    }
    true
}

/// Checks the attributes of an operation; returns whether it blocks.
fn check_attributes(function: &Function, errors: &mut Errors) -> bool {
    let mut is_blocking = false;
    for attr in &function.attrs {
        if attr.path().is_ident("cfg") {
            errors.at(
                attr.path(),
                "both ends know the same operations: remove the `#[cfg]`, or refuse inside",
            );
        }
        if attr.path().is_ident("blocking") {
            is_blocking = true;
            if !matches!(attr.meta, syn::Meta::Path(_)) {
                errors.at(
                    &attr.meta,
                    "`#[blocking]` takes nothing: write `#[blocking]`",
                );
            }
            if function.is_async() {
                errors.at(
                    attr.path(),
                    "`blocking` is for a plain `fn`: remove it, or the `async` of the function",
                );
            }
        }
    }
    is_blocking
}

fn check_argument(
    parameter: &PatType,
    others: Option<&[Field]>,
    errors: &mut Errors,
) -> Option<Field> {
    let ty = parameters::request(&parameter.ty, errors);
    let Some(name) = parameter::name(&parameter.pat) else {
        errors.at(
            &parameter.pat,
            "an argument has a name, which the client's method has as well",
        );
        return None;
    };
    if others.is_some_and(|others| field(others, name).is_some()) {
        errors.leave_to_rustc();
        return None;
    }
    Some(Field {
        name: name.clone(),
        ty: lifetimes::unify(&ty?, "'a"),
    })
}
