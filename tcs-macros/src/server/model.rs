//! Checks a server function: what each parameter is, and what the type keeps.

use proc_macro2::Ident;
use syn::{FnArg, Generics, Type};

use crate::{
    args::Args,
    emit::Field,
    errors::Errors,
    generics,
    item::{Function, bare, find_impl, has_attr, parentheses},
    lifetimes,
    parameter::{self, Role},
};

/// A checked function. What is wrong has been reported and is left out.
pub(crate) struct Model {
    pub(crate) generics: Generics,
    /// In the order of the function's parameters.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) states: Vec<State>,
    pub(crate) session: Option<Session>,
    pub(crate) request: Option<Type>,
    pub(crate) reply: Option<Type>,
    /// The fields of the type, one for each state.
    pub(crate) fields: Vec<Field>,
}

/// What the function is called with.
pub(crate) enum Argument {
    Request,
    /// The state of this number.
    State(usize),
    Session,
    /// Taken from the context.
    Extracted(Box<Type>),
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) name: Ident,
    /// The type behind the `&`.
    pub(crate) borrowed: Type,
    /// Whether the field owns that type through a pointer: `String` for `str`.
    pub(crate) through: bool,
}

/// What one connection keeps.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) mutable: bool,
}

impl Model {
    /// A protocol of these generics, with nothing else yet.
    pub(crate) const fn new(generics: Generics) -> Self {
        Self {
            generics,
            arguments: Vec::new(),
            states: Vec::new(),
            session: None,
            request: None,
            reply: None,
            fields: Vec::new(),
        }
    }
}

/// Checks the parameters and the result, reporting all that is wrong.
pub(crate) fn check(args: &Args, function: &Function, errors: &mut Errors) -> Model {
    let mut model = Model::new(generics::of_type(&function.sig.generics));
    model.reply = check_reply(function, errors);
    let mut asked = false;
    for input in &function.sig.inputs {
        let FnArg::Typed(parameter) = input else {
            asked = true;
            continue;
        };
        match parameter::role(parameter, errors) {
            Role::State => model.state(parameter, errors),
            Role::Session => model.session(parameter, errors),
            Role::Plain if !asked => {
                asked = true;
                model.request(&parameter.ty, errors);
            }
            Role::Plain | Role::Context => model.extracted(&parameter.ty, errors),
            // It may have been meant as the request.
            Role::Unclear => asked = true,
        }
    }
    if !asked {
        errors.at_span(
            parentheses(function.sig.paren_token),
            "the request is missing: write `request: &str` (or `_: ()` if it says nothing)",
        );
    }
    let unused = generics::check_used(
        &mut model.generics,
        &model.fields,
        "must occur in the type of a `#[state]`: nothing else decides what it is",
        errors,
    );
    model.request = model
        .request
        .filter(|ty| !generics::mentions_any(ty, &unused));
    model.reply = model
        .reply
        .filter(|ty| !generics::mentions_any(ty, &unused));
    check_options(args, function, errors);
    model
}

fn check_options(args: &Args, function: &Function, errors: &mut Errors) {
    let mut has_session = false;
    for input in &function.sig.inputs {
        if let FnArg::Typed(parameter) = input {
            has_session |= has_attr(&parameter.attrs, "session");
        }
    }
    if let Some(option) = args.given("session")
        && !has_session
    {
        errors.at(
            option,
            "`session` is for a `#[session]` parameter, and there is none: remove one",
        );
    }
    if let (Some(option), Some(_)) = (args.given("blocking"), &function.sig.asyncness) {
        errors.at(
            option,
            "`blocking` is for a plain `fn`: remove it, or the `async` of the function",
        );
    }
    if let (Some(option), None) = (args.given("half_close"), &function.sig.asyncness) {
        errors.at(
            option,
            "`half_close` is for an `async fn`: no other function is dropped; remove it",
        );
    }
}

/// Returns what the function returns, as one exchange has it.
pub(crate) fn check_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
    let output = function.output();
    if let Some(keyword) = find_impl(&output) {
        errors.at(&keyword, "a reply has one type: name it instead of `impl`");
        return None;
    }
    if matches!(bare(&output), Type::Never(_)) {
        errors.at(
            &output,
            "a request is answered by what the function returns: it must return",
        );
        return None;
    }
    Some(lifetimes::unify(&output, "'exchange"))
}
