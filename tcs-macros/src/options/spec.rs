//! The options that the attributes know.

use syn::{Expr, Path, Type};

use super::{OptionName, Options, Side};

/// The value after the `=` of an option, and the field that stores it.
#[derive(Clone, Copy)]
pub(super) enum ValueKind {
    Type(fn(&mut Options) -> &mut Option<Type>),
    Expression(fn(&mut Options) -> &mut Option<Expr>),
    Path(fn(&mut Options) -> &mut Option<Path>),
    /// This word, which no field stores, because the option has no other value.
    Word(&'static str),
    Nothing,
}

/// An option that an attribute knows.
pub(super) struct OptionSpec {
    pub(super) name: OptionName,
    /// The name as it is written.
    pub(super) text: &'static str,
    pub(super) value: ValueKind,
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
    Framing "framing", ValueKind::Type(|options| &mut options.framing), "framing = Lines";
    Format "format", ValueKind::Type(|options| &mut options.format), "format = Json";
    Session "session", ValueKind::Expression(|options| &mut options.session), "session = User::guest()";
    Greeting "greeting", ValueKind::Expression(|options| &mut options.greeting), "greeting = \"hello\"";
    RejectWith "reject_with", ValueKind::Path(|options| &mut options.reject_with), "reject_with = in_words";
    Push "push", ValueKind::Type(|options| &mut options.push), "push = Event<'_>";
    IsPush "is_push", ValueKind::Path(|options| &mut options.is_push), "is_push = is_event";
    Replies "replies", ValueKind::Type(|options| &mut options.replies), "replies = Row<'_>";
    Requests "requests", ValueKind::Type(|options| &mut options.requests), "requests = Chunk<'_>";
    Blocking "blocking", ValueKind::Nothing, "blocking";
    HalfClose "half_close", ValueKind::Word("ends"), "half_close = ends";
    Concurrent "concurrent", ValueKind::Expression(|options| &mut options.concurrent), "concurrent = 16";
    Unordered "unordered", ValueKind::Nothing, "unordered";
    Describe "describe", ValueKind::Nothing, "describe";
    Crate "crate", ValueKind::Path(|options| &mut options.library.0), "crate = path::to::tcs";
};

const CLIENT: &[OptionSpec] = options! {
    Server "server", ValueKind::Type(|options| &mut options.server), "server = Greet";
    Request "request", ValueKind::Expression(|options| &mut options.request), "request = \"Ann\"";
    Reply "reply", ValueKind::Type(|options| &mut options.reply), "reply = String";
    Framing "framing", ValueKind::Type(|options| &mut options.framing), "framing = Lines";
    Format "format", ValueKind::Type(|options| &mut options.format), "format = Json";
    Greeting "greeting", ValueKind::Nothing, "greeting";
    Push "push", ValueKind::Type(|options| &mut options.push), "push = Event<'_>";
    IsPush "is_push", ValueKind::Path(|options| &mut options.is_push), "is_push = is_event";
    Describe "describe", ValueKind::Nothing, "describe";
    Crate "crate", ValueKind::Path(|options| &mut options.library.0), "crate = path::to::tcs";
};

impl Side {
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
    /// Returns the text that says which value must follow the `=`.
    pub(super) fn help(&self) -> String {
        let takes = match self.value {
            ValueKind::Type(_) => "a type",
            ValueKind::Expression(_) => "an expression",
            ValueKind::Path(_) => "a path",
            ValueKind::Word(_) => "a word",
            ValueKind::Nothing => "no value",
        };
        format!("`{}` takes {takes}: {}", self.text, self.write())
    }

    /// Returns the text that shows the example.
    pub(super) fn write(&self) -> String {
        format!("write `{}`", self.example)
    }
}
