//! The options that the attributes know.

use syn::{Expr, Path, Type};

use super::Args;

/// The name of an option of either attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionName {
    Framing,
    Format,
    Session,
    Greeting,
    RejectWith,
    Blocking,
    HalfClose,
    Crate,
    Server,
    Request,
    Reply,
}

/// The side of a connection that an attribute writes the protocol of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What comes after the `=` of an option, and the field that it is stored in.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Type(fn(&mut Args) -> &mut Option<Type>),
    Expression(fn(&mut Args) -> &mut Option<Expr>),
    Path(fn(&mut Args) -> &mut Option<Path>),
    /// This word, which no field stores: that the option is given says it.
    Word(&'static str),
    Nothing,
}

/// An option that an attribute knows.
pub(super) struct OptionSpec {
    pub(super) name: OptionName,
    /// The name as it is written.
    pub(super) text: &'static str,
    pub(super) value: Value,
    /// The example that error messages show.
    pub(super) example: &'static str,
}

/// A table of options: the name, its text, the value, an example.
macro_rules! options {
    ($($name:ident $text:literal, $value:expr, $example:literal;)*) => {
        &[$(OptionSpec {
            name: OptionName::$name,
            text: $text,
            value: $value,
            example: $example,
        }),*]
    };
}

const SERVER: &[OptionSpec] = options! {
    Framing "framing", Value::Type(|args| &mut args.framing), "framing = Lines";
    Format "format", Value::Type(|args| &mut args.format), "format = Json";
    Session "session", Value::Expression(|args| &mut args.session), "session = User::guest()";
    Greeting "greeting", Value::Expression(|args| &mut args.greeting), "greeting = \"hello\"";
    RejectWith "reject_with", Value::Path(|args| &mut args.reject_with), "reject_with = in_words";
    Blocking "blocking", Value::Nothing, "blocking";
    HalfClose "half_close", Value::Word("ends"), "half_close = ends";
    Crate "crate", Value::Path(|args| &mut args.library.0), "crate = path::to::tcs";
};

const CLIENT: &[OptionSpec] = options! {
    Server "server", Value::Type(|args| &mut args.server), "server = Greet";
    Request "request", Value::Expression(|args| &mut args.request), "request = \"Ann\"";
    Reply "reply", Value::Type(|args| &mut args.reply), "reply = String";
    Framing "framing", Value::Type(|args| &mut args.framing), "framing = Lines";
    Format "format", Value::Type(|args| &mut args.format), "format = Json";
    Greeting "greeting", Value::Nothing, "greeting";
    Crate "crate", Value::Path(|args| &mut args.library.0), "crate = path::to::tcs";
};

impl Side {
    /// Returns the name of the attribute.
    pub(crate) const fn attribute(self) -> &'static str {
        match self {
            Self::Server => "server_protocol",
            Self::Client => "client_protocol",
        }
    }

    /// Returns the name of the trait of the library that the attribute implements.
    pub(crate) const fn trait_name(self) -> &'static str {
        match self {
            Self::Server => "ServerProtocol",
            Self::Client => "ClientProtocol",
        }
    }

    pub(super) const fn options(self) -> &'static [OptionSpec] {
        match self {
            Self::Server => SERVER,
            Self::Client => CLIENT,
        }
    }

    pub(super) fn option(self, text: &str) -> Option<&'static OptionSpec> {
        self.options().iter().find(|known| known.text == text)
    }
}

impl OptionSpec {
    /// Says what must come after the `=`.
    pub(super) fn help(&self) -> String {
        let takes = match self.value {
            Value::Type(_) => "a type",
            Value::Expression(_) => "an expression",
            Value::Path(_) => "a path",
            Value::Word(_) => "a word",
            Value::Nothing => "no value",
        };
        format!("`{}` takes {takes}: {}", self.text, self.write())
    }

    /// Says what to write.
    pub(super) fn write(&self) -> String {
        format!("write `{}`", self.example)
    }
}
