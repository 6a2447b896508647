//! Checks a client function: which half of an exchange it is, and what the type keeps.

use proc_macro2::Ident;
use syn::{Expr, ExprClosure, Pat, PatType, ReturnType, Type, parse_quote};

use super::{
    Field, generics,
    message::{has_one_type, message_type, return_type},
    parameter,
    protocol_type::ProtocolType,
};
use crate::{
    args::Args,
    errors::Errors,
    item::Function,
    syntax::{bare, is_unsized, lifetimes, mentions, same},
};

/// A function that is one half of a client protocol.
pub(crate) struct ClientFunction<'a> {
    pub(crate) function: &'a Function,
    /// It has a lifetime in front if a field borrows.
    pub(crate) target: ProtocolType<'a>,
    /// With the lifetime of an exchange; the library's `Unknown` if it is wrong.
    pub(crate) reply: Type,
    /// The same with the lifetime of the fields.
    pub(crate) output: Type,
    /// There is none if something is wrong.
    pub(crate) half: Option<Half>,
}

/// The half of an exchange that a function is.
pub(crate) enum Half {
    /// It processes the reply, and is called with the reply and these fields. An expression makes the
    /// request.
    Reply {
        request: Expr,
        arguments: Vec<Ident>,
    },
    /// It makes the request, and is called with all fields.
    Request,
}

impl<'a> ClientFunction<'a> {
    /// Checks a function, reporting all that is wrong.
    pub(super) fn check(
        args: &'a Args,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        check_options(args, errors);
        let unknown = args.library.ty("Unknown", &name);
        let mut protocol = Self {
            function,
            target: ProtocolType::of_function(args, name, function),
            reply: args.library.ty("Unknown", &function.sig.ident),
            output: unknown,
            half: None,
        };
        protocol.target.generics = generics::of_type(&function.sig.generics);
        match (args.given("request"), args.given("reply")) {
            (Some(_), None) => protocol.check_reply_half(errors),
            (None, Some(_)) => protocol.check_request_half(errors),
            (given, second) => {
                let help = match given {
                    Some(_) => "the function is either half: remove `reply` or `request`",
                    None => "one half is missing: write `request = …`, or `reply = Type`",
                };
                errors.at(second.unwrap_or(&function.sig.ident), help);
                // It is not known which parameters become fields, so nothing is reported of them.
                protocol.add_parameters(1, &mut Errors::default());
            }
        }
        protocol.check_generics(errors);
        protocol.target.is_valid = errors.is_empty();
        protocol.half.take_if(|_| !errors.is_empty());
        protocol
    }

    /// Checks that each type parameter occurs in a field, and adds a lifetime if a field borrows.
    fn check_generics(&mut self, errors: &mut Errors) {
        let (generics, fields) = (&mut self.target.generics, &self.target.fields);
        let help = "must occur in the type of a field: nothing else decides what it is";
        let unused = generics::check_used(generics, fields, help, errors);
        for message in [&mut self.reply, &mut self.output] {
            if mentions(message, &unused) {
                *message = self.target.args.library.ty("Unknown", &self.target.name);
            }
        }
        if fields.iter().any(|field| lifetimes::borrows(&field.ty)) {
            generics::add_lifetime(generics, "'a");
        }
    }

    /// Checks a function that processes the reply.
    fn check_reply_half(&mut self, errors: &mut Errors) {
        let function = self.function;
        let args = self.target.args;
        let request = match &args.request {
            Some(Expr::Closure(closure)) => {
                self.add_closure_parameters(closure, errors);
                Some(&*closure.body)
            }
            request => request.as_ref(),
        };
        if let Some(parameter) = function.parameters().next() {
            parameter::check_no_role(parameter, errors);
            if let Some(reply) = message_type(&parameter.ty, "a reply", errors) {
                self.reply = lifetimes::unify(&reply, "'exchange");
            }
        } else if function.sig.inputs.is_empty() {
            let help = "the reply is missing: write `reply: &str` (or `_: ()` if it says nothing)";
            errors.at_span(function.sig.paren_token.span.join(), help);
        }
        let arguments = self.add_parameters(1, errors);
        if let Some(output) = check_output(function, errors) {
            self.output = output;
        }
        self.half = request
            .cloned()
            .map(|request| Half::Reply { request, arguments });
    }

    /// Checks a function that makes the request.
    fn check_request_half(&mut self, errors: &mut Errors) {
        self.add_parameters(0, errors);
        if let Some(keyword) = &self.function.sig.asyncness {
            let help = "a function that makes the request does not wait: remove `async`";
            errors.at(keyword, help);
        }
        let args = self.target.args;
        let Some(reply) = &args.reply else {
            return;
        };
        let borrowed = lifetimes::find_borrowed(reply);
        for found in &borrowed {
            let help = "the reply is returned to the caller: own it (`String` for `&str`)";
            errors.at_span(found.span(), help);
        }
        if has_one_type(reply, "a reply", errors) && borrowed.is_empty() {
            self.reply = lifetimes::unify(reply, "'static");
            self.output.clone_from(&self.reply);
        }
        self.half = Some(Half::Request);
    }

    /// Adds fields for the parameters of the request's closure.
    fn add_closure_parameters(&mut self, closure: &ExprClosure, errors: &mut Errors) {
        if let Some(keyword) = &closure.asyncness {
            errors.at(keyword, "a request is made without waiting: remove `async`");
        }
        if !matches!(closure.output, ReturnType::Default) {
            let help = "the expression has its own type: remove this";
            errors.at(&closure.output, help);
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
                errors.at(name, format_args!("`{name}` is given twice: remove one"));
            } else if is_unsized(bare(ty)) {
                errors.at(ty, "a field has a known size: borrow it with `&`");
            } else {
                self.add_field(name, ty, errors);
            }
        }
    }

    /// Adds fields for all but the first parameters of the function, and returns their names.
    fn add_parameters(&mut self, first: usize, errors: &mut Errors) -> Vec<Ident> {
        let mut names = Vec::new();
        for parameter in self.function.parameters().skip(first) {
            parameter::check_no_role(parameter, errors);
            let PatType { pat, ty, .. } = parameter;
            let Some(name) = parameter::name(pat) else {
                let help = "a parameter besides the reply becomes a field: give it a name";
                errors.at(pat, help);
                continue;
            };
            names.push(name.clone());
            match self.field(name) {
                None => self.add_field(name, ty, errors),
                Some(field) if same(&field.ty, &lifetimes::unify(ty, "'a")) => {}
                Some(_) => {
                    let what = "the request has another type";
                    errors.at(ty, format_args!("{what} for `{name}`: write the same"));
                }
            }
        }
        names
    }

    fn field(&self, name: &Ident) -> Option<&Field> {
        self.target.fields.iter().find(|field| field.name == *name)
    }

    fn add_field(&mut self, name: &Ident, ty: &Type, errors: &mut Errors) {
        let mut ty = lifetimes::unify(ty, "'a");
        if is_unsized(bare(&ty)) {
            errors.leave_to_rustc();
            ty = parse_quote!(());
        } else if !has_one_type(&ty, "a field", errors) {
            ty = parse_quote!(());
        }
        let name = name.clone();
        self.target.fields.push(Field { name, ty });
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    if args.given("server").is_some() {
        for option in ["framing", "format", "greeting"] {
            if let Some(given) = args.given(option) {
                let help = format_args!("`server` decides the {option}: remove `{option}`");
                errors.at(given, help);
            }
        }
    }
}

/// Returns the type of the output, which may borrow from the fields but not from the reply.
fn check_output(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "the exchange ends as the function returns";
    let output = return_type(function, "the output", never, errors)?;
    let parameters = function.parameters();
    let mut parameters = parameters.map(|parameter| lifetimes::find(&parameter.ty));
    let of_reply = parameters.next().unwrap_or_default();
    let of_fields = parameters.flatten().count();
    let mut borrowed = lifetimes::find_borrowed(&output);
    borrowed.retain(|found| {
        // With others around, rustc asks for a name.
        let is_elided = found.ident == "_" && of_fields == 0 && !of_reply.is_empty();
        is_elided || found.ident != "_" && of_reply.iter().any(|other| other.ident == found.ident)
    });
    for found in &borrowed {
        let help = "the output outlives the reply: own it (`String` for `&str`), or use `call`";
        errors.at_span(found.span(), help);
    }
    borrowed.is_empty().then(|| lifetimes::unify(&output, "'a"))
}
