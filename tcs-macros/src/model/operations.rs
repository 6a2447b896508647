//! Checks the operations of a module, one by one and against each other.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::{Generics, Meta, PatType, Type, ext::IdentExt as _};

use super::{
    message,
    server::{Argument, Exchange, Protocol, check_reply, check_session_option},
};
use crate::{
    aim::numbered,
    args::{Args, Attribute},
    errors::Errors,
    generics,
    item::{Function, GENERATED, Module},
    lifetimes::{self, borrows},
    parameter::{self, Role},
    types::{Field, mentions},
    words::{is_one_of, is_type_name, upper_camel},
};

/// The formats of this library that carry no enums of serde.
const UNFIT: &[&str] = &["Codec", "Plain", "Protobuf"];

/// What the generated client has besides the operations.
const METHODS: &[&str] = &["connect", "into_inner", "over", "share"];

/// The operations of a module.
pub(crate) struct Operations<'a> {
    pub(crate) list: Vec<Operation<'a>>,
    /// What the server is made of.
    pub(crate) protocol: Protocol<'a>,
    /// Whether there is a format that carries them.
    pub(crate) is_carried: bool,
}

/// A function with what a message says of it.
pub(crate) struct Operation<'a> {
    /// Its place among all of them.
    pub(crate) number: u32,
    /// The name in messages and in texts.
    pub(crate) name: String,
    pub(crate) variant: Ident,
    /// What the request says; their lifetimes are `'a`.
    pub(crate) arguments: Vec<Field>,
    /// What the function returns; its lifetimes are `'a`.
    pub(crate) reply: Type,
    pub(crate) exchange: Exchange<'a>,
}

impl Operation<'_> {
    /// Returns whether its request borrows.
    pub(crate) fn borrows(&self) -> bool {
        self.arguments.iter().any(|argument| borrows(&argument.ty))
    }

    /// Returns its request, as a pattern or an expression: the arguments are `argument_0` and so on.
    pub(crate) fn bound(&self, span: Span) -> TokenStream {
        let names = self.arguments.iter().map(|argument| &argument.name);
        let (bound, variant) = (self.bound_arguments(span), &self.variant);
        quote_spanned!(span=> #variant { #(#names: #bound),* })
    }

    pub(crate) fn bound_arguments(&self, span: Span) -> Vec<Ident> {
        (0..self.arguments.len())
            .map(|place| numbered("argument", place, span))
            .collect()
    }
}

impl<'a> Operations<'a> {
    /// Checks all of them, reporting all that is wrong.
    pub(crate) fn check(
        attribute: Attribute,
        args: &Args,
        module: &'a Module,
        errors: &mut Errors,
    ) -> Self {
        check_options(attribute, args, errors);
        let is_carried = check_format(args, module, errors);
        let mut list: Vec<Operation<'_>> = Vec::new();
        let mut others: Vec<Exchange<'_>> = Vec::new();
        let mut seen: Vec<&Ident> = Vec::new();
        for function in module.operations() {
            let ident = &function.sig.ident;
            if seen.contains(&ident) {
                errors.leave_to_rustc();
                continue;
            }
            seen.push(ident);
            let variant = variant(function, &list, errors);
            let (exchange, messages) = check_one(attribute, function, errors);
            match (variant, messages) {
                (Some(variant), Some((arguments, reply))) => list.push(Operation {
                    number: u32::try_from(list.len()).unwrap_or(u32::MAX),
                    name: ident.unraw().to_string(),
                    variant,
                    arguments,
                    reply,
                    exchange,
                }),
                _ => others.push(exchange),
            }
        }
        if seen.is_empty() {
            let cure = "a protocol has an operation: write a `pub fn` in the module";
            errors.at(&module.ident, cure);
        }
        let checked = list.iter().map(|operation| &operation.exchange);
        let exchanges: Vec<_> = checked.chain(&others).collect();
        let protocol = Protocol::of(&module.ident, &exchanges);
        if attribute == Attribute::Server {
            check_session_option(args, protocol.session.is_some(), errors);
        }
        Self {
            list,
            protocol,
            is_carried,
        }
    }
}

fn check_options(attribute: Attribute, args: &Args, errors: &mut Errors) {
    if let Some(name) = &args.name {
        let cure = "the types in a module have their names: remove this one";
        errors.at(name, cure);
    }
    if let Some(option) = args.given("blocking") {
        let cure = "a function of a module says so itself: write `#[blocking]` before it";
        errors.at(option, cure);
    }
    if attribute == Attribute::Client {
        for option in ["server", "request", "reply"] {
            if let Some(option) = args.given(option) {
                let message = format_args!("a module has both halves: remove `{option}`");
                errors.at(option, message);
            }
        }
    }
}

/// Returns whether the format is one that carries operations.
fn check_format(args: &Args, module: &Module, errors: &mut Errors) -> bool {
    let Some(format) = &args.format else {
        if args.given("format").is_none() {
            let cure = "write `format = Json`, `Postcard` or `MessagePack`";
            let message = format_args!("operations need a format: {cure}");
            errors.at(&module.ident, message);
        }
        return false;
    };
    let last = match format {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let unfit = last.filter(|last| is_one_of(&last.ident, UNFIT));
    if let Some(last) = unfit {
        let cure = "carries no operations: write `Json`, `Postcard` or `MessagePack`";
        errors.at(format, format_args!("`{}` {cure}", last.ident));
    }
    unfit.is_none()
}

/// Checks a function whose name is not looked at; returns what its messages say, if that is right.
fn check_one<'a>(
    attribute: Attribute,
    function: &'a Function,
    errors: &mut Errors,
) -> (Exchange<'a>, Option<(Vec<Field>, Type)>) {
    function.check(Attribute::Server, errors);
    if attribute == Attribute::Server && !function.has_body() {
        errors.leave_to_rustc();
    }
    let mut exchange = Exchange::new(function, check_attributes(function, errors));
    let reply = check_reply(function, errors);
    let mut arguments = Vec::new();
    let mut is_right = function.sig.receiver().is_none();
    for parameter in function.parameters() {
        match parameter::role(parameter, errors) {
            Role::Plain => match check_argument(parameter, &arguments, errors) {
                Some(argument) => {
                    exchange.arguments.push(Argument::Request);
                    arguments.push(argument);
                }
                None => is_right = false,
            },
            Role::Unclear => is_right = false,
            role if attribute == Attribute::Server => exchange.add(role, parameter, errors),
            _ => {}
        }
    }
    let Some(reply) = reply.filter(|_| is_right) else {
        return (exchange, None);
    };
    let reply = lifetimes::unify(&reply, "'a");
    let types = arguments.iter().map(|argument| &argument.ty);
    let wrong = types
        .chain([&reply])
        .filter(|ty| !check_message(function, ty, errors));
    if wrong.count() > 0 {
        // Where the parameters occur says enough.
        exchange.generics = Generics::default();
        exchange.arguments.clear();
        return (exchange, None);
    }
    let is_unused = attribute == Attribute::Server && !exchange.check_used(errors).is_empty();
    (exchange, (!is_unused).then_some((arguments, reply)))
}

/// Checks the type of an argument or a reply; returns whether both ends know it.
fn check_message(function: &Function, ty: &Type, errors: &mut Errors) -> bool {
    if mentions(ty, &generics::names(&function.sig.generics)) {
        let cure = "both ends know the messages: name the type instead of a parameter";
        errors.at(ty, cure);
        return false;
    }
    if let Some(name) = find_generated(ty.to_token_stream()) {
        let cure = "is the generated type here: name yours by a path";
        errors.at(&name, format_args!("`{name}` {cure}"));
        return false;
    }
    true
}

/// Returns a word that names a generated type, unless it is the end of a path.
fn find_generated(tokens: TokenStream) -> Option<Ident> {
    let mut is_after_colon = false;
    tokens.into_iter().find_map(|token| {
        let found = match &token {
            TokenTree::Ident(word) if !is_after_colon && is_one_of(word, GENERATED) => {
                Some(word.clone())
            }
            TokenTree::Group(group) => find_generated(group.stream()),
            _ => None,
        };
        is_after_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
        found
    })
}

/// Checks the attributes of an operation; returns whether it blocks.
fn check_attributes(function: &Function, errors: &mut Errors) -> bool {
    let mut is_blocking = false;
    for attr in &function.attrs {
        let path = attr.path();
        if path.is_ident("cfg") {
            let cure = "both ends know the same operations: remove the `#[cfg]`, or reject inside";
            errors.at(path, cure);
        }
        if path.is_ident("blocking") {
            is_blocking = true;
            if !matches!(attr.meta, Meta::Path(_)) {
                let cure = "`#[blocking]` takes nothing: write `#[blocking]`";
                errors.at(&attr.meta, cure);
            }
            if function.is_async() {
                let cure =
                    "`blocking` is for a plain `fn`: remove it, or the `async` of the function";
                errors.at(path, cure);
            }
        }
    }
    is_blocking
}

fn check_argument(parameter: &PatType, others: &[Field], errors: &mut Errors) -> Option<Field> {
    let ty = message(&parameter.ty, "a request", errors);
    let Some(name) = parameter::name(&parameter.pat) else {
        let cure = "an argument has a name, which the client's method has as well";
        errors.at(&parameter.pat, cure);
        return None;
    };
    if others.iter().any(|other| other.name == *name) {
        errors.leave_to_rustc();
        return None;
    }
    Some(Field {
        name: name.clone(),
        ty: lifetimes::unify(&ty?, "'a"),
    })
}

/// Returns the name of the operation among the messages.
fn variant(function: &Function, others: &[Operation<'_>], errors: &mut Errors) -> Option<Ident> {
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    let camel = upper_camel(&name);
    let why = if METHODS.contains(&name.as_str()) {
        format!("`Client` has a method `{name}` already")
    } else if !is_type_name(&camel) {
        "this function's name makes no name of a message".to_owned()
    } else if let Some(other) = others.iter().find(|other| other.variant == camel) {
        format!("`{}` has the message `{camel}` already", other.name)
    } else {
        return Some(Ident::new(&camel, ident.span()));
    };
    errors.at(ident, format_args!("{why}: rename the operation"));
    None
}
