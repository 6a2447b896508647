//! The options that the attributes know.

use proc_macro2::Ident;
use syn::{Expr, Path, Type};

use crate::library::Library;

/// The options of an attribute, as far as they could be parsed.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) side: Side,
    pub(crate) name: Option<Ident>,
    pub(crate) framing: Option<Type>,
    pub(crate) format: Option<Type>,
    pub(crate) session: Option<Expr>,
    pub(crate) greeting: Option<Expr>,
    pub(crate) reject_with: Option<Path>,
    pub(crate) server: Option<Type>,
    pub(crate) request: Option<Expr>,
    pub(crate) reply: Option<Type>,
    /// What the option `crate` says.
    pub(crate) library: Library,
    /// The options that are given, also those whose value could not be parsed.
    pub(super) given: Vec<Ident>,
}

/// The side of a connection that an attribute writes the protocol of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Server,
    Client,
}

/// What comes after the `=` of an option, and the field that it is stored in.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Type(fn(&mut Args) -> &mut Option<Type>),
    Expression(fn(&mut Args) -> &mut Option<Expr>),
    Path(fn(&mut Args) -> &mut Option<Path>),
    /// The word in the option's example.
    Word,
    Nothing,
}

/// An option that an attribute knows.
pub(super) struct OptionSpec {
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// The example that error messages show.
    pub(super) example: &'static str,
}

/// A table of options: the name, the value and its field, an example.
macro_rules! options {
    ($($name:literal $value:ident $(($($field:tt)+))? $example:literal)*) => {
        &[$(OptionSpec {
            name: $name,
            value: Value::$value $((|args| &mut args.$($field)+))?,
            example: $example,
        }),*]
    };
}

const SERVER: &[OptionSpec] = options! {
    "framing" Type(framing) "framing = Lines"
    "format" Type(format) "format = Json"
    "session" Expression(session) "session = User::guest()"
    "greeting" Expression(greeting) "greeting = \"hello\""
    "reject_with" Path(reject_with) "reject_with = in_words"
    "blocking" Nothing "blocking"
    "half_close" Word "half_close = ends"
    "crate" Path(library.0) "crate = path::to::tcs"
};

const CLIENT: &[OptionSpec] = options! {
    "server" Type(server) "server = Greet"
    "request" Expression(request) "request = \"Ann\""
    "reply" Type(reply) "reply = String"
    "framing" Type(framing) "framing = Lines"
    "format" Type(format) "format = Json"
    "greeting" Nothing "greeting"
    "crate" Path(library.0) "crate = path::to::tcs"
};

impl Side {
    /// Returns the name of the attribute.
    pub(crate) const fn attribute(self) -> &'static str {
        match self {
            Self::Server => "server_protocol",
            Self::Client => "client_protocol",
        }
    }

    /// Returns the trait of the library that the attribute implements.
    pub(crate) const fn protocol(self) -> &'static str {
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

    pub(super) fn option(self, name: &str) -> Option<&'static OptionSpec> {
        self.options().iter().find(|known| known.name == name)
    }
}

impl OptionSpec {
    /// Says what must come after the `=`.
    pub(super) fn help(&self) -> String {
        let takes = match self.value {
            Value::Type(_) => "a type",
            Value::Expression(_) => "an expression",
            Value::Path(_) => "a path",
            Value::Word => "a word",
            Value::Nothing => "no value",
        };
        format!("`{}` takes {takes}: {}", self.name, self.write())
    }

    /// Says what to write.
    pub(super) fn write(&self) -> String {
        format!("write `{}`", self.example)
    }
}
