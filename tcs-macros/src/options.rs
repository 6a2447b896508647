//! The options that the attributes know.

/// One of the two attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Server,
    Client,
}

/// What stands behind the `=` of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Type,
    Expression,
    Path,
    /// The word that the example has.
    Word,
    Nothing,
}

/// An option, with what a message about it shows.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    pub(crate) example: &'static str,
}

const fn known(name: &'static str, value: Value, example: &'static str) -> Known {
    Known {
        name,
        value,
        example,
    }
}

const SERVER: &[Known] = &[
    known("framing", Value::Type, "framing = Lines"),
    known("format", Value::Type, "format = Json"),
    known("session", Value::Expression, "session = User::guest()"),
    known("greeting", Value::Expression, "greeting = \"hello\""),
    known("refuse", Value::Path, "refuse = in_words"),
    known("blocking", Value::Nothing, "blocking"),
    known("half_close", Value::Word, "half_close = ends"),
    known("crate", Value::Path, "crate = path::to::tcs"),
];

const CLIENT: &[Known] = &[
    known("server", Value::Type, "server = Greet"),
    known("request", Value::Expression, "request = \"Ann\""),
    known("reply", Value::Type, "reply = String"),
    known("framing", Value::Type, "framing = Lines"),
    known("format", Value::Type, "format = Json"),
    known("crate", Value::Path, "crate = path::to::tcs"),
];

impl Attribute {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server_protocol",
            Self::Client => "client_protocol",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }

    pub(crate) const fn options(self) -> &'static [Known] {
        match self {
            Self::Server => SERVER,
            Self::Client => CLIENT,
        }
    }

    pub(crate) fn option(self, name: &str) -> Option<&'static Known> {
        self.options().iter().find(|known| known.name == name)
    }
}

impl Known {
    /// Says what must stand behind the `=`.
    pub(crate) fn cure(&self) -> String {
        let Self {
            name,
            value,
            example,
        } = self;
        match value {
            Value::Type => format!("`{name}` takes a type: write `{example}`"),
            Value::Expression => format!("`{name}` takes an expression: write `{example}`"),
            Value::Path => format!("`{name}` takes a path: write `{example}`"),
            Value::Word => format!("`{name}` takes a word: write `{example}`"),
            Value::Nothing => format!("`{name}` takes no value: write `{example}`"),
        }
    }
}
