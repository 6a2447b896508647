//! The name of the type that an attribute adds.

use proc_macro2::Ident;
use syn::{Type, ext::IdentExt as _};

use crate::{args::Args, errors::Errors, item::Function};

/// The names in everyone's scope that a type would hide.
const PRELUDE: &[&str] = &[
    "AsMut",
    "AsRef",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Box",
    "Clone",
    "Copy",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "Err",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Future",
    "Into",
    "IntoFuture",
    "IntoIterator",
    "Iterator",
    "None",
    "Ok",
    "Option",
    "Ord",
    "PartialEq",
    "PartialOrd",
    "Result",
    "Send",
    "Sized",
    "Some",
    "String",
    "Sync",
    "ToOwned",
    "ToString",
    "TryFrom",
    "TryInto",
    "Unpin",
    "Vec",
];

/// Returns the name of the type: the explicit one, or the function's in `UpperCamelCase`.
///
/// `None` when no type can have the name; that has been reported.
pub(crate) fn type_name(
    args: &Args,
    function: &Function,
    attribute: &str,
    errors: &mut Errors,
) -> Option<Ident> {
    let rival = function.rival();
    let function = &function.sig.ident;
    if let Some(name) = &args.name {
        if name == function {
            errors.at(
                name,
                format_args!("`{name}` is the function: give the type another name"),
            );
            return None;
        }
        return Some(name.clone());
    }
    if let Some(rival) = rival {
        errors.at(
            rival.path(),
            "two attributes make a type of this name: write `Name` first in one of them",
        );
        return None;
    }
    let camel = upper_camel(&function.unraw().to_string());
    let mut ask = |why: &str| {
        errors.at(
            function,
            format_args!("{why}: write `#[{attribute}(Name)]`"),
        );
    };
    if camel.is_empty() || starts_with(&camel, |c| c.is_ascii_digit()) || camel == "Self" {
        ask("this function's name makes no type name");
        return None;
    }
    if *function == camel {
        ask("the type needs another name than the function");
        return None;
    }
    if PRELUDE.contains(&&*camel) {
        ask(&format!("the type would hide the prelude's `{camel}`"));
        return None;
    }
    if is_named(args.framing.as_ref(), &camel)
        || is_named(args.format.as_ref(), &camel)
        || is_named(args.server.as_ref(), &camel)
    {
        ask(&format!("the type would hide the `{camel}` of its option"));
        return None;
    }
    Some(Ident::new(&camel, function.span()))
}

/// Tells whether a word is one of the names.
pub(crate) fn is_one_of(word: &Ident, names: &[&str]) -> bool {
    names.contains(&word.to_string().as_str())
}

/// Tells whether a type is written as this single name.
fn is_named(ty: Option<&Type>, name: &str) -> bool {
    matches!(ty, Some(Type::Path(path)) if path.path.is_ident(name))
}

/// Tells what a text starts with.
pub(crate) fn starts_with(text: &str, is_it: fn(char) -> bool) -> bool {
    text.chars().next().is_some_and(is_it)
}

/// Returns `name_in_words` as `NameInWords`.
pub(crate) fn upper_camel(snake: &str) -> String {
    let mut camel = String::new();
    let mut is_first = true;
    for letter in snake.chars() {
        if letter == '_' {
            is_first = true;
        } else if is_first {
            for capital in letter.to_uppercase() {
                camel.push(capital);
            }
            is_first = false;
        } else {
            camel.push(letter);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_with_capitals() {
        for (snake, camel) in [
            ("greet", "Greet"),
            ("print_reply", "PrintReply"),
            ("_a__b_", "AB"),
            ("utf8_text", "Utf8Text"),
            ("éclair", "Éclair"),
            ("___", ""),
        ] {
            assert_eq!(upper_camel(snake), camel);
        }
    }

    #[test]
    fn prelude_is_sorted() {
        // So that a name that is missing is seen.
        assert!(PRELUDE.is_sorted());
    }
}
