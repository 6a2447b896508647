//! The helper attributes of parameters: `#[state]`, `#[session]` and `#[context]`.

use proc_macro2::Ident;
use syn::{Attribute, Pat, PatType, Type};

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
    fn of(word: &str) -> Self {
        match word {
            "state" => Self::State,
            "session" => Self::Session,
            "context" => Self::Context,
            _ => Self::Unclear,
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
    let mut found = Role::Plain;
    for attr in &parameter.attrs {
        let Some(word) = attr.path().get_ident() else {
            continue;
        };
        let text = word.to_string();
        let meant = nearest(&text, HELPERS);
        let message = match meant {
            _ if is_cfg(attr) => CFG.to_owned(),
            _ if !is_ours(attr) => continue,
            Some(meant) if meant != text => {
                format!("unknown attribute `#[{text}]`: did you mean `#[{meant}]`?")
            }
            None => {
                let help = "there are `#[state]`, `#[session]` and `#[context]`";
                format!("unknown attribute `#[{text}]`: {help}")
            }
            Some(_) if attr.meta.require_path_only().is_err() => {
                errors.at(&attr.meta, takes_nothing(&text));
                String::new()
            }
            Some(_) if found == Role::Plain => String::new(),
            Some(_) => format!("a parameter has one helper attribute: remove `#[{text}]`"),
        };
        if !message.is_empty() {
            errors.at(word, message);
        }
        let role = meant.map_or(Role::Unclear, Role::of);
        found = match found {
            Role::Plain => role,
            other if other == role => role,
            _ => Role::Unclear,
        };
    }
    found
}

/// Returns the message about a helper attribute with a value.
pub(super) fn takes_nothing(word: &str) -> String {
    format!("`#[{word}]` takes nothing: write `#[{word}]`")
}

/// Reports attributes of a parameter of a client function, which has none.
pub(super) fn no_role(parameter: &PatType, errors: &mut Errors) {
    for attr in &parameter.attrs {
        let path = attr.path();
        if is_cfg(attr) {
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
