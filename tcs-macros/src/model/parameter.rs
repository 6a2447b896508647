//! The helper attributes of parameters: `#[state]`, `#[session]` and `#[context]`.

use proc_macro2::Ident;
use syn::{Attribute, Meta, Pat, PatType, Type};

use crate::{args::nearest, errors::Errors, syntax::is_one_of};

/// The helper attributes.
pub(super) const HELPERS: &[&str] = &["state", "session", "context"];

/// The attributes that Rust itself knows on a parameter.
const BUILTIN: &[&str] = &[
    "allow", "cfg", "cfg_attr", "deny", "doc", "expect", "forbid", "warn",
];

/// What the attributes of a parameter declare it to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// No helper attribute: the request, or something after it.
    Plain,
    State,
    Session,
    /// Taken from the context.
    Context,
    /// Its attributes are wrong, or its type is half typed; this has been reported.
    Unclear,
}

impl Role {
    /// Returns what a helper attribute declares.
    fn of(word: &str) -> Option<Self> {
        match word {
            "state" => Some(Self::State),
            "session" => Some(Self::Session),
            "context" => Some(Self::Context),
            _ => None,
        }
    }
}

/// Returns whether to remove an attribute of a parameter from the function: whether it is one word
/// that Rust does not know. A misspelt helper is removed too, or rustc would report it a second time.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    let word = attr.path().get_ident();
    word.is_some_and(|word| !is_one_of(word, BUILTIN))
}

/// Returns what a parameter of a server function is.
pub(super) fn role(parameter: &PatType, errors: &mut Errors) -> Role {
    if let Type::Verbatim(_) = *parameter.ty {
        return Role::Unclear;
    }
    let mut found = None;
    for attr in &parameter.attrs {
        let Some(word) = attr.path().get_ident() else {
            continue;
        };
        let text = word.to_string();
        let role = match Role::of(&text) {
            None if is_ours(attr) || is_cfg(attr) => {
                let (message, meant) = unknown(&text);
                errors.at(word, message);
                meant.and_then(Role::of).unwrap_or(Role::Unclear)
            }
            None => continue,
            Some(role) => role,
        };
        if !matches!(attr.meta, Meta::Path(_)) && role != Role::Unclear {
            let message = format_args!("`#[{text}]` takes nothing: write `#[{text}]`");
            errors.at(&attr.meta, message);
        }
        if found.is_some_and(|found| found != Role::Unclear) {
            let help = format_args!("remove `#[{text}]`");
            errors.at(
                word,
                format_args!("a parameter has one helper attribute: {help}"),
            );
        }
        found = match found {
            Some(other) if other != role => Some(Role::Unclear),
            _ => Some(role),
        };
    }
    found.unwrap_or(Role::Plain)
}

/// Reports attributes of a parameter of a client function, which has none.
pub(super) fn no_role(parameter: &PatType, errors: &mut Errors) {
    for attr in &parameter.attrs {
        let path = attr.path();
        if let Some(word) = path.get_ident().filter(|word| is_one_of(word, HELPERS)) {
            let help = "a plain parameter becomes a field";
            errors.at(word, format_args!("a client has no `#[{word}]`: {help}"));
        } else if is_cfg(attr) {
            errors.at(path, CFG);
        } else if is_ours(attr) {
            let help = "a parameter of a client function has no attribute: remove it";
            errors.at(path, help);
        }
    }
}

/// Returns the name of a parameter, if its pattern is one.
pub(super) fn name(pattern: &Pat) -> Option<&Ident> {
    match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        _ => None,
    }
}

const CFG: &str = "a parameter cannot be conditional: put the `#[cfg]` on the whole function";

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// Says what is wrong with an attribute, and which was probably meant.
fn unknown(word: &str) -> (String, Option<&'static str>) {
    if word == "cfg" || word == "cfg_attr" {
        return (CFG.to_owned(), None);
    }
    let meant = nearest(word, HELPERS);
    let help = match meant {
        Some(meant) => format!("did you mean `#[{meant}]`?"),
        None => "there are `#[state]`, `#[session]` and `#[context]`".to_owned(),
    };
    (format!("unknown attribute `#[{word}]`: {help}"), meant)
}
