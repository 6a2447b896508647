//! The operation that the option `describe` adds to a module, which returns the module's description for clients.

use std::fmt::Write as _;

use quote::ToTokens;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta, Type, ext::IdentExt as _};

use super::{
    operation_attrs::written_stream,
    parameter::{self, Role},
};
use crate::{
    errors::Errors,
    item::{Function, Module, ModuleItem},
    options::{OptionName, Options},
    syntax::text_of,
};

/// Adds the operation at the end of a module, as if the user had written it.
pub(crate) fn add_description(options: &Options, module: &mut Module, errors: &mut Errors) {
    let Some(option) = options.given(OptionName::Describe) else {
        return;
    };
    if let Some(other) = module.function_names().find(|name| *name == option) {
        let message = "the option `describe` adds an operation of this name: rename this one";
        errors.at(other, message);
        return;
    }
    let text = describe(options, module);
    let function = Function::description(option, &text);
    module.items.push(ModuleItem::Operation(function));
}

/// Returns the number of an operation, which is at this position.
pub(super) fn number(options: &Options, function: &Function, position: usize) -> u32 {
    match options.given(OptionName::Describe) {
        // The number is the same in all modules, and does not move when operations are added.
        Some(option) if function.sig.ident == *option => u32::MAX,
        _ => u32::try_from(position).unwrap_or(u32::MAX),
    }
}

/// Returns the description in JSON.
fn describe(options: &Options, module: &Module) -> String {
    let mut json = String::from("{");
    field(&mut json, "protocol", &module.ident.unraw().to_string());
    field(
        &mut json,
        "docs",
        &docs(module.attrs.iter().chain(&module.inner)),
    );
    type_field(&mut json, "events", options.push.as_ref());
    json.push_str(",\"operations\":[");
    for (position, function) in module.operations().enumerate() {
        json.push_str(if position == 0 { "{" } else { ",{" });
        field(&mut json, "name", &function.sig.ident.unraw().to_string());
        field(&mut json, "docs", &docs(&function.attrs));
        json.push_str(",\"arguments\":[");
        for (position, (name, ty)) in arguments(function).enumerate() {
            json.push_str(if position == 0 { "{" } else { ",{" });
            field(&mut json, "name", &name.unraw().to_string());
            type_field(&mut json, "type", Some(ty));
            json.push('}');
        }
        json.push(']');
        type_field(&mut json, "reply", Some(&function.output()));
        for (name, attr) in [("items", "replies"), ("chunks", "requests")] {
            type_field(&mut json, name, written_stream(function, attr).as_ref());
        }
        json.push('}');
    }
    json.push_str("]}");
    json
}

/// Returns the parameters that a client sends.
pub(crate) fn arguments(function: &Function) -> impl Iterator<Item = (&Ident, &Type)> {
    function.parameters().filter_map(|parameter| {
        // Errors in the parameter are reported when the operation is resolved.
        let is_sent = match parameter::resolve_role(parameter, &mut Errors::default()) {
            Role::Plain => !parameter::is_context(parameter, function),
            role => role == Role::Secret,
        };
        let name = parameter::name(&parameter.pat).filter(|_| is_sent)?;
        Some((name, &*parameter.ty))
    })
}

/// Returns the documentation in attributes, with the lines that rustdoc shows.
fn docs<'a>(attrs: impl IntoIterator<Item = &'a Attribute>) -> String {
    let lines = attrs.into_iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(docs) if docs.path.is_ident("doc") => match &docs.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned())
        .collect();
    lines.join("\n")
}

fn type_field(json: &mut String, name: &str, ty: Option<&Type>) {
    if let Some(ty) = ty {
        field(json, name, &text_of(ty.to_token_stream()));
    }
}

/// Writes a field of an object, whose value is a text.
fn field(json: &mut String, name: &str, value: &str) {
    if !json.ends_with('{') {
        json.push(',');
    }
    let _ = write!(json, "\"{name}\":\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            '\n' => json.push_str("\\n"),
            '\0'..' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(letter));
            }
            letter => json.push(letter),
        }
    }
    json.push('"');
}
