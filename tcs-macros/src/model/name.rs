//! The name of the type that an attribute adds.

use proc_macro2::Ident;
use syn::{Attribute, Meta, ext::IdentExt as _};

use crate::{
    args::Args,
    errors::Errors,
    item::Function,
    syntax::{is_named, is_type_name, upper_camel},
};

/// The names in everyone's scope that a type would hide.
const PRELUDE: &str = "\
    AsMut AsRef AsyncFn AsyncFnMut AsyncFnOnce Box Clone Copy Default DoubleEndedIterator \
    Drop Eq Err ExactSizeIterator Extend Fn FnMut FnOnce From FromIterator Future Into \
    IntoFuture IntoIterator Iterator None Ok Option Ord PartialEq PartialOrd Result Send \
    Sized Some String Sync ToOwned ToString TryFrom TryInto Unpin Vec";

/// Returns the name of the type: the explicit one, or the function's in `UpperCamelCase`. If no type
/// can have the name, reports it.
pub(super) fn type_name(args: &Args, function: &Function, errors: &mut Errors) -> Option<Ident> {
    let conflicting = conflicting_attr(function);
    let function = &function.sig.ident;
    if let Some(name) = &args.name {
        return Some(name.clone());
    }
    if let Some(rival) = conflicting {
        let help = "two attributes make a type of this name: write `Name` first in one of them";
        errors.at(rival.path(), help);
        return None;
    }
    let camel = upper_camel(&function.unraw().to_string());
    let options = [&args.framing, &args.format, &args.server];
    let why = if !is_type_name(&camel) {
        "this function's name makes no type name".to_owned()
    } else if PRELUDE.split(' ').any(|name| name == camel) {
        format!("the type would hide the prelude's `{camel}`")
    } else if options.into_iter().flatten().any(|ty| is_named(ty, &camel)) {
        format!("the type would hide the `{camel}` of its option")
    } else {
        return Some(Ident::new(&camel, function.span()));
    };
    let attribute = args.side.attribute();
    let message = format_args!("{why}: write `#[{attribute}(Name)]`");
    errors.at(function, message);
    None
}

/// Returns another attribute of this crate that names its type after the function.
fn conflicting_attr(function: &Function) -> Option<&Attribute> {
    let is_named = |attr: &Attribute| {
        matches!(&attr.meta, Meta::List(options)
        if options.tokens.to_string().starts_with(char::is_uppercase))
    };
    function.other_protocol_attrs().find(|attr| !is_named(attr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prelude_is_sorted() {
        // So that a name that is missing is seen.
        assert!(PRELUDE.split(' ').is_sorted());
    }
}
