//! The name of the type that an attribute adds.

use proc_macro2::Ident;
use syn::{Attribute, Meta, Path, Type, ext::IdentExt as _};

use crate::{
    errors::Errors,
    item::Function,
    options::Options,
    syntax::{bare, is_named, is_type_name, upper_camel},
};

/// The names of the prelude, which a type must not hide.
const PRELUDE: &str = "\
    AsMut AsRef AsyncFn AsyncFnMut AsyncFnOnce Box Clone Copy Default DoubleEndedIterator \
    Drop Eq Err ExactSizeIterator Extend Fn FnMut FnOnce From FromIterator Future Into \
    IntoFuture IntoIterator Iterator None Ok Option Ord PartialEq PartialOrd Result Send \
    Sized Some String Sync ToOwned ToString TryFrom TryInto Unpin Vec";

/// Returns the name of the type: the explicit name, or the function's name in `UpperCamelCase`. Reports a name that no
/// type can have.
pub(super) fn resolve_name(
    options: &Options,
    function: &Function,
    errors: &mut Errors,
) -> Option<Ident> {
    let ident = &function.sig.ident;
    let written = ident.unraw().to_string();
    if options.name.is_none()
        && let Some(path) = conflicting_attr(function)
    {
        let help = format!("write `#[{}(Name, …)]`", path.segments.last()?.ident);
        let message = format_args!("two attributes make a type of this name: {help}");
        errors.at(path, message);
        return None;
    }
    let help = format!("write `#[{}(Name)]`", options.side.attribute());
    let (name, word, help) = match &options.name {
        Some(name) => (
            name.unraw().to_string(),
            name,
            "write another name".to_owned(),
        ),
        None => (upper_camel(&written), ident, help),
    };
    let types = [&options.framing, &options.format, &options.server];
    let why = if !is_type_name(&written, &name) {
        format!("`{word}` cannot become a type name")
    } else if is_in_prelude(&name) {
        format!("the type would hide the prelude's `{name}`")
    } else if types.into_iter().flatten().any(|ty| is_named(ty, &name)) {
        format!("the type would hide the `{name}` of its option")
    } else if is_in_signature(function, &name) {
        format!("the type would hide the `{name}` of its function")
    } else {
        return Some(Ident::new(&name, word.span()));
    };
    errors.at(word, format_args!("{why}: {help}"));
    None
}

/// Returns `true` if a parameter or the return value has a type of this name, or is a reference to it.
fn is_in_signature(function: &Function, name: &str) -> bool {
    let output = function.output();
    let parameters = function.parameters().map(|parameter| &*parameter.ty);
    let mut types = parameters.chain([&output]);
    types.any(|ty| match bare(ty) {
        Type::Reference(reference) => is_named(bare(&reference.elem), name),
        ty => is_named(ty, name),
    })
}

/// Returns `true` if a type of this name would hide a name of the prelude.
pub(super) fn is_in_prelude(name: &str) -> bool {
    PRELUDE.split(' ').any(|known| known == name)
}

/// Returns the path of another attribute of this crate that names its type after the function.
fn conflicting_attr(function: &Function) -> Option<&Path> {
    // Only the other expansion parses the options of its attribute. A name is the first option, and begins with a
    // capital letter.
    let is_named = |attr: &Attribute| {
        matches!(&attr.meta, Meta::List(options)
        if options.tokens.to_string().starts_with(char::is_uppercase))
    };
    let mut attrs = function.other_protocol_attrs();
    attrs.find(|attr| !is_named(attr)).map(Attribute::path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prelude_is_that_of_the_edition() {
        macro_rules! names {
            ($($name:ident)*) => {{
                // A name that the prelude does not have does not compile.
                #[expect(unused_imports, reason = "only their names are needed")]
                use std::prelude::rust_2024::{$($name),*};
                [$(stringify!($name)),*]
            }};
        }
        // In the order of the documentation of `std::prelude`.
        let mut names = names! {
            Send Sized Sync Unpin Copy Drop Fn FnMut FnOnce AsyncFn AsyncFnMut AsyncFnOnce Box
            ToOwned Clone PartialEq PartialOrd Eq Ord AsRef AsMut Into From Default Iterator Extend
            IntoIterator DoubleEndedIterator ExactSizeIterator Option Some None Result Ok Err String
            ToString Vec TryFrom TryInto FromIterator Future IntoFuture
        };
        names.sort_unstable();
        assert_eq!(PRELUDE.split(' ').collect::<Vec<_>>(), names);
    }
}
