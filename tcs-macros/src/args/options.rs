//! The options that the attributes know.

use syn::{Expr, Path, Type};

use super::Args;

/// One of the two attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Server,
    Client,
}

/// What stands after the `=` of an option, and where it is kept.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Type(fn(&mut Args) -> &mut Option<Type>),
    Expression(fn(&mut Args) -> &mut Option<Expr>),
    Path(fn(&mut Args) -> &mut Option<Path>),
    /// The word that the example has.
    Word,
    Nothing,
}

/// An option, with what a message about it shows.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) example: &'static str,
}

const fn known(name: &'static str, value: Value, example: &'static str) -> Known {
    Known {
        name,
        value,
        example,
    }
}

const SERVER: &[Known] = &[
    known(
        "framing",
        Value::Type(|args| &mut args.framing),
        "framing = Lines",
    ),
    known(
        "format",
        Value::Type(|args| &mut args.format),
        "format = Json",
    ),
    known(
        "session",
        Value::Expression(|args| &mut args.session),
        "session = User::guest()",
    ),
    known(
        "greeting",
        Value::Expression(|args| &mut args.greeting),
        "greeting = \"hello\"",
    ),
    known(
        "refuse",
        Value::Path(|args| &mut args.refuse),
        "refuse = in_words",
    ),
    known("blocking", Value::Nothing, "blocking"),
    known("half_close", Value::Word, "half_close = ends"),
    known(
        "crate",
        Value::Path(|args| &mut args.library.0),
        "crate = path::to::tcs",
    ),
];

const CLIENT: &[Known] = &[
    known(
        "server",
        Value::Type(|args| &mut args.server),
        "server = Greet",
    ),
    known(
        "request",
        Value::Expression(|args| &mut args.request),
        "request = \"Ann\"",
    ),
    known(
        "reply",
        Value::Type(|args| &mut args.reply),
        "reply = String",
    ),
    known(
        "framing",
        Value::Type(|args| &mut args.framing),
        "framing = Lines",
    ),
    known(
        "format",
        Value::Type(|args| &mut args.format),
        "format = Json",
    ),
    known(
        "crate",
        Value::Path(|args| &mut args.library.0),
        "crate = path::to::tcs",
    ),
];

impl Attribute {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server_protocol",
            Self::Client => "client_protocol",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }

    pub(super) const fn options(self) -> &'static [Known] {
        match self {
            Self::Server => SERVER,
            Self::Client => CLIENT,
        }
    }

    pub(super) fn option(self, name: &str) -> Option<&'static Known> {
        self.options().iter().find(|known| known.name == name)
    }
}

impl Known {
    /// Says what must stand after the `=`.
    pub(super) fn cure(&self) -> String {
        let takes = match self.value {
            Value::Type(_) => "a type",
            Value::Expression(_) => "an expression",
            Value::Path(_) => "a path",
            Value::Word => "a word",
            Value::Nothing => "no value",
        };
        format!("`{}` takes {takes}: write `{}`", self.name, self.example)
    }
}
