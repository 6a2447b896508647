//! Checks a client function: which half of the exchange it is, and what the type keeps.

use proc_macro2::Ident;
use syn::{Expr, ExprClosure, Generics, Pat, PatType, ReturnType, Type, parse_quote};

use super::{has_one_type, message, output};
use crate::{
    args::Args,
    errors::Errors,
    generics,
    item::Function,
    lifetimes, parameter,
    types::{Field, bare, is_unsized, mentions, same},
};

/// The type of a client protocol.
pub(crate) struct ClientProtocol {
    /// Those of the type; with a lifetime in front if a field borrows.
    pub(crate) generics: Generics,
    pub(crate) fields: Vec<Field>,
    /// The fields that the function is called with, after the reply if it takes one.
    pub(crate) arguments: Vec<Ident>,
    /// What makes the request, if the function processes the reply; otherwise the function does.
    pub(crate) request: Option<Expr>,
    /// As one exchange has it.
    pub(crate) reply: Option<Type>,
    pub(crate) output: Option<Type>,
}

impl ClientProtocol {
    /// Checks the parameters and the result, reporting all that is wrong.
    pub(crate) fn of_function(args: &Args, function: &Function, errors: &mut Errors) -> Self {
        check_options(args, errors);
        let mut protocol = Self {
            generics: generics::of_type(&function.sig.generics),
            fields: Vec::new(),
            arguments: Vec::new(),
            request: None,
            reply: None,
            output: None,
        };
        match (args.given("request"), args.given("reply")) {
            (Some(_), None) => protocol.process(args, function, errors),
            (None, Some(_)) => protocol.prepare(args, function, errors),
            (given, second) => {
                if let Some(second) = given.and(second) {
                    let cure = "remove `reply`, or `request` if it makes the request";
                    errors.at(second, format_args!("the function is either half: {cure}"));
                } else {
                    let cure = "write `request = …`, or `reply = Type` if this makes requests";
                    let message = format_args!("one half is missing: {cure}");
                    errors.at(&function.sig.ident, message);
                }
                // Which parameters become fields is not known; what is wrong with them can wait.
                for parameter in function.parameters().skip(1) {
                    protocol.parameter(parameter, &mut Errors::default());
                }
            }
        }
        let Self {
            generics,
            fields,
            reply,
            output,
            ..
        } = &mut protocol;
        let cure = "must occur in the type of a field: nothing else decides what it is";
        let unused = generics::check_used(generics, fields, cure, errors);
        reply.take_if(|ty| mentions(ty, &unused));
        output.take_if(|ty| mentions(ty, &unused));
        if fields.iter().any(|field| lifetimes::borrows(&field.ty)) {
            generics::with_lifetime(generics, "'a");
        }
        protocol
    }

    /// Checks a function that processes the reply.
    fn process(&mut self, args: &Args, function: &Function, errors: &mut Errors) {
        self.request = args.request.as_ref().map(|request| match request {
            Expr::Closure(closure) => {
                self.closure(closure, errors);
                (*closure.body).clone()
            }
            other => other.clone(),
        });
        let mut parameters = function.parameters();
        if function.sig.inputs.is_empty() {
            let cure = "the reply is missing: write `reply: &str` (or `_: ()` if it says nothing)";
            errors.at_span(function.sig.paren_token.span.join(), cure);
        }
        self.reply = parameters.next().and_then(|parameter| {
            parameter::no_role(parameter, errors);
            let reply = message(&parameter.ty, "a reply", errors)?;
            Some(lifetimes::unify(&reply, "'exchange"))
        });
        for parameter in parameters {
            self.parameter(parameter, errors);
        }
        self.output = check_output(function, errors);
    }

    /// Checks a function that makes the request.
    fn prepare(&mut self, args: &Args, function: &Function, errors: &mut Errors) {
        for parameter in function.parameters() {
            self.parameter(parameter, errors);
        }
        if let Some(keyword) = &function.sig.asyncness {
            let cure = "a function that makes the request does not wait: remove `async`";
            errors.at(keyword, cure);
        }
        let Some(reply) = &args.reply else {
            return;
        };
        let found = lifetimes::find(reply);
        let borrowed: Vec<_> = found.iter().filter(|found| !found.is_static()).collect();
        for found in &borrowed {
            let cure = "the reply is returned to the caller: own it (`String` for `&str`)";
            errors.at_span(found.span, cure);
        }
        if has_one_type(reply, "a reply", errors) && borrowed.is_empty() {
            self.reply = Some(lifetimes::unify(reply, "'static"));
            self.output.clone_from(&self.reply);
        }
    }

    /// Makes fields of the parameters of the request's closure.
    fn closure(&mut self, closure: &ExprClosure, errors: &mut Errors) {
        if let Some(keyword) = &closure.asyncness {
            errors.at(keyword, "a request is made without waiting: remove `async`");
        }
        if !matches!(closure.output, ReturnType::Default) {
            let cure = "the expression has its own type: remove this";
            errors.at(&closure.output, cure);
        }
        for input in &closure.inputs {
            let becomes = "a parameter of the request becomes a field";
            let Pat::Type(PatType { pat, ty, .. }) = input else {
                errors.at(input, format_args!("{becomes}: write `name: Type`"));
                continue;
            };
            let Some(name) = parameter::name(pat) else {
                errors.at(pat, format_args!("{becomes}: give it a name"));
                continue;
            };
            if self.field(name).is_some() {
                errors.at(name, format_args!("`{name}` stands here twice: remove one"));
            } else if is_unsized(bare(ty)) {
                errors.at(ty, "a field has a known size: borrow it with `&`");
            } else {
                self.add(name, ty, errors);
            }
        }
    }

    /// Makes a field of a parameter of the function.
    fn parameter(&mut self, parameter: &PatType, errors: &mut Errors) {
        parameter::no_role(parameter, errors);
        let PatType { pat, ty, .. } = parameter;
        let Some(name) = parameter::name(pat) else {
            let cure = "a parameter besides the reply becomes a field: give it a name";
            errors.at(pat, cure);
            return;
        };
        self.arguments.push(name.clone());
        match self.field(name) {
            None => self.add(name, ty, errors),
            Some(field) if same(&field.ty, &lifetimes::unify(ty, "'a")) => {}
            Some(_) => {
                let cure =
                    format_args!("the request has another type for `{name}`: write the same");
                errors.at(ty, cure);
            }
        }
    }

    fn field(&self, name: &Ident) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == *name)
    }

    fn add(&mut self, name: &Ident, ty: &Type, errors: &mut Errors) {
        let mut ty = lifetimes::unify(ty, "'a");
        if !has_one_type(&ty, "a field", errors) {
            ty = parse_quote!(());
        } else if is_unsized(bare(&ty)) {
            errors.leave_to_rustc();
            ty = parse_quote!(());
        }
        let name = name.clone();
        self.fields.push(Field { name, ty });
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    if args.given("server").is_some() {
        for option in ["framing", "format"] {
            if let Some(given) = args.given(option) {
                let cure = format_args!("`server` decides the {option}: remove `{option}`");
                errors.at(given, cure);
            }
        }
    }
}

/// Returns the output, which may borrow from the fields but not from the reply.
fn check_output(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "the exchange ends as the function returns";
    let output = output(function, "the output", never, errors)?;
    let mut parameters = function
        .parameters()
        .map(|parameter| lifetimes::find(&parameter.ty));
    let of_reply = parameters.next().unwrap_or_default();
    let of_fields = parameters.flatten().count();
    let mut borrowed = lifetimes::find(&output);
    borrowed.retain(|found| match &found.name {
        Some(name) if name == "static" => false,
        Some(name) => of_reply
            .iter()
            .any(|other| other.name.as_ref() == Some(name)),
        // With others around, rustc asks for a name.
        None => !of_reply.is_empty() && of_fields == 0,
    });
    for found in &borrowed {
        let cure = "the output outlives the reply: own it (`String` for `&str`), or use `call`";
        errors.at_span(found.span, cure);
    }
    borrowed.is_empty().then(|| lifetimes::unify(&output, "'a"))
}
