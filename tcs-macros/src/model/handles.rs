//! Parameters that need an option.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    GenericArgument, PathArguments, PathSegment, Type, TypePath,
    ext::IdentExt as _,
    parse_quote,
    spanned::Spanned as _,
    visit_mut::{self, VisitMut},
};

use super::operation_attrs::is_operation_attr_of;
use crate::{
    errors::Errors,
    item::{Function, Item, Module, ModuleItem},
    options::{OptionName, Options, Side},
    syntax::{bare, is_named, is_one_of, upper_camel},
};

/// The handles of the library, each with its option, what it takes, and an example.
const HANDLES: [(&str, OptionName, &str, &str, &str); 3] = [
    ("Push", OptionName::Push, "push", "events", "Event<'_>"),
    (
        "Replies",
        OptionName::Replies,
        "replies",
        "items",
        "Row<'_>",
    ),
    (
        "Requests",
        OptionName::Requests,
        "requests",
        "chunks",
        "Chunk<'_>",
    ),
];

/// Reports the handles in the parameters of functions whose option is missing.
///
/// Such a function gets another body, unless an editor completes in it: rustc would report each use of the handle as
/// well.
pub(crate) fn check_handles(
    options: &Options,
    item: &mut Item,
    keeps_bodies: bool,
    errors: &mut Errors,
) {
    if let Item::Module(module) = item {
        name_protocol(module, errors);
    }
    let mut check = |function: &mut Function, is_operation| {
        if check_function(options, function, is_operation, errors) && !keeps_bodies {
            function.body = parse_quote!({ ::core::unimplemented!() });
            let allowed = parse_quote!(#[allow(unused_mut, unused_variables)]);
            function.attrs.push(allowed);
        }
    };
    match item {
        Item::Function(function) if options.side == Side::Server => check(function, false),
        Item::Function(_) => {}
        Item::Module(module) => {
            for item in &mut module.items {
                if let ModuleItem::Operation(function) = item {
                    check(function, true);
                }
            }
        }
    }
}

/// Reports handles of a type that is named like the module, as the protocol of a function `chat` is `Chat`. They become
/// those of `Protocol`, so that rustc does not report each use of the name as well.
fn name_protocol(module: &mut Module, errors: &mut Errors) {
    let derived = upper_camel(&module.ident.unraw().to_string());
    // One by name; a glob may import another type, which a path names.
    let is_declared = module.items.iter().any(|item| match item {
        ModuleItem::Other(item) => mentions(item.to_token_stream(), &derived),
        _ => false,
    });
    if is_declared {
        return;
    }
    let mut renamed = RenameProtocol { derived, errors };
    for item in &mut module.items {
        if let ModuleItem::Operation(function) | ModuleItem::PrivateFunction(function) = item {
            renamed.visit_signature_mut(&mut function.sig);
        }
    }
}

/// Returns `true` if a word is anywhere in the tokens.
fn mentions(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), word),
        TokenTree::Ident(ident) => ident == word,
        _ => false,
    })
}

struct RenameProtocol<'a> {
    derived: String,
    errors: &'a mut Errors,
}

impl VisitMut for RenameProtocol<'_> {
    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        visit_mut::visit_path_segment_mut(self, segment);
        let handle = &segment.ident;
        if !is_one_of(handle, &["Push", "PushGroup", "PushGroups"]) {
            return;
        }
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments
            && let Some(GenericArgument::Type(ty)) = arguments.args.last_mut()
            && is_named(ty, &self.derived)
        {
            let protocol = Ident::new("Protocol", ty.span());
            let help = format_args!(
                "the protocol of a module is `Protocol`: write that for `{}`",
                self.derived
            );
            self.errors.at(ty, help);
            *ty = parse_quote!(#protocol);
        }
    }
}

/// Returns `true` if an option is missing.
fn check_function(
    options: &Options,
    function: &Function,
    is_operation: bool,
    errors: &mut Errors,
) -> bool {
    let derived = upper_camel(&function.sig.ident.unraw().to_string());
    let mut is_missing = false;
    for (handle, option, word, messages, example) in HANDLES {
        let has_option = options.given(option).is_some();
        let written = format!("add the option `{word} = {example}`");
        let (protocol, is_given, help) = match &options.name {
            _ if is_operation && option == OptionName::Push => {
                ("Protocol".to_owned(), has_option, written)
            }
            _ if is_operation => {
                let is_given = |attr| is_operation_attr_of(attr, word);
                let help = format!("write `#[{word}({example})]` before the function");
                (derived.clone(), function.attrs.iter().any(is_given), help)
            }
            Some(name) => (name.to_string(), has_option, written),
            None => (derived.clone(), has_option, written),
        };
        let mut parameters = function.parameters();
        let parameter = parameters.find(|it| is_handle(&it.ty, handle, &protocol));
        if let Some(parameter) = parameter.filter(|_| !is_given) {
            let message = format_args!("the {messages} have no type: {help}");
            errors.at(&parameter.ty, message);
            is_missing = true;
        }
    }
    is_missing
}

/// Returns `true` if a parameter is this handle of a protocol.
pub(super) fn has(function: &Function, handle: &str, protocol: &str) -> bool {
    function
        .parameters()
        .any(|parameter| is_handle(&parameter.ty, handle, protocol))
}

/// Returns `true` if a type is this handle of a protocol, such as `Push<Chat>`.
pub(super) fn is_handle(ty: &Type, handle: &str, protocol: &str) -> bool {
    let Type::Path(TypePath { path, .. }) = bare(ty) else {
        return false;
    };
    path.segments.last().is_some_and(|last| {
        last.ident == handle
            && matches!(&last.arguments, PathArguments::AngleBracketed(arguments)
                if matches!(arguments.args.last(), Some(GenericArgument::Type(ty)) if is_named(ty, protocol)))
    })
}
