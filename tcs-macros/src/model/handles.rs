//! Checks the handles in parameters, such as `Push<Chat>`. A handle names its protocol, and needs an option.

use std::collections::HashSet;

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{
    Attribute, PathSegment, Type,
    ext::IdentExt as _,
    parse_quote,
    visit_mut::{self, VisitMut},
};

use super::{message_stream::StreamKind, operation_attrs::written_stream};
use crate::{
    errors::Errors,
    item::{Function, Item, Module, ModuleItem},
    options::{Options, Side},
    syntax::{is_named, is_one_of, last_argument_mut, same_tokens, upper_camel, words_of},
};

/// Reports handles in the parameters of functions that name another type than their protocol, and handles whose option
/// is missing.
///
/// Corrects a wrong name, and replaces the body of a function without the option, because rustc would report each use
/// of the handle as well. An editor completes words in the body, so with `keeps_bodies` it stays.
pub(crate) fn check_handles(
    options: &Options,
    item: &mut Item,
    keeps_bodies: bool,
    errors: &mut Errors,
) {
    let other_names = match item {
        Item::Function(_) if options.side == Side::Client => return,
        Item::Function(_) => None,
        Item::Module(module) => Some(names_not_declared(module)),
    };
    let check = HandleCheck {
        options,
        other_names,
    };
    match item {
        Item::Function(function) => check.check_function(function, keeps_bodies, errors),
        Item::Module(module) => {
            for item in &mut module.items {
                match item {
                    ModuleItem::Operation(function) => {
                        check.check_function(function, keeps_bodies, errors);
                    }
                    ModuleItem::PrivateFunction(function) => {
                        check.correct(StreamKind::EVENTS, function, errors);
                    }
                    ModuleItem::Other(_) => {}
                }
            }
        }
    }
}

/// Returns the names that the types of protocols would have if they were named after the module and its functions.
/// Leaves out the names that the module declares, because these are other types. If there is a glob, also leaves out
/// the names after functions, because the glob may import such a type.
fn names_not_declared(module: &Module) -> Vec<String> {
    let (mut has_glob, mut declared) = (false, HashSet::new());
    for item in &module.items {
        if let ModuleItem::Other(item) = item {
            let tokens = item.to_token_stream();
            has_glob |= matches!(item, syn::Item::Use(_)) && tokens.to_string().contains('*');
            declared.extend(words_of(tokens));
        }
    }
    let functions = module.function_names().filter(|_| !has_glob);
    let names = functions.chain([&module.ident]);
    let types = names.map(|name| upper_camel(&name.unraw().to_string()));
    types.filter(|name| !declared.contains(name)).collect()
}

/// Checks one function after the other.
struct HandleCheck<'a> {
    options: &'a Options,
    /// For the functions of a module: other names that the user may have written in place of the protocol's.
    other_names: Option<Vec<String>>,
}

impl HandleCheck<'_> {
    fn check_function(&self, function: &mut Function, keeps_bodies: bool, errors: &mut Errors) {
        let mut is_missing = false;
        for kind in StreamKind::ALL {
            let Some(handle) = self.correct(kind, function, errors) else {
                continue;
            };
            if !self.is_given(kind, function) {
                self.report_missing(kind, &handle, errors);
            }
            // The option may also be given, but not parse.
            is_missing |= self.message(kind, function).is_none();
        }
        if is_missing && !keeps_bodies {
            function.body = parse_quote!({ ::core::unimplemented!() });
            let allowed = parse_quote!(#[allow(unused_mut, unused_variables)]);
            function.attrs.push(allowed);
        }
    }

    const fn is_of_module(&self) -> bool {
        self.other_names.is_some()
    }

    /// Returns `true` if each function of a module gives the type of these messages by itself.
    fn is_of_operation(&self, kind: &'static StreamKind) -> bool {
        self.is_of_module() && kind != StreamKind::EVENTS
    }

    /// Returns `true` if the type of the messages is given.
    fn is_given(&self, kind: &'static StreamKind, function: &Function) -> bool {
        if self.is_of_operation(kind) {
            let mut paths = function.attrs.iter().map(Attribute::path);
            paths.any(|path| path.is_ident(kind.option_text))
        } else {
            self.options.given(kind.option).is_some()
        }
    }

    /// Returns the type of the messages, if it is given and parses.
    fn message(&self, kind: &'static StreamKind, function: &Function) -> Option<Type> {
        if self.is_of_operation(kind) {
            written_stream(function, kind.option_text)
        } else {
            kind.written(self.options).cloned()
        }
    }

    fn report_missing(&self, kind: &'static StreamKind, handle: &Type, errors: &mut Errors) {
        let StreamKind {
            option,
            option_text: word,
            example,
            many,
            ..
        } = kind;
        let help = if !self.is_of_operation(kind) {
            format!("add the option `{word} = {example}`")
        } else if self.options.given(*option).is_none() {
            format!("write `#[{word}({example})]` before the function")
        } else {
            // The option of the module has an error of its own.
            return;
        };
        errors.at(handle, format_args!("the {many} have no type: {help}"));
    }

    /// Corrects the handles of a function that name another type. Returns the type of the first parameter that has a
    /// handle of its protocol.
    fn correct(
        &self,
        kind: &'static StreamKind,
        function: &mut Function,
        errors: &mut Errors,
    ) -> Option<Type> {
        let name = function.sig.ident.unraw().to_string();
        let protocol = match &self.options.name {
            _ if self.is_of_module() && kind == StreamKind::EVENTS => "Protocol".to_owned(),
            Some(protocol) if !self.is_of_module() => protocol.to_string(),
            _ => upper_camel(&name),
        };
        let message = self.message(kind, function);
        let others = self.other_names.as_deref().unwrap_or_default();
        let is_wrong = |ty: &Type| {
            let is_other = |other: &String| is_named(ty, other);
            others.iter().any(is_other)
                || is_named(ty, &name)
                || self.is_of_module() && is_named(ty, "Protocol")
                || message.as_ref().is_some_and(|it| same_tokens(it, ty))
        };
        let mut handles = Handles {
            names: kind.handles,
            protocol,
            others,
            is_wrong,
            is_found: false,
            errors,
        };
        let mut first = None;
        for parameter in function.parameters_mut() {
            handles.visit_type_mut(&mut parameter.ty);
            if first.is_none() && handles.is_found {
                first = Some((*parameter.ty).clone());
            }
        }
        first
    }
}

/// Visits the handles in types.
struct Handles<'a, W> {
    names: &'a [&'a str],
    protocol: String,
    /// The names that the types of other protocols may have.
    others: &'a [String],
    is_wrong: W,
    is_found: bool,
    errors: &'a mut Errors,
}

impl<W: Fn(&Type) -> bool> VisitMut for Handles<'_, W> {
    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        visit_mut::visit_path_segment_mut(self, segment);
        let handle = segment.ident.clone();
        if !is_one_of(&handle, self.names) {
            return;
        }
        let Some(ty) = last_argument_mut(segment) else {
            return;
        };
        let protocol = &self.protocol;
        if !is_named(ty, protocol) && (self.is_wrong)(ty) {
            let mut others = self.others.iter().filter(|other| is_named(ty, other));
            let another = others
                .next()
                .map(|other| format!(",\nor `super::{other}` for another one"));
            let help = format_args!("`{handle}` is named after the protocol: write `{protocol}`");
            let another = another.unwrap_or_default();
            self.errors.at(ty, format_args!("{help}{another}"));
            let name = Ident::new(protocol, syn::spanned::Spanned::span(ty));
            *ty = parse_quote!(#name);
        }
        self.is_found |= is_named(ty, protocol);
    }
}
