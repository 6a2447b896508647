//! Resolves the types of messages and of stored values.

use quote::ToTokens as _;
use syn::Type;

use crate::{
    errors::Errors,
    item::Function,
    syntax::{bare, find_keyword, is_unsized, lifetimes},
};

/// Returns the type of a message, unless no message can have this type. `what` is a request or a reply.
pub(super) fn resolve_message(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    let inner = bare(ty);
    if is_unsized(inner) {
        // A parameter of a function has a known size, so the function has the error already.
        errors.leave_to_rustc();
        return None;
    }
    if let Type::Reference(reference) = inner {
        if let Type::TraitObject(_) = bare(&reference.elem) {
            let help = "has one type: name it instead of `dyn`";
            errors.at(reference, format_args!("{what} {help}"));
            return None;
        }
        if let Some(mutability) = reference.mutability {
            let help = if what == "a request" {
                "is read only: remove `mut`, or write `#[session]` before it"
            } else {
                "is borrowed from what arrived, which is shared: remove `mut`"
            };
            errors.at(&mutability, format_args!("{what} {help}"));
            return None;
        }
    }
    let mut ty = resolve_type(ty, what, errors)?.clone();
    let help = "lives as long as its exchange: remove `'static`";
    let found = lifetimes::elide_static(&mut ty);
    errors.at_each(&found, format_args!("{what} {help}"));
    Some(ty)
}

/// Returns a type if it is complete, and reports `impl`.
pub(super) fn resolve_type<'t>(ty: &'t Type, what: &str, errors: &mut Errors) -> Option<&'t Type> {
    if let Some(keyword) = find_keyword(ty, &["impl"]) {
        let message = format_args!("{what} has one type: name it instead of `impl`");
        errors.at(&keyword, message);
        return None;
    }
    // A `Verbatim` type did not parse, and the error is reported already.
    (!matches!(ty, Type::Verbatim(_))).then_some(ty)
}

/// Returns the return type, unless a reply cannot have this type. `never` is the reason why it cannot be `!`.
pub(super) fn resolve_output(
    function: &Function,
    what: &str,
    never: &str,
    errors: &mut Errors,
) -> Option<Type> {
    let output = function.output();
    if let Type::Never(_) = bare(&output) {
        let message = format_args!("{never}: return a type instead of `!`");
        errors.at(&output, message);
        return None;
    }
    if is_unsized(bare(&output)) {
        // rustc reports the function.
        errors.leave_to_rustc();
        return None;
    }
    if let Type::Verbatim(_) = output {
        return None;
    }
    // A type of the user's may have the name of one of these traits, but has no such argument.
    let text = output.to_token_stream().to_string();
    if text.contains("Future < Output =") {
        let message = "a function that waits is an `async fn`: write it so, with what it returns";
        errors.at(&output, message);
        return None;
    }
    let is_iterator = ["Iterator < Item =", "Stream < Item ="];
    if is_iterator.iter().any(|written| text.contains(written))
        && let Some(keyword) = find_keyword(&output, &["impl", "dyn"])
    {
        let message =
            "an iterator is not a message: return a `Vec`, or send its items with `replies`";
        errors.at(&keyword, message);
        return None;
    }
    resolve_type(&output, what, errors).cloned()
}
