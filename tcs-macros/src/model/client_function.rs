//! Resolves a client function: its half of an exchange, and the fields of the type.

use proc_macro2::Ident;
use quote::format_ident;
use syn::{
    Expr, ExprClosure, GenericParam, Pat, PatType, ReturnType, Type, TypeParam, parse_quote,
};

use super::{
    generics,
    message::{resolve_message, resolve_output, resolve_type},
    parameter,
    protocol_type::{Field, ProtocolType},
};
use crate::{
    errors::Errors,
    item::Function,
    options::{OptionName, Options},
    syntax::{
        bare, is_unsized,
        lifetimes::{self, EXCHANGE, FIELD, STATIC},
        mentions_one_of, same_tokens,
    },
};

/// A function that is one half of a client protocol.
pub(crate) struct ClientFunction<'a> {
    pub(crate) function: &'a Function,
    /// The type. Its first parameter is a lifetime if a field borrows.
    pub(crate) ty: ProtocolType<'a>,
    pub(crate) exchange: Exchange,
}

/// The known parts of an exchange. A part that has an error, or is not given, is `None`.
#[derive(Default)]
pub(crate) struct Exchange {
    /// With the lifetime of an exchange.
    pub(crate) reply: Option<Type>,
    /// With the lifetime of the fields.
    pub(crate) output: Option<Type>,
    pub(crate) half: Option<Half>,
}

/// The half of an exchange that a function is.
pub(crate) enum Half {
    /// The function processes the reply, and is called with the reply and these fields. An expression makes the
    /// request.
    ProcessReply { request: Expr, fields: Vec<Ident> },
    /// The function makes the request, and is called with all fields.
    MakeRequest,
}

impl<'a> ClientFunction<'a> {
    /// Resolves a function, and reports all errors in it.
    pub(super) fn resolve(
        options: &Options,
        name: Ident,
        function: &'a Function,
        errors: &mut Errors,
    ) -> Self {
        check_options(options, errors);
        let mut fields = Fields::default();
        let request = options.given(OptionName::Request);
        let mut exchange = match (request, options.given(OptionName::Reply)) {
            (Some(_), None) => resolve_process_reply(options, function, &mut fields, errors),
            (None, Some(_)) => resolve_make_request(options, function, &mut fields, errors),
            (given, second) => {
                let help = match given {
                    Some(_) => "the function is either half: remove `reply` or `request`",
                    None => "one half is missing: write `request = …`, or `reply = Type`",
                };
                errors.at(second.unwrap_or(&function.sig.ident), help);
                let returns = !matches!(function.sig.output, ReturnType::Default);
                if given.is_none() && !returns {
                    // A function that makes the request returns it, so this one processes the reply.
                    resolve_process_reply(options, function, &mut fields, errors)
                } else {
                    // The type gets the fields that both halves have, so that the program can call its `new`.
                    fields.add_parameters(function, 1, errors);
                    Exchange::default()
                }
            }
        };
        let (mut generics, unused) = generics::for_type(&function.sig.generics, &fields.list);
        let untyped = fields.untyped.into_iter().map(GenericParam::Type);
        generics.params.extend(untyped);
        generics::check_unused(&unused, "field", errors);
        let mut types = fields.list.iter().map(|field| &field.ty);
        if types.any(lifetimes::borrows) {
            generics::add_lifetime(&mut generics, FIELD);
        }
        for ty in [&mut exchange.reply, &mut exchange.output] {
            ty.take_if(|ty| mentions_one_of(ty, &unused));
        }
        exchange.reply.take_if(|_| options.lacks_format());
        let mut ty = ProtocolType::of_function(function, name);
        (ty.generics, ty.fields) = (generics, fields.list);
        Self {
            function,
            ty,
            exchange,
        }
    }
}

/// Resolves a function that processes the reply, and adds its fields.
fn resolve_process_reply(
    options: &Options,
    function: &Function,
    fields: &mut Fields,
    errors: &mut Errors,
) -> Exchange {
    let request = match &options.request {
        Some(Expr::Closure(closure)) => {
            fields.add_closure_parameters(closure, errors);
            Some(&*closure.body)
        }
        request => request.as_ref(),
    };
    let mut reply = None;
    if let Some(parameter) = function.parameters().next() {
        parameter::check_no_role(parameter, errors);
        let ty = resolve_message(&parameter.ty, "a reply", errors);
        reply = ty.map(|ty| lifetimes::unify(&ty, EXCHANGE));
    } else if function.sig.inputs.is_empty() && !function.lacks_parameter {
        // A `self` or an incomplete parameter has caused an error already.
        let message = "the reply is missing: write `reply: &str` (or `_: ()` if it says nothing)";
        errors.at_span(function.sig.paren_token.span.join(), message);
    }
    let fields = fields.add_parameters(function, 1, errors);
    let half = |request| Half::ProcessReply { request, fields };
    Exchange {
        reply,
        output: resolve_output_type(function, errors),
        half: request.cloned().map(half),
    }
}

/// Resolves a function that makes the request, and adds its fields.
fn resolve_make_request(
    options: &Options,
    function: &Function,
    fields: &mut Fields,
    errors: &mut Errors,
) -> Exchange {
    fields.add_parameters(function, 0, errors);
    if let Some(keyword) = &function.sig.asyncness {
        let message = "a function that makes the request does not wait: remove `async`";
        errors.at(keyword, message);
    }
    let Some(reply) = &options.reply else {
        return Exchange::default();
    };
    // The caller gets the reply itself, when the buffer with its bytes is gone.
    let borrowed = lifetimes::find_borrowed(reply);
    let message = "the reply is returned to the caller: own it (`String` for `&str`)";
    let is_owned = errors.at_each(&borrowed, message);
    let reply = resolve_type(reply, "a reply", errors);
    // The output is known, so that its uses in the program cause no further error.
    let output = reply.map(|reply| lifetimes::unify(reply, STATIC));
    Exchange {
        reply: output.clone().filter(|_| is_owned),
        output,
        half: Some(Half::MakeRequest),
    }
}

/// The fields that parameters become. All lifetimes in them are [`FIELD`].
#[derive(Default)]
struct Fields {
    list: Vec<Field>,
    /// Type parameters for fields without a type, so that no value that the program gives them causes a further error.
    untyped: Vec<TypeParam>,
}

impl Fields {
    /// Adds fields for the parameters of the request's closure.
    fn add_closure_parameters(&mut self, closure: &ExprClosure, errors: &mut Errors) {
        if let Some(keyword) = &closure.asyncness {
            errors.at(keyword, "a request is made without waiting: remove `async`");
        }
        if !matches!(closure.output, ReturnType::Default) {
            let message = "a request closure has no return type: remove `-> …`";
            errors.at(&closure.output, message);
        }
        for input in &closure.inputs {
            let becomes = "a parameter of the request becomes a field";
            let Pat::Type(PatType { pat, ty, .. }) = input else {
                errors.at(input, format_args!("{becomes}: write `name: Type`"));
                if let Some(name) = parameter::name(input)
                    && self.get(name).is_none()
                {
                    let (name, param) = (name.clone(), format_ident!("__T{}", self.untyped.len()));
                    let ty = parse_quote!(#param);
                    self.list.push(Field { name, ty });
                    self.untyped.push(param.into());
                }
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
    fn add_parameters(
        &mut self,
        function: &Function,
        first: usize,
        errors: &mut Errors,
    ) -> Vec<Ident> {
        let mut names = Vec::new();
        for parameter in function.parameters().skip(first) {
            parameter::check_no_role(parameter, errors);
            let PatType { pat, ty, .. } = parameter;
            let Some(name) = parameter::name(pat) else {
                let message = "a parameter besides the reply becomes a field: give it a name";
                errors.at(pat, message);
                continue;
            };
            if names.contains(name) {
                // rustc reports the second name at the function.
                errors.leave_to_rustc();
                continue;
            }
            names.push(name.clone());
            match self.get(name) {
                None => self.add(name, ty, errors),
                // The request and the function use the same field.
                Some(field) if same_tokens(&field.ty, &lifetimes::unify(ty, FIELD)) => {}
                Some(_) if matches!(**ty, Type::Verbatim(_)) => {}
                Some(_) => {
                    let what = "the request has another type";
                    errors.at(ty, format_args!("{what} for `{name}`: write the same"));
                }
            }
        }
        names
    }

    fn get(&self, name: &Ident) -> Option<&Field> {
        self.list.iter().find(|field| field.name == *name)
    }

    fn add(&mut self, name: &Ident, written: &Type, errors: &mut Errors) {
        let known = if is_unsized(bare(written)) {
            // rustc reports the type at the parameter of the function. The field only has to exist.
            errors.leave_to_rustc();
            None
        } else {
            resolve_type(written, "a field", errors)
        };
        let ty = known.map_or_else(|| parse_quote!(()), |ty| lifetimes::unify(ty, FIELD));
        let name = name.clone();
        self.list.push(Field { name, ty });
    }
}

fn check_options(options: &Options, errors: &mut Errors) {
    use OptionName::{Format, Framing, Greeting, Server};
    if options.given(Server).is_some() {
        let decided = [Framing, Format, Greeting].map(|option| options.given(option));
        for option in decided.into_iter().flatten() {
            let help = format_args!("`server` decides the {option}: remove `{option}`");
            errors.at(option, help);
        }
    }
}

/// Returns the type of the output, which may borrow from the fields but not from the reply.
fn resolve_output_type(function: &Function, errors: &mut Errors) -> Option<Type> {
    let never = "the exchange ends as the function returns";
    let output = resolve_output(function, "the output", never, errors)?;
    let parameters = function.parameters();
    let mut found = parameters.map(|parameter| lifetimes::find(&parameter.ty));
    let of_reply = found.next().unwrap_or_default();
    let of_fields = found.flatten().count();
    let mut borrowed = lifetimes::find_borrowed(&output);
    borrowed.retain(|found| {
        // If other parameters have lifetimes, rustc asks for a name.
        let is_elided = found.ident == "_" && of_fields == 0 && !of_reply.is_empty();
        is_elided || found.ident != "_" && of_reply.iter().any(|other| other.ident == found.ident)
    });
    let message = "the output outlives the reply: own it (`String` for `&str`), or use `call`";
    let is_owned = errors.at_each(&borrowed, message);
    is_owned.then(|| lifetimes::unify(&output, FIELD))
}
