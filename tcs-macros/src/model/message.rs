//! Checks the types of messages and of what is stored.

use syn::{Type, TypeReference};

use crate::{
    errors::Errors,
    item::Function,
    syntax::{bare, find_impl, has_future, is_unsized},
};

/// Returns the type of a message, unless no message can be of it. `what` is a request or a reply.
pub(super) fn message_type(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    let message = match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            // A parameter of a function has a known size, so the function has the error already.
            errors.leave_to_rustc();
            return None;
        }
        Type::Reference(reference) => borrowed(reference, what, errors)?,
        _ => ty.clone(),
    };
    has_one_type(&message, what, errors).then_some(message)
}

/// Returns the type of a message by reference, without `'static`.
fn borrowed(reference: &TypeReference, what: &str, errors: &mut Errors) -> Option<Type> {
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
        let help = "is borrowed from what arrived, which is shared: remove `mut`";
        errors.at(&mutability, format_args!("{what} {help}"));
        return None;
    }
    Some(Type::Reference(reference))
}

/// Returns whether a type is complete, and reports `impl`.
pub(super) fn has_one_type(ty: &Type, what: &str, errors: &mut Errors) -> bool {
    let keyword = find_impl(ty);
    if let Some(keyword) = &keyword {
        let message = format_args!("{what} has one type: name it instead of `impl`");
        errors.at(keyword, message);
    }
    // A `Verbatim` type did not parse, which was reported.
    keyword.is_none() && !matches!(ty, Type::Verbatim(_))
}

/// Returns the return type, unless a reply cannot be of it. `never` says why not `!`.
pub(super) fn return_type(
    function: &Function,
    what: &str,
    never: &str,
    errors: &mut Errors,
) -> Option<Type> {
    let output = function.output();
    if let Type::Never(_) = bare(&output) {
        errors.at(
            &output,
            format_args!("{never}: return a type instead of `!`"),
        );
        return None;
    }
    if has_future(&output) {
        let help = "a function that waits is an `async fn`: write it so, with what it returns";
        errors.at(&output, help);
        return None;
    }
    has_one_type(&output, what, errors).then_some(output)
}
