//! Corrects the handles in parameters, such as `Push<Chat>`. A handle names its protocol, and needs an option.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{
    Attribute, FnArg, PathSegment, Type,
    ext::IdentExt as _,
    parse_quote,
    spanned::Spanned as _,
    visit_mut::{self, VisitMut},
};

use super::{Function, Item, Module, ModuleItem};
use crate::{
    errors::Errors,
    options::{Options, Side, StreamKind},
    syntax::{
        is_named, is_one_of, is_type_name, last_argument_mut, mentions_word, text_of, upper_camel,
    },
};

/// Reports handles in the parameters of functions that name another type than their protocol, and handles whose option
/// is missing.
///
/// Corrects a wrong name, and replaces the body of a function without the option, because rustc would report each use
/// of the handle as well. An editor completes words in the body, so with `keeps_bodies` it stays.
pub(crate) fn correct_handles(
    options: &Options,
    item: &mut Item,
    keeps_bodies: bool,
    errors: &mut Errors,
) {
    match item {
        Item::Function(_) if options.side == Side::Client => {}
        Item::Function(function) => correct_function(options, function, None, keeps_bodies, errors),
        Item::Module(module) => {
            let names = names_not_declared(module);
            for item in &mut module.items {
                match item {
                    ModuleItem::Operation(function) => {
                        correct_function(options, function, Some(&names), keeps_bodies, errors);
                    }
                    ModuleItem::PrivateFunction(function) => {
                        let (events, message) = (StreamKind::EVENTS, options.push.as_ref());
                        correct(options, events, function, Some(&names), message, errors);
                    }
                    ModuleItem::Other(_) => {}
                }
            }
        }
    }
}

/// Returns the names that the protocols would have if they were named after the module and its functions, without those
/// that the module declares or imports, because these are other types.
fn names_not_declared(module: &Module) -> Vec<String> {
    let others = module.items.iter().filter_map(|item| match item {
        ModuleItem::Other(item) => Some(item.to_token_stream()),
        _ => None,
    });
    let others: TokenStream = others.collect();
    let has_glob = module.items.iter().any(|item| match item {
        // In a `use`, `*` is only a glob.
        ModuleItem::Other(item @ syn::Item::Use(_)) => {
            item.to_token_stream().to_string().contains('*')
        }
        _ => false,
    });
    let functions = module.function_names().filter(|_| !has_glob);
    let names = functions.chain([&module.ident]);
    let types = names.map(|name| upper_camel(&name.unraw().to_string()));
    types.filter(|name| !mentions_word(&others, name)).collect()
}

/// Corrects a function. For a function of a module, `others` are the names that the user may have written in place of the
/// protocol's.
fn correct_function(
    options: &Options,
    function: &mut Function,
    others: Option<&[String]>,
    keeps_bodies: bool,
    errors: &mut Errors,
) {
    let mut is_missing = false;
    for kind in StreamKind::ALL {
        // Each function of a module gives the type of its items or chunks by itself.
        let is_of_operation = others.is_some() && kind != StreamKind::EVENTS;
        let message = if is_of_operation {
            function.written_stream(kind)
        } else {
            kind.written(options).cloned()
        };
        let Some(handle) = correct(options, kind, function, others, message.as_ref(), errors)
        else {
            continue;
        };
        // The option may also be given, but not parse.
        is_missing |= message.is_none();
        let StreamKind {
            option_text: word,
            example,
            many,
            ..
        } = kind;
        let mut paths = function.attrs.iter().map(Attribute::path);
        let is_given = options.given(kind.option).is_some()
            || is_of_operation && paths.any(|path| path.is_ident(word));
        // Another error may be that the option is misspelt.
        if !is_given && errors.is_empty() {
            let help = if is_of_operation {
                format!("write `#[{word}({example})]` before the function")
            } else {
                format!("add the option `{word} = {example}`")
            };
            errors.at(&handle, format_args!("the {many} have no type: {help}"));
        }
    }
    if is_missing && !keeps_bodies {
        function.body = parse_quote!({ ::core::unimplemented!() });
        let allowed = parse_quote!(#[allow(unused_mut, unused_variables)]);
        function.attrs.push(allowed);
    }
}

/// Corrects the handles of a function that name another type. Returns the type of the first parameter that has a
/// handle of its protocol.
fn correct(
    options: &Options,
    kind: &StreamKind,
    function: &mut Function,
    others: Option<&[String]>,
    message: Option<&Type>,
    errors: &mut Errors,
) -> Option<Type> {
    let name = function.sig.ident.unraw().to_string();
    let protocol = match (others, &options.name) {
        (Some(_), _) if kind == StreamKind::EVENTS => "Protocol".to_owned(),
        (None, Some(protocol)) => protocol.unraw().to_string(),
        _ => upper_camel(&name),
    };
    if !is_type_name(&name, &protocol) {
        // `resolve_name` reports it.
        return None;
    }
    let mut wrong = vec![name];
    wrong.extend(others.map(|_| "Protocol".to_owned()));
    wrong.extend(message.map(|message| text_of(message.to_token_stream())));
    let mut handles = Handles {
        names: kind.handles,
        protocol,
        wrong,
        others: others.unwrap_or_default(),
        is_found: false,
        errors,
    };
    let mut first = None;
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(parameter) = input {
            handles.visit_type_mut(&mut parameter.ty);
            first = first.or_else(|| handles.is_found.then(|| (*parameter.ty).clone()));
        }
    }
    first
}

/// Visits the handles in types.
struct Handles<'a> {
    names: &'a [&'a str],
    protocol: String,
    /// What is not the protocol's type: the name of the function, or the type of the messages.
    wrong: Vec<String>,
    /// The names that the types of other protocols may have.
    others: &'a [String],
    is_found: bool,
    errors: &'a mut Errors,
}

impl VisitMut for Handles<'_> {
    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        visit_mut::visit_path_segment_mut(self, segment);
        let handle = segment.ident.clone();
        if !is_one_of(&handle, self.names) {
            return;
        }
        let Some(ty) = last_argument_mut(segment) else {
            return;
        };
        let (protocol, written) = (&self.protocol, text_of(ty.to_token_stream()));
        let is_other = self.others.contains(&written);
        if written != *protocol && (is_other || self.wrong.contains(&written)) {
            let help = format!("`{handle}` is named after the protocol: write `{protocol}`");
            let another = format!("{help},\nor `super::{written}` for another one");
            self.errors.at(ty, if is_other { another } else { help });
            let name = Ident::new(protocol, ty.span());
            *ty = parse_quote!(#name);
        }
        self.is_found |= is_named(ty, protocol);
    }
}
