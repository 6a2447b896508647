//! The errors in one item, reported together.

use std::fmt::Display;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Error, Result};

/// Returns `true` if an error of the parser says that tokens are missing at the end.
pub(crate) fn ends_early(error: &Error) -> bool {
    error.to_string().starts_with("unexpected end of input")
}

/// Collects errors, so that all of one item are reported at once.
#[derive(Default)]
pub(crate) struct Errors {
    found: Vec<Error>,
    left_to_rustc: bool,
    /// The words that an editor completes, each with the module of the library that has the candidates.
    completed: Vec<(&'static str, TokenStream)>,
}

impl Errors {
    /// Reports `message` at all of `tokens`.
    pub(crate) fn at(&mut self, tokens: &(impl ToTokens + ?Sized), message: impl Display) {
        // `new_spanned` keeps the first and the last token, so rustc underlines everything between them.
        self.push(Error::new_spanned(tokens.to_token_stream(), message));
    }

    /// Reports `message` at each of several tokens. Returns `true` if there are none.
    pub(crate) fn at_each(&mut self, all: &[impl ToTokens], message: impl Display) -> bool {
        for tokens in all {
            self.at(tokens, &message);
        }
        all.is_empty()
    }

    /// Reports `message` at `span`.
    pub(crate) fn at_span(&mut self, span: Span, message: impl Display) {
        self.push(Error::new(span, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        self.found.push(error);
    }

    /// Returns the value, or reports the error.
    pub(crate) fn ok<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Lets an editor complete the unknown `word` to the words in the module `options::list` of the library.
    pub(crate) fn complete(&mut self, list: &'static str, word: &Ident) {
        // A path cannot end in a keyword.
        if syn::parse2::<Ident>(word.to_token_stream()).is_ok() {
            self.completed.push((list, word.to_token_stream()));
        }
    }

    /// Lets an editor begin a word, if none was completed.
    pub(crate) fn complete_none(&mut self, list: &'static str) {
        if self.completed.is_empty() {
            self.completed.push((list, quote!(*)));
        }
    }

    /// Records that rustc itself reports an error: a second report would not help.
    pub(crate) fn leave_to_rustc(&mut self) {
        self.left_to_rustc = true;
    }

    /// Returns `true` if there is no error, not even one that rustc reports.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && !self.left_to_rustc
    }

    /// Returns the tokens, after the words that editors complete, and before all errors. `private` is the path of the
    /// module that expansions use.
    pub(crate) fn add_to(self, tokens: TokenStream, private: &impl ToTokens) -> TokenStream {
        let completed = self.completed.iter().map(|(list, word)| {
            let list = format_ident!("{list}");
            // rust-analyzer reads the path although it is never compiled. The path is in a constant, because an `impl`
            // cannot have a `use`.
            quote! {
                #[cfg(false)]
                const COMPLETED: () = { use #private::options::#list::#word; };
            }
        });
        let errors = self.found.into_iter().map(Error::into_compile_error);
        // The path is first, because the item depends on the word, and rust-analyzer needs the path at one place.
        completed.chain([tokens]).chain(errors).collect()
    }
}
