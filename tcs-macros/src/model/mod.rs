//! What was written, as checked: what is wrong has been reported and is left out.

pub(crate) mod client;
pub(crate) mod name;
pub(crate) mod operations;
pub(crate) mod server;

use syn::Type;

use crate::{
    errors::Errors,
    item::Function,
    types::{bare, find_impl, is_unsized, names_future},
};

/// Returns the type of `what` arrives, a request or a reply, unless none can be of it.
fn message(ty: &Type, what: &str, errors: &mut Errors) -> Option<Type> {
    let mut message = ty.clone();
    match bare(ty) {
        unsized_type if is_unsized(unsized_type) => {
            errors.leave_to_rustc();
            return None;
        }
        Type::Reference(reference) => {
            let mut reference = reference.clone();
            if let Type::TraitObject(_) = bare(&reference.elem) {
                let message = format_args!("{what} has one type: name it instead of `dyn`");
                errors.at(ty, message);
                return None;
            }
            if let Some(written) = reference.lifetime.take_if(|name| name.ident == "static") {
                let cure = "lives as long as its exchange: remove `'static`";
                errors.at(&written, format_args!("{what} {cure}"));
            }
            if let Some(mutability) = reference.mutability {
                let cure = "is borrowed from what arrived, which is shared: remove `mut`";
                errors.at(&mutability, format_args!("{what} {cure}"));
                return None;
            }
            message = Type::Reference(reference);
        }
        _ => {}
    }
    has_one_type(&message, what, errors).then_some(message)
}

/// Returns whether a type is named, and reports `impl`.
fn has_one_type(ty: &Type, what: &str, errors: &mut Errors) -> bool {
    let keyword = find_impl(ty);
    if let Some(keyword) = &keyword {
        let message = format_args!("{what} has one type: name it instead of `impl`");
        errors.at(keyword, message);
    }
    keyword.is_none()
}

/// Returns what the function returns, unless that can be no result.
fn output(function: &Function, what: &str, never: &str, errors: &mut Errors) -> Option<Type> {
    let output = function.output();
    if let Type::Never(_) = bare(&output) {
        errors.at(&output, format_args!("{never}: it must return"));
        return None;
    }
    if names_future(&output) {
        errors.at(
            &output,
            "a function that waits is an `async fn`: write it so, with what it returns",
        );
        return None;
    }
    has_one_type(&output, what, errors).then_some(output)
}
