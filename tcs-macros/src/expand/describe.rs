//! Writes the description of a module for clients, which the operation of the option `describe` returns.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Type, ext::IdentExt as _};

use crate::{
    model::operations::Operations,
    options::{OptionName, Options, StreamKind},
    syntax::text_of,
};

/// Declares the constant that the operation returns, if the option is given.
pub(super) fn description(options: &Options, operations: &Operations<'_>) -> Option<TokenStream> {
    let option = options.given(OptionName::Describe)?;
    let json = describe(options, operations, option);
    let span = Span::mixed_site();
    Some(quote_spanned!(span=> const __DESCRIPTION: &::core::primitive::str = #json;))
}

/// Returns the description in JSON, without the operation that returns it, which is called `own`.
fn describe(options: &Options, operations: &Operations<'_>, own: &Ident) -> String {
    let module = operations.module;
    let list = operations.list.iter();
    let others = list.filter(|operation| operation.handler.function.sig.ident != *own);
    let described = others.map(|operation| {
        let function = operation.handler.function;
        let arguments = operation.arguments.iter().map(|argument| {
            let name = text(&argument.name.unraw().to_string());
            object([("name", name), ("type", type_text(argument.written))])
        });
        let mut fields = vec![
            ("name", text(&operation.name)),
            ("docs", docs(&function.attrs)),
            ("arguments", array(arguments)),
            ("reply", type_text(&function.output())),
        ];
        for (name, kind) in [("items", StreamKind::ITEMS), ("chunks", StreamKind::CHUNKS)] {
            let written = function.written_stream(kind);
            fields.extend(written.map(|ty| (name, type_text(&ty))));
        }
        object(fields)
    });
    let mut fields = vec![
        ("protocol", text(&module.ident.unraw().to_string())),
        ("docs", docs(module.attrs.iter().chain(&module.inner))),
    ];
    fields.extend(options.push.iter().map(|ty| ("events", type_text(ty))));
    fields.push(("operations", array(described)));
    object(fields)
}

/// Returns the documentation in attributes, with the lines that rustdoc shows.
fn docs<'a>(attrs: impl IntoIterator<Item = &'a Attribute>) -> String {
    let lines = attrs.into_iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(docs) if docs.path.is_ident("doc") => match &docs.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(line),
                ..
            }) => Some(line.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned())
        .collect();
    text(&lines.join("\n"))
}

fn type_text(ty: &Type) -> String {
    text(&text_of(ty.to_token_stream()))
}

fn object(fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let fields = fields.into_iter();
    let fields: Vec<_> = fields
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn text(value: &str) -> String {
    let letters = value.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        '\n' => "\\n".to_owned(),
        '\0'..' ' => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    });
    format!("\"{}\"", letters.collect::<String>())
}
