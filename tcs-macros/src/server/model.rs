//! Checks a server function: what each parameter is, and what the type keeps.

use proc_macro2::Ident;
use syn::{FnArg, Generics, PatType, Type, TypeReference, parse_quote};

use crate::{
    args::Args,
    emit::Field,
    errors::Errors,
    generics,
    item::{Function, bare, find_impl, is_unsized, parentheses},
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
pub(crate) struct State {
    pub(crate) name: Ident,
    /// The type behind the `&`.
    pub(crate) borrowed: Type,
    /// Whether the field owns that type through a pointer: `String` for `str`.
    pub(crate) through: bool,
}

/// What one connection keeps.
pub(crate) struct Session {
    pub(crate) name: Option<Ident>,
    pub(crate) ty: Type,
    pub(crate) mutable: bool,
}

/// Checks the parameters and the result, reporting all that is wrong.
pub(crate) fn check(args: &Args, function: &Function, errors: &mut Errors) -> Model {
    let mut model = Model {
        generics: generics::of_type(&function.sig.generics),
        arguments: Vec::new(),
        states: Vec::new(),
        session: None,
        request: None,
        reply: check_reply(function, errors),
        fields: Vec::new(),
    };
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
            Role::Plain => model.extracted(&parameter.ty, errors),
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
        "occurs in no `#[state]` type: without one, nothing decides what it is",
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

impl Model {
    fn state(&mut self, parameter: &PatType, errors: &mut Errors) {
        let name = parameter::name(&parameter.pat).cloned();
        if name.is_none() {
            errors.at(&parameter.pat, "a state becomes a field: give it a name");
        }
        let borrowed = match bare(&parameter.ty) {
            Type::ImplTrait(_) => {
                errors.at(&parameter.ty, IMPL_STATE);
                return;
            }
            Type::Reference(reference) => {
                check_reference(reference, errors);
                if let Some(mutability) = reference.mutability {
                    errors.at(
                        &mutability,
                        "connections share a state: remove `mut` (a `Mutex` inside it can change)",
                    );
                }
                bare(&reference.elem)
            }
            owned => {
                errors.at(owned, "connections share a state: borrow it with `&`");
                owned
            }
        };
        if matches!(borrowed, Type::ImplTrait(_)) {
            errors.at(borrowed, IMPL_STATE);
            return;
        }
        let borrowed = owned(borrowed, "a state", errors);
        let (field, through) = match &borrowed {
            Type::Path(path) if path.path.is_ident("str") => {
                (parse_quote!(::std::string::String), true)
            }
            Type::Slice(slice) => {
                let elem = &slice.elem;
                (parse_quote!(::std::vec::Vec<#elem>), true)
            }
            Type::TraitObject(object) => (parse_quote!(::std::boxed::Box<#object>), true),
            other => (other.clone(), false),
        };
        if self
            .states
            .iter()
            .any(|state| Some(&state.name) == name.as_ref())
        {
            errors.leave_to_rustc();
        } else if let Some(name) = name {
            self.arguments.push(Argument::State(self.states.len()));
            self.fields.push(Field {
                name: name.clone(),
                ty: field,
            });
            self.states.push(State {
                name,
                borrowed,
                through,
            });
        }
    }

    fn session(&mut self, parameter: &PatType, errors: &mut Errors) {
        if self.session.is_some() {
            errors.at(
                &parameter.pat,
                "a connection has one `#[session]`: put both into one struct",
            );
            return;
        }
        let (borrowed, mutable) = match bare(&parameter.ty) {
            Type::Reference(reference) => {
                check_reference(reference, errors);
                (bare(&reference.elem), reference.mutability.is_some())
            }
            owned => {
                errors.at(
                    owned,
                    "the connection keeps the session: borrow it with `&mut`",
                );
                (owned, false)
            }
        };
        let cure = match borrowed {
            Type::ImplTrait(_) => Some("a session has one type: name it instead of `impl`"),
            Type::TraitObject(_) => Some("a session has a known size: write `&mut Box<dyn …>`"),
            Type::Slice(_) => Some("a session has a known size: write `&mut Vec<…>`"),
            Type::Path(path) if path.path.is_ident("str") => {
                Some("a session has a known size: write `&mut String`")
            }
            _ => None,
        };
        let mut ty = owned(borrowed, "a session", errors);
        if let Some(cure) = cure {
            errors.at(borrowed, cure);
            ty = parse_quote!(());
        }
        self.arguments.push(Argument::Session);
        self.session = Some(Session {
            name: parameter::name(&parameter.pat).cloned(),
            ty,
            mutable,
        });
    }

    fn request(&mut self, ty: &Type, errors: &mut Errors) {
        let cure = match bare(ty) {
            unsized_type if is_unsized(unsized_type) => {
                errors.leave_to_rustc();
                return;
            }
            Type::Reference(reference) if matches!(bare(&reference.elem), Type::TraitObject(_)) => {
                Some("a request has one type: name it instead of `dyn`")
            }
            Type::Reference(reference) if reference.mutability.is_some() => {
                errors.at(
                    &reference.mutability,
                    "a request is borrowed from what arrived, which is shared: remove `mut`",
                );
                return;
            }
            Type::Reference(reference)
                if reference
                    .lifetime
                    .as_ref()
                    .is_some_and(|name| name.ident == "static") =>
            {
                errors.at(
                    &reference.lifetime,
                    "a request lives as long as its exchange: remove `'static`",
                );
                return;
            }
            _ => None,
        };
        if let Some(cure) = cure {
            errors.at(ty, cure);
        } else if let Some(keyword) = find_impl(ty) {
            errors.at(
                &keyword,
                "a request has one type: name it instead of `impl`",
            );
        } else {
            self.arguments.push(Argument::Request);
            self.request = Some(lifetimes::unify(ty, "'exchange"));
        }
    }

    fn extracted(&mut self, ty: &Type, errors: &mut Errors) {
        if let Some(keyword) = find_impl(ty) {
            errors.at(
                &keyword,
                "what is taken from the context has one type: name it instead of `impl`",
            );
        } else {
            self.arguments
                .push(Argument::Extracted(Box::new(lifetimes::unify(
                    ty,
                    "'exchange",
                ))));
        }
    }
}

const IMPL_STATE: &str = "a state has one type: write `fn f<S: Trait>(…, #[state] name: &S)`";

fn check_options(args: &Args, function: &Function, errors: &mut Errors) {
    let has_session = function.sig.inputs.iter().any(|input| {
        matches!(input, FnArg::Typed(parameter)
            if parameter.attrs.iter().any(|attr| attr.path().is_ident("session")))
    });
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
}

fn check_reply(function: &Function, errors: &mut Errors) -> Option<Type> {
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

/// Reports `&'static`: what is lent is a field of the protocol.
fn check_reference(reference: &TypeReference, errors: &mut Errors) {
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident == "static"
    {
        errors.at(
            lifetime,
            "it is borrowed for one exchange: remove `'static`",
        );
    }
}

/// Returns the type with `'static` for what it borrows, which is reported.
fn owned(ty: &Type, what: &str, errors: &mut Errors) -> Type {
    for found in lifetimes::find(ty) {
        if !found.is_static() {
            errors.at_span(
                found.span,
                format_args!("{what} outlives all requests: own what it holds, or write `'static`"),
            );
        }
    }
    lifetimes::unify(ty, "'static")
}
