//! Resolves the types of messages and of stored values.

use syn::{Type, TypeReference};

use crate::{
    errors::Errors,
    item::Function,
    syntax::{bare, find_keyword, has_trait, is_unsized, lifetimes},
};

/// Returns the type of a message, unless no message can have this type. `what` is a request or a reply.
pub(super) fn resolve_message(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            // A parameter of a function has a known size, so the function has the error already.
            errors.leave_to_rustc();
            None
        }
        Type::Reference(reference) => resolve_reference(reference, what, errors),
        _ => {
            let mut ty = resolve_type(ty, what, errors)?.clone();
            let help = "lives as long as its exchange: remove `'static`";
            let found = lifetimes::elide_static(&mut ty);
            errors.at_each(&found, format_args!("{what} {help}"));
            Some(ty)
        }
    }
}

/// Returns the type of a message by reference, without `'static`.
fn resolve_reference(reference: &TypeReference, what: &str, errors: &mut Errors) -> Option<Type> {
    let mut reference = reference.clone();
    if let Type::TraitObject(_) = bare(&reference.elem) {
        let help = "has one type: name it instead of `dyn`";
        errors.at(&reference, format_args!("{what} {help}"));
        return None;
    }
    if let Some(written) = reference.lifetime.take_if(|name| name.ident == "static") {
        let help = "lives as long as its exchange: remove `'static`";
        errors.at(&written, format_args!("{what} {help}"));
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
    resolve_type(&Type::Reference(reference), what, errors).cloned()
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
    if has_trait(&output, &["Future"], "Output") {
        let message = "a function that waits is an `async fn`: write it so, with what it returns";
        errors.at(&output, message);
        return None;
    }
    let iterators = ["Iterator", "IntoIterator", "Stream"];
    if has_trait(&output, &iterators, "Item")
        && let Some(keyword) = find_keyword(&output, &["impl", "dyn"])
    {
        let message = "an iterator is no message: return a `Vec`, or send its items with `replies`";
        errors.at(&keyword, message);
        return None;
    }
    resolve_type(&output, what, errors).cloned()
}
