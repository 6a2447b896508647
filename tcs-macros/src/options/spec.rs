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

/// The items under which an option is possible, with the error under other items.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Anywhere,
    Function(&'static str),
    Module(&'static str),
}

/// An option that an attribute knows.
pub(super) struct OptionSpec {
    pub(super) name: OptionName,
    /// The name as it is written.
    pub(super) text: &'static str,
    pub(super) value: ValueKind,
    /// The example that error messages show.
    pub(super) example: &'static str,
    pub(super) place: Place,
}

/// A table of options: the name, its text, the value, an example and the place.
macro_rules! options {
    ($($name:ident $text:literal, $value:expr, $example:literal, $place:expr;)*) => {
        &[$(OptionSpec {
            name: OptionName::$name,
            text: $text,
            value: $value,
            example: $example,
            place: $place,
        }),*]
    };
}

const DESCRIBE: Place = Place::Module("`describe` lists the operations of a module: remove it");

const SERVER: &[OptionSpec] = options! {
    Framing "framing", ValueKind::Type(|options| &mut options.framing), "framing = Lines", Place::Anywhere;
    Format "format", ValueKind::Type(|options| &mut options.format), "format = Json", Place::Anywhere;
    Session "session", ValueKind::Expression(|options| &mut options.session), "session = User::guest()", Place::Anywhere;
    Greeting "greeting", ValueKind::Expression(|options| &mut options.greeting), "greeting = \"hello\"", Place::Anywhere;
    RejectWith "reject_with", ValueKind::Path(|options| &mut options.reject_with), "reject_with = in_words", Place::Anywhere;
    Push "push", ValueKind::Type(|options| &mut options.push), "push = Event<'_>", Place::Anywhere;
    IsPush "is_push", ValueKind::Path(|options| &mut options.is_push), "is_push = is_event", Place::Anywhere;
    Replies "replies", ValueKind::Type(|options| &mut options.replies), "replies = Row<'_>", Place::Function("a function of a module says so itself: write `#[replies(…)]` before it");
    Requests "requests", ValueKind::Type(|options| &mut options.requests), "requests = Chunk<'_>", Place::Function("a function of a module says so itself: write `#[requests(…)]` before it");
    Blocking "blocking", ValueKind::Nothing, "blocking", Place::Function("a function of a module says so itself: write `#[blocking]` before it");
    HalfClose "half_close", ValueKind::Word("ends"), "half_close = ends", Place::Anywhere;
    Concurrent "concurrent", ValueKind::Expression(|options| &mut options.concurrent), "concurrent = 16", Place::Anywhere;
    Unordered "unordered", ValueKind::Nothing, "unordered", Place::Anywhere;
    Describe "describe", ValueKind::Nothing, "describe", DESCRIBE;
    Crate "crate", ValueKind::Path(|options| &mut options.library.0), "crate = path::to::tcs", Place::Anywhere;
};

const CLIENT: &[OptionSpec] = options! {
    Server "server", ValueKind::Type(|options| &mut options.server), "server = Greet", Place::Function("a module has both halves: remove `server`");
    Request "request", ValueKind::Expression(|options| &mut options.request), "request = \"Ann\"", Place::Function("a module has both halves: remove `request`");
    Reply "reply", ValueKind::Type(|options| &mut options.reply), "reply = String", Place::Function("a module has both halves: remove `reply`");
    Framing "framing", ValueKind::Type(|options| &mut options.framing), "framing = Lines", Place::Anywhere;
    Format "format", ValueKind::Type(|options| &mut options.format), "format = Json", Place::Anywhere;
    Greeting "greeting", ValueKind::Nothing, "greeting", Place::Anywhere;
    Push "push", ValueKind::Type(|options| &mut options.push), "push = Event<'_>", Place::Module("a client declares no events: remove it, or write `#[server_protocol(push = …)]`");
    IsPush "is_push", ValueKind::Path(|options| &mut options.is_push), "is_push = is_event", Place::Module("a client declares no events: remove it, or write `#[server_protocol(is_push = …)]`");
    Describe "describe", ValueKind::Nothing, "describe", DESCRIBE;
    Crate "crate", ValueKind::Path(|options| &mut options.library.0), "crate = path::to::tcs", Place::Anywhere;
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
