//! What the attributes of a parameter say.

use proc_macro2::Ident;
use syn::{Attribute, Meta, Pat, PatType};

use crate::{args::nearest, errors::Errors, words::is_one_of};

/// The attributes that Rust itself knows on a parameter.
const BUILTIN: &[&str] = &[
    "allow", "cfg", "cfg_attr", "deny", "doc", "expect", "forbid", "warn",
];

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
    /// Returns what a helper attribute says.
    fn of(word: &str) -> Option<Self> {
        match word {
            "state" => Some(Self::State),
            "session" => Some(Self::Session),
            "context" => Some(Self::Context),
            _ => None,
        }
    }
}

/// Returns whether the attribute is ours to remove from the kept function: one word that Rust does
/// not know. A misspelt helper is ours too, or rustc would report it a second time.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    attr.path()
        .get_ident()
        .is_some_and(|word| !is_one_of(word, BUILTIN))
}

/// Reads the helper attributes of a parameter of a server function.
pub(crate) fn role(parameter: &PatType, errors: &mut Errors) -> Role {
    let mut found: Option<(String, Role)> = None;
    for attr in &parameter.attrs {
        let Some(word) = attr.path().get_ident() else {
            continue;
        };
        let text = word.to_string();
        let Some(role) = Role::of(&text) else {
            if is_ours(attr) || is_cfg(attr) {
                let (message, meant) = unknown(&text);
                errors.at(word, message);
                let role = meant.and_then(Role::of).unwrap_or(Role::Unclear);
                found = Some((meant.unwrap_or_default().to_owned(), role));
            }
            continue;
        };
        if !matches!(attr.meta, Meta::Path(_)) {
            let message = format_args!("`#[{text}]` takes nothing: write `#[{text}]`");
            errors.at(&attr.meta, message);
        }
        match &mut found {
            None => found = Some((text, role)),
            Some((_, Role::Unclear)) => {}
            Some((_, first)) if *first == role => {
                let message = format_args!("`#[{text}]` stands here twice: remove one");
                errors.at(word, message);
            }
            Some((first, unclear)) => {
                let first = format!("a parameter is `#[{first}]` or `#[{text}]`");
                errors.at(word, format_args!("{first}, not both: remove one"));
                *unclear = Role::Unclear;
            }
        }
    }
    found.map_or(Role::Plain, |(_, role)| role)
}

/// Reports any helper attribute on a parameter of a client function.
pub(crate) fn no_role(parameter: &PatType, errors: &mut Errors) {
    for attr in &parameter.attrs {
        let Some(word) = attr.path().get_ident() else {
            continue;
        };
        if Role::of(&word.to_string()).is_some() {
            let cure = "a plain parameter becomes a field";
            errors.at(word, format_args!("a client has no `#[{word}]`: {cure}"));
        } else if is_cfg(attr) {
            errors.at(word, CFG);
        } else if is_ours(attr) {
            let cure = "a parameter of a client function has no attribute: remove it";
            errors.at(word, cure);
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

/// Says what is wrong with an attribute, and which was probably meant.
fn unknown(word: &str) -> (String, Option<&'static str>) {
    if word == "cfg" || word == "cfg_attr" {
        return (CFG.to_owned(), None);
    }
    let meant = nearest(word, &["state", "session", "context"]);
    let cure = match meant {
        Some(meant) => format!("did you mean `#[{meant}]`?"),
        None => "there are `#[state]`, `#[session]` and `#[context]`".to_owned(),
    };
    (format!("unknown attribute `#[{word}]`: {cure}"), meant)
}
