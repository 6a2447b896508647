//! The helper attributes of parameters: `#[state]`, `#[session]`, `#[framing]`, `#[context]` and `#[secret]`.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{Attribute, Pat, PatType, Path, Type, TypeReference, ext::IdentExt as _};

use crate::{
    errors::Errors,
    item::Function,
    syntax::{bare, is_handle, is_one_of, mentions_word, nearest, text_of, upper_camel},
};

/// The helper attributes.
const HELPERS: [(&str, Role); 5] = [
    ("state", Role::State),
    ("session", Role::Session),
    ("framing", Role::Framing),
    ("context", Role::Context),
    ("secret", Role::Secret),
];

/// The attributes that Rust itself knows on a parameter.
const BUILTIN: &[&str] = &[
    "allow", "cfg", "cfg_attr", "deny", "doc", "expect", "forbid", "warn",
];

/// Returns the helper attribute that a word names, or probably means.
fn meant(word: &Ident) -> Option<(&'static str, Role)> {
    let names = HELPERS.map(|(name, _)| name);
    let word = word.to_string();
    let meant = nearest(&word, &names)?;
    HELPERS.into_iter().find(|(name, _)| *name == meant)
}

/// Returns `true` if an attribute declares a session, misspelt or not.
pub(super) fn is_session(attr: &Attribute) -> bool {
    let meant = attr.path().get_ident().and_then(meant);
    meant.is_some_and(|(_, role)| role == Role::Session)
}

/// The role of a parameter, by its attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// No helper attribute: the request, or a later parameter.
    Plain,
    State,
    Session,
    /// The framing of the connection.
    Framing,
    /// Taken from the context.
    Context,
    /// An argument of an operation that `Debug` hides.
    Secret,
    /// The attributes have an error, or the type is incomplete. The error is reported already.
    Unclear,
}

/// Returns `true` if an attribute of a parameter must be removed from the function, because it is a single word that
/// Rust does not know. A misspelt helper is removed too: otherwise, rustc would report it a second time.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    helper(attr.path()).is_some_and(|word| !is_one_of(word, BUILTIN)) || has_helper(attr)
}

/// Returns the word of a helper attribute, which is the last word of a path such as `tcs::state`.
fn helper(path: &Path) -> Option<&Ident> {
    let last = &path.segments.last()?.ident;
    let is_known = HELPERS.iter().any(|(name, _)| last == name);
    path.get_ident().or_else(|| is_known.then_some(last))
}

/// Returns `true` if an attribute is `#[cfg_attr(…)]` with a helper attribute.
fn has_helper(attr: &Attribute) -> bool {
    let is_named = |(name, _): &(&str, Role)| mentions_word(&attr.meta, name);
    attr.path().is_ident("cfg_attr") && HELPERS.iter().any(is_named)
}

/// Returns the role of a parameter of a server function.
pub(super) fn resolve_role(parameter: &PatType, errors: &mut Errors) -> Role {
    if let Type::Verbatim(_) = *parameter.ty {
        return Role::Unclear;
    }
    let mut found = Role::Plain;
    let mut secret = None;
    for attr in &parameter.attrs {
        let declared = match helper(attr.path()) {
            Some(word) if is_conditional(attr) || has_helper(attr) => {
                let message = "a parameter cannot be conditional: remove the";
                errors.at(word, format_args!("{message} `#[{word}]`"));
                Role::Unclear
            }
            Some(word) if is_ours(attr) => resolve_helper(attr, word, errors),
            _ => continue,
        };
        if declared == Role::Secret {
            secret = Some(attr.path());
        }
        found = match found {
            Role::Plain => declared,
            Role::Unclear => Role::Unclear,
            _ => {
                // A secret is an argument, so the other attribute, which says that it is none, is the intended one.
                let word = secret.unwrap_or_else(|| attr.path()).to_token_stream();
                let help = "a parameter has one helper attribute: remove";
                errors.at(&word, format_args!("{help} `#[{word}]`"));
                Role::Unclear
            }
        };
    }
    found
}

/// Returns the role that a helper attribute declares. Reports a misspelt attribute, and takes it for the nearest one.
fn resolve_helper(attr: &Attribute, word: &Ident, errors: &mut Errors) -> Role {
    if !HELPERS.iter().any(|(name, _)| word == name) {
        errors.complete("parameter", word);
    }
    let Some((meant, role)) = meant(word) else {
        let help = "use `#[state]`, `#[session]`, `#[framing]`, `#[context]`";
        errors.at(word, format_args!("unknown attribute `#[{word}]`: {help}"));
        return Role::Unclear;
    };
    if attr.path().is_ident(meant) {
        check_empty(attr, errors);
    } else {
        let written = text_of(attr.path().to_token_stream());
        let message = format_args!("unknown attribute `#[{written}]`: did you mean `#[{meant}]`?");
        errors.at(attr.path(), message);
    }
    role
}

/// Returns `true` if a parameter of an operation is taken from the context, with or without `#[context]`.
pub(super) fn is_context(parameter: &PatType, function: &Function) -> bool {
    let mut attrs = parameter.attrs.iter();
    attrs.any(|attr| attr.path().is_ident("context"))
        || !parameter.attrs.iter().any(is_ours) && is_of_connection(&parameter.ty, function)
}

/// Returns `true` if no argument can have this type of the library: a reference to data of the connection, which no
/// format reads, or a handle that names a generated type.
fn is_of_connection(ty: &Type, function: &Function) -> bool {
    let variant = upper_camel(&function.sig.ident.unraw().to_string());
    is_known_of_connection(ty)
        || is_handle(ty, &["Push"], "Protocol")
        || is_handle(ty, &["Replies", "Requests"], &variant)
}

/// Returns `true` if a type is `&Peer` or `&ConnectionInfo`.
pub(super) fn is_known_of_connection(ty: &Type) -> bool {
    let Type::Reference(TypeReference {
        elem,
        mutability: None,
        ..
    }) = bare(ty)
    else {
        return false;
    };
    matches!(bare(elem), Type::Path(path) if path.path.segments.last().is_some_and(|last| {
        last.arguments.is_none() && is_one_of(&last.ident, &["Peer", "ConnectionInfo"])
    }))
}

/// Returns `true` if a parameter is a reference to a type that only a state can have, and reports the missing
/// `#[state]`.
pub(super) fn lacks_state(parameter: &PatType, errors: &mut Errors) -> bool {
    let Type::Reference(reference) = bare(&parameter.ty) else {
        return false;
    };
    let Type::Path(path) = bare(&reference.elem) else {
        return false;
    };
    let name = &path.path.segments[path.path.segments.len() - 1].ident;
    let is_group = is_one_of(name, &["PushGroup", "PushGroups"]);
    if !is_group && !is_one_of(name, &["Mutex", "RwLock"]) {
        return false;
    }
    // An earlier error may be that there are no events.
    if !is_group || errors.is_empty() {
        let message = format_args!("all connections share a `{name}`: write `#[state]` before it");
        errors.at(&parameter.ty, message);
    }
    true
}

/// Reports `#[secret]` on a parameter of a function that is not in a module. Returns the role without it.
pub(super) fn check_not_secret(parameter: &PatType, role: Role, errors: &mut Errors) -> Role {
    if role != Role::Secret {
        return role;
    }
    let mut paths = parameter.attrs.iter().map(Attribute::path);
    if let Some(path) = paths.find(|path| path.is_ident("secret")) {
        let message = "`#[secret]` is for an argument of a function of a module: remove it";
        errors.at(path, message);
    }
    Role::Plain
}

/// Reports a helper attribute with a value.
pub(super) fn check_empty(attr: &Attribute, errors: &mut Errors) {
    if attr.meta.require_path_only().is_err() {
        let word = attr.path().to_token_stream();
        let message = format_args!("`#[{word}]` takes nothing: write `#[{word}]`");
        errors.at(&attr.meta, message);
    }
}

/// Reports helper attributes on a parameter of a client function, which cannot have them.
pub(super) fn check_no_role(parameter: &PatType, errors: &mut Errors) {
    for attr in &parameter.attrs {
        let path = attr.path();
        if is_conditional(attr) {
            errors.at(
                path,
                "a parameter cannot be conditional: remove the `#[cfg]`",
            );
        } else if is_ours(attr) {
            let message = "a parameter of a client function has no attribute: remove it";
            errors.at(path, message);
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

/// Returns `true` if an attribute makes the following item or parameter conditional.
pub(super) fn is_conditional(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}
