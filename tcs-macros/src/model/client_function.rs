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
    args::{Args, OptionName},
    errors::Errors,
    item::Function,
    syntax::{
        bare, is_unsized,
        lifetimes::{self, EXCHANGE, FIELD, STATIC},
        names_one_of, same_tokens,
    },
};

/// A function that is one half of a client protocol.
pub(crate) struct ClientFunction<'a> {
    pub(crate) function: &'a Function,
    /// It has a lifetime in front if a field borrows.
    pub(crate) ty: ProtocolType<'a>,
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

/// What is found out about a function that is one half. What is wrong is left out.
#[derive(Default)]
struct Checked {
    reply: Option<Type>,
    output: Option<Type>,
    half: Option<Half>,
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
        let mut check = HalfCheck {
            args,
            function,
            fields: Vec::new(),
        };
        let request = args.given(OptionName::Request);
        let checked = match (request, args.given(OptionName::Reply)) {
            (Some(_), None) => check.reply_half(errors),
            (None, Some(_)) => check.request_half(errors),
            (given, second) => {
                let help = match given {
                    Some(_) => "the function is either half: remove `reply` or `request`",
                    None => "one half is missing: write `request = …`, or `reply = Type`",
                };
                errors.at(second.unwrap_or(&function.sig.ident), help);
                // Which parameters become fields is not known. The type has those that it has in one of
                // the halves, so that its `new` can be called; nothing is reported of them.
                let mut not_reported = Errors::default();
                check.add_parameters(1, &mut not_reported);
                Checked::default()
            }
        };
        let fields = check.fields;
        let mut generics = generics::for_type(&function.sig.generics);
        let help = "is in no field: use it in one, or name a type instead";
        let unused = generics::remove_unused(&mut generics, &fields, help, errors);
        if fields.iter().any(|field| lifetimes::borrows(&field.ty)) {
            generics::add_lifetime(&mut generics, FIELD);
        }
        let known = |ty: Option<Type>, place: &Ident| {
            let known = ty.filter(|ty| !names_one_of(ty, &unused));
            known.unwrap_or_else(|| args.library.ty("Unknown", place))
        };
        let ty = ProtocolType::of_function(args, name, function, generics, fields, errors);
        Self {
            function,
            reply: known(checked.reply, &function.sig.ident),
            output: known(checked.output, &ty.name),
            half: checked.half.filter(|_| ty.is_valid),
            ty,
        }
    }
}

/// Checks a function as one half, and collects the fields that parameters become. All lifetimes in
/// them are [`FIELD`].
struct HalfCheck<'a> {
    args: &'a Args,
    function: &'a Function,
    fields: Vec<Field>,
}

impl HalfCheck<'_> {
    /// Checks a function that processes the reply.
    fn reply_half(&mut self, errors: &mut Errors) -> Checked {
        let function = self.function;
        let request = match &self.args.request {
            Some(Expr::Closure(closure)) => {
                self.add_closure_parameters(closure, errors);
                Some(&*closure.body)
            }
            request => request.as_ref(),
        };
        let mut reply = None;
        if let Some(parameter) = function.parameters().next() {
            parameter::check_no_role(parameter, errors);
            let ty = message_type(&parameter.ty, "a reply", errors);
            reply = ty.map(|ty| lifetimes::unify(&ty, EXCHANGE));
        } else if function.sig.inputs.is_empty() {
            // With a `self` or a parameter that is half typed, there is an error already.
            let help = "the reply is missing: write `reply: &str` (or `_: ()` if it says nothing)";
            errors.at_span(function.sig.paren_token.span.join(), help);
        }
        let arguments = self.add_parameters(1, errors);
        let half = |request| Half::Reply { request, arguments };
        Checked {
            reply,
            output: check_output(function, errors),
            half: request.cloned().map(half),
        }
    }

    /// Checks a function that makes the request.
    fn request_half(&mut self, errors: &mut Errors) -> Checked {
        self.add_parameters(0, errors);
        if let Some(keyword) = &self.function.sig.asyncness {
            let help = "a function that makes the request does not wait: remove `async`";
            errors.at(keyword, help);
        }
        let Some(reply) = &self.args.reply else {
            return Checked::default();
        };
        // The caller gets the reply itself, after the buffer that it was read from is gone.
        let borrowed = lifetimes::find_borrowed(reply);
        for found in &borrowed {
            let help = "the reply is returned to the caller: own it (`String` for `&str`)";
            errors.at_span(found.span(), help);
        }
        let is_right = has_one_type(reply, "a reply", errors) && borrowed.is_empty();
        let owned = is_right.then(|| lifetimes::unify(reply, STATIC));
        Checked {
            reply: owned.clone(),
            output: owned,
            half: Some(Half::Request),
        }
    }

    /// Adds fields for the parameters of the request's closure.
    fn add_closure_parameters(&mut self, closure: &ExprClosure, errors: &mut Errors) {
        if let Some(keyword) = &closure.asyncness {
            errors.at(keyword, "a request is made without waiting: remove `async`");
        }
        if !matches!(closure.output, ReturnType::Default) {
            let help = "a request closure has no return type: remove `-> …`";
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
            if self.get(name).is_some() {
                errors.at(name, format_args!("`{name}` is given twice: remove one"));
            } else if is_unsized(bare(ty)) {
                errors.at(ty, "a field has a known size: borrow it with `&`");
            } else {
                self.add(name, ty, errors);
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
            match self.get(name) {
                None => self.add(name, ty, errors),
                // The function is called with a field that the request is made of.
                Some(field) if same_tokens(&field.ty, &lifetimes::unify(ty, FIELD)) => {}
                Some(_) => {
                    let what = "the request has another type";
                    errors.at(ty, format_args!("{what} for `{name}`: write the same"));
                }
            }
        }
        names
    }

    fn get(&self, name: &Ident) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == *name)
    }

    fn add(&mut self, name: &Ident, written: &Type, errors: &mut Errors) {
        let mut ty = lifetimes::unify(written, FIELD);
        if is_unsized(bare(&ty)) {
            // rustc reports it at the parameter of the function. The field is only there.
            errors.leave_to_rustc();
            ty = parse_quote!(());
        } else if !has_one_type(&ty, "a field", errors) {
            ty = parse_quote!(());
        }
        let name = name.clone();
        self.fields.push(Field { name, ty });
    }
}

fn check_options(args: &Args, errors: &mut Errors) {
    if args.given(OptionName::Server).is_none() {
        return;
    }
    let options = [
        OptionName::Framing,
        OptionName::Format,
        OptionName::Greeting,
    ];
    for option in options.iter().filter_map(|option| args.given(*option)) {
        let help = format_args!("`server` decides the {option}: remove `{option}`");
        errors.at(option, help);
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
    borrowed
        .is_empty()
        .then(|| lifetimes::unify(&output, FIELD))
}
