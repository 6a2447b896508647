//! The options of an attribute, which are in its parentheses: their values, the table of known options, and the parser.

mod guesses;
mod parse;
mod spec;
mod stream_kind;

use syn::{Expr, Ident, Path, Type, visit_mut::VisitMut as _};

use self::spec::{OptionSpec, Place};
pub(crate) use self::stream_kind::StreamKind;
use crate::{errors::Errors, spans::Library, syntax::IntoModule};

/// The name of an option of either attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptionName {
    Framing,
    Format,
    Session,
    Greeting,
    RejectWith,
    Push,
    IsPush,
    Replies,
    Requests,
    Blocking,
    HalfClose,
    Concurrent,
    Unordered,
    Describe,
    Crate,
    Server,
    Request,
    Reply,
}

/// The side of a connection for which an attribute writes the protocol.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Server,
    Client,
}

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
}

/// The options of an attribute. An option that could not be parsed is `None`.
///
/// `given` is for errors and for options without a value; the fields are for code.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) side: Side,
    pub(crate) name: Option<Ident>,
    pub(crate) framing: Option<Type>,
    /// The framing of a new connection, if it is not the default of the type.
    pub(crate) framing_value: Option<Expr>,
    pub(crate) format: Option<Type>,
    pub(crate) session: Option<Expr>,
    pub(crate) greeting: Option<Expr>,
    pub(crate) reject_with: Option<Path>,
    pub(crate) push: Option<Type>,
    pub(crate) is_push: Option<Path>,
    pub(crate) replies: Option<Type>,
    pub(crate) requests: Option<Type>,
    pub(crate) concurrent: Option<Expr>,
    pub(crate) server: Option<Type>,
    pub(crate) request: Option<Expr>,
    pub(crate) reply: Option<Type>,
    /// The path in the option `crate`.
    pub(crate) library: Library,
    /// The options that are given, also those whose value could not be parsed.
    given: Vec<(&'static OptionSpec, Ident)>,
}

impl Options {
    /// Returns the name of an option as it is written, if the option is given.
    pub(crate) fn given(&self, option: OptionName) -> Option<&Ident> {
        let mut given = self.given.iter();
        given.find_map(|(spec, word)| (spec.name == option).then_some(word))
    }

    /// Returns `true` if the format, or a server that decides it, is given but has an error.
    pub(crate) fn lacks_format(&self) -> bool {
        let is_given = |option| self.given(option).is_some();
        is_given(OptionName::Format) && self.format.is_none()
            || is_given(OptionName::Server) && self.server.is_none()
    }

    /// Reports the options that are not possible under a module, or not under a function.
    pub(crate) fn check_places(&self, is_module: bool, errors: &mut Errors) {
        for (spec, word) in &self.given {
            match spec.place {
                Place::Function(message) if is_module => errors.at(word, message),
                Place::Module(message) if !is_module => errors.at(word, message),
                _ => {}
            }
        }
    }

    /// Changes the paths in the options, so that inside of a module they keep the meaning that they have around it.
    /// Options that are code of the module's functions stay: the session, the greeting, and the functions that other
    /// options name.
    pub(crate) fn move_into_module(&mut self) {
        let types = [&mut self.framing, &mut self.format, &mut self.push];
        for ty in types.into_iter().flatten() {
            IntoModule.visit_type_mut(ty);
        }
        let expressions = [&mut self.concurrent, &mut self.framing_value];
        for expression in expressions.into_iter().flatten() {
            IntoModule.visit_expr_mut(expression);
        }
        if let Some(path) = &mut self.library.0 {
            IntoModule.visit_path_mut(path);
        }
    }
}
