//! Checks a client function: which half of the exchange it is, and what the type keeps.

use proc_macro2::Ident;
use syn::{Expr, FnArg, Generics, Type};

use super::fields::Fields;

use crate::{
    args::Args,
    emit::Field,
    errors::Errors,
    generics,
    item::{Function, bare, find_impl, is_unsized, parentheses},
    lifetimes, parameter,
};

/// A checked function. What is wrong has been reported and is left out.
pub(crate) struct Model {
    /// Those of the type; with a lifetime in front if a field borrows.
    pub(crate) generics: Generics,
    pub(crate) fields: Vec<Field>,
    /// The fields that the function is called with, after the reply if it takes one.
    pub(crate) arguments: Vec<Ident>,
    pub(crate) half: Half,
}

/// Which half of the exchange the function is.
pub(crate) enum Half {
    /// It processes the reply.
    Process(Box<Process>),
    /// It makes the request.
    Prepare { reply: Box<Type> },
    /// Not clear; that has been reported.
    Unclear {
        reply: Option<Box<Type>>,
        output: Option<Box<Type>>,
    },
}

/// What is known of a function that processes the reply.
pub(crate) struct Process {
    /// What makes the request.
    pub(crate) request: Expr,
    /// The type of the function's first parameter, as one exchange has it.
    pub(crate) reply: Type,
    /// That type as it was written, for errors to point at.
    pub(crate) written: Type,
    pub(crate) output: Type,
}

impl Half {
    const UNCLEAR: Self = Self::Unclear {
        reply: None,
        output: None,
    };
}

/// Checks the parameters and the result, reporting all that is wrong.
pub(crate) fn check(args: &Args, function: &Function, errors: &mut Errors) -> Model {
    check_options(args, errors);
    let mut fields = Fields::default();
    let mut half = match (args.given("request"), args.given("reply")) {
        (Some(_), None) => process(args, function, &mut fields, errors),
        (None, Some(_)) => prepare(args, function, &mut fields, errors),
        (Some(_), Some(second)) => {
            errors.at(
                second,
                "the function is either half: remove `reply`, or `request` if it makes the request",
            );
            unclear(function, &mut fields)
        }
        (None, None) => {
            errors.at(
                &function.sig.ident,
                "one half is missing: write `request = …`, or `reply = Type` if this makes requests",
            );
            unclear(function, &mut fields)
        }
    };
    let Fields { list, arguments } = fields;
    let mut generics = generics::of_type(&function.sig.generics);
    let unused = generics::check_used(
        &mut generics,
        &list,
        "must occur in the type of a field: nothing else decides what it is",
        errors,
    );
    if let Half::Process(process) = &half
        && (generics::mentions_any(&process.reply, &unused)
            || generics::mentions_any(&process.output, &unused))
    {
        half = Half::UNCLEAR;
    }
    if list.iter().any(|field| lifetimes::borrows(&field.ty)) {
        generics::with_lifetime(&mut generics, "'a");
    }
    Model {
        generics,
        fields: list,
        arguments,
        half,
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    if args.given("server").is_some() {
        for option in &["framing", "format"] {
            if let Some(given) = args.given(option) {
                errors.at(
                    given,
                    format_args!("`server` decides the {option}: remove `{option}`"),
                );
            }
        }
    }
}

/// Checks a function that processes the reply.
fn process(args: &Args, function: &Function, fields: &mut Fields, errors: &mut Errors) -> Half {
    let request = args.request.as_ref().map(|request| match request {
        Expr::Closure(closure) => {
            fields.of_closure(closure, errors);
            (*closure.body).clone()
        }
        other => other.clone(),
    });
    let mut parameters = function.sig.inputs.iter();
    let reply = match parameters.next() {
        Some(FnArg::Typed(parameter)) => {
            parameter::no_role(parameter, errors);
            check_reply(&parameter.ty, errors)
        }
        Some(FnArg::Receiver(_)) => None,
        None => {
            errors.at_span(
                parentheses(function.sig.paren_token),
                "the reply is missing: write `reply: &str` (or `_: ()` if it says nothing)",
            );
            None
        }
    };
    for parameter in parameters {
        fields.of_parameter(parameter, errors);
    }
    let output = check_output(function, errors);
    match (request, reply, output) {
        (Some(request), Some((written, reply)), Some(output)) => Half::Process(Box::new(Process {
            request,
            reply,
            written,
            output,
        })),
        (_, reply, output) => Half::Unclear {
            reply: reply.map(|(_, reply)| Box::new(reply)),
            output: output.map(Box::new),
        },
    }
}

/// Checks a function that makes the request.
fn prepare(args: &Args, function: &Function, fields: &mut Fields, errors: &mut Errors) -> Half {
    for parameter in &function.sig.inputs {
        fields.of_parameter(parameter, errors);
    }
    if let Some(keyword) = &function.sig.asyncness {
        errors.at(
            keyword,
            "a function that makes the request does not wait: remove `async`",
        );
    }
    let Some(reply) = &args.reply else {
        return Half::UNCLEAR;
    };
    let mut borrows = false;
    for found in lifetimes::find(reply) {
        if !found.is_static() {
            borrows = true;
            errors.at_span(
                found.span,
                "the reply is returned to the caller: own it (`String` for `&str`)",
            );
        }
    }
    if let Some(keyword) = find_impl(reply) {
        errors.at(&keyword, "a reply has one type: name it instead of `impl`");
        return Half::UNCLEAR;
    }
    if borrows {
        return Half::UNCLEAR;
    }
    Half::Prepare {
        reply: Box::new(lifetimes::unify(reply, "'static")),
    }
}

/// Takes what can be known of a function whose half is not clear.
fn unclear(function: &Function, fields: &mut Fields) -> Half {
    // Which parameters become fields is not known; what is wrong with them can wait.
    let mut unreported = Errors::default();
    for parameter in function.sig.inputs.iter().skip(1) {
        fields.of_parameter(parameter, &mut unreported);
    }
    Half::UNCLEAR
}

/// Returns the type of the reply as it is written, and as one exchange has it.
fn check_reply(ty: &Type, errors: &mut Errors) -> Option<(Type, Type)> {
    if let Some(keyword) = find_impl(ty) {
        errors.at(&keyword, "a reply has one type: name it instead of `impl`");
        return None;
    }
    match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            errors.leave_to_rustc();
            None
        }
        Type::Reference(reference) if matches!(bare(&reference.elem), Type::TraitObject(_)) => {
            errors.at(ty, "a reply has one type: name it instead of `dyn`");
            None
        }
        Type::Reference(reference) if reference.mutability.is_some() => {
            errors.at(
                &reference.mutability,
                "a reply is borrowed from what arrived, which is shared: remove `mut`",
            );
            None
        }
        Type::Reference(reference)
            if reference
                .lifetime
                .as_ref()
                .is_some_and(|name| name.ident == "static") =>
        {
            errors.at(
                &reference.lifetime,
                "a reply lives as long as its exchange: remove `'static`",
            );
            None
        }
        _ => Some((ty.clone(), lifetimes::unify(ty, "'exchange"))),
    }
}

/// Returns the output, which may borrow from the fields but not from the reply.
fn check_output(function: &Function, errors: &mut Errors) -> Option<Type> {
    let output = function.output();
    if let Some(keyword) = find_impl(&output) {
        errors.at(
            &keyword,
            "the output has one type: name it instead of `impl`",
        );
        return None;
    }
    if matches!(bare(&output), Type::Never(_)) {
        errors.at(
            &output,
            "the exchange ends as the function returns: it must return",
        );
        return None;
    }
    let mut of_reply = Vec::new();
    let mut of_fields = 0;
    for (place, input) in function.sig.inputs.iter().enumerate() {
        if let FnArg::Typed(parameter) = input {
            let found = lifetimes::find(&parameter.ty);
            if place == 0 {
                of_reply = found;
            } else {
                of_fields += found.len();
            }
        }
    }
    let mut borrowed = false;
    for found in lifetimes::find(&output) {
        let from_reply = match &found.name {
            Some(name) => of_reply
                .iter()
                .any(|other| other.name.as_ref() == Some(name)),
            // With others around, rustc asks for a name.
            None => !of_reply.is_empty() && of_fields == 0,
        };
        if from_reply && !found.is_static() {
            borrowed = true;
            errors.at_span(
                found.span,
                "the output outlives the reply: own it (`String` for `&str`), or use `call`",
            );
        }
    }
    if borrowed {
        return None;
    }
    Some(lifetimes::unify(&output, "'a"))
}
