//! What the attributes of a parameter say.

use proc_macro2::Ident;
use syn::{Attribute, Meta, Pat, PatType};

use crate::{
    errors::{Errors, nearest},
    names::is_one_of,
};

/// The attributes that Rust itself knows on a parameter.
const BUILTIN: &[&str] = &[
    "allow", "cfg", "cfg_attr", "deny", "doc", "expect", "forbid", "warn",
];

const HELPERS: &[&str] = &["state", "session", "context"];

/// What a parameter is declared to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// No helper attribute: the request, or something after it.
    Plain,
    State,
    Session,
    /// Taken from the context.
    Context,
    /// Its attributes are wrong, which has been reported.
    Unclear,
}

impl Role {
    /// Returns the helper attribute that says so.
    const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Session => "session",
            Self::Context | Self::Plain | Self::Unclear => "context",
        }
    }
}

/// Returns whether the attribute is ours to remove from the kept function: one word that Rust does
/// not know. A misspelt helper is ours too, or rustc would report it a second time.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    match attr.path().get_ident() {
        Some(word) => !is_one_of(word, BUILTIN),
        None => false,
    }
}

/// Reads the helper attributes of a parameter of a server function.
pub(crate) fn role(parameter: &PatType, errors: &mut Errors) -> Role {
    let mut role = Role::Plain;
    for attr in &parameter.attrs {
        let Some(word) = attr.path().get_ident() else {
            continue;
        };
        let said = match word.to_string().as_str() {
            "state" => Role::State,
            "session" => Role::Session,
            "context" => Role::Context,
            _ => {
                if let Some((message, meant)) = complaint(word) {
                    errors.at(word, message);
                    role = meant;
                }
                continue;
            }
        };
        if !matches!(attr.meta, Meta::Path(_)) {
            errors.at(
                &attr.meta,
                format_args!("`#[{word}]` takes nothing: write `#[{word}]`"),
            );
        }
        match role {
            Role::Plain => role = said,
            Role::Unclear => {}
            _ if role == said => {
                errors.at(
                    word,
                    format_args!("`#[{word}]` stands here twice: remove one"),
                );
            }
            _ => {
                let first = role.word();
                errors.at(
                    word,
                    format_args!(
                        "a parameter is `#[{first}]` or `#[{word}]`, not both: remove one"
                    ),
                );
                role = Role::Unclear;
            }
        }
    }
    role
}

/// Reports any helper attribute on a parameter of a client function.
pub(crate) fn no_role(parameter: &PatType, errors: &mut Errors) {
    for attr in &parameter.attrs {
        if let Some(word) = attr.path().get_ident() {
            if is_one_of(word, HELPERS) {
                errors.at(
                    word,
                    format_args!("a client has no `#[{word}]`: a plain parameter becomes a field"),
                );
            } else if is_cfg(attr) {
                errors.at(word, CFG);
            } else if is_ours(attr) {
                errors.at(
                    word,
                    "a parameter of a client function has no attribute: remove it",
                );
            }
        }
    }
}

/// Returns the name that a parameter is given, if its pattern is one.
pub(crate) fn name(pattern: &Pat) -> Option<&Ident> {
    match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        _ => None,
    }
}

const CFG: &str = "a parameter cannot be conditional: put the `#[cfg]` on the whole function";

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// Says what is wrong with an attribute, and what role was probably meant.
fn complaint(word: &Ident) -> Option<(String, Role)> {
    let text = word.to_string();
    if text == "cfg" || text == "cfg_attr" {
        return Some((CFG.to_owned(), Role::Unclear));
    }
    if BUILTIN.contains(&text.as_str()) {
        return None;
    }
    let unknown = format!("unknown attribute `#[{text}]`");
    Some(match nearest(&text, HELPERS) {
        Some("state") => (format!("{unknown}: did you mean `#[state]`?"), Role::State),
        Some("session") => (
            format!("{unknown}: did you mean `#[session]`?"),
            Role::Session,
        ),
        Some(_) => (
            format!("{unknown}: did you mean `#[context]`?"),
            Role::Context,
        ),
        None => (
            format!("{unknown}: there are `#[state]`, `#[session]` and `#[context]`"),
            Role::Unclear,
        ),
    })
}
