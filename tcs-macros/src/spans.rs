//! The spans of generated tokens, by which errors of the compiler point at the user's code.
//!
//! Generated tokens have the user's place, but the macro's hygiene, so that our local variables and the
//! user's do not collide. All tokens of one expansion have one syntax context; otherwise `self` and our
//! variables would not be found.
//!
//! rustc reports an error only once if a second one is equal: the message, the notes, the suggestions, and
//! all spans *with their syntax context*. Generated code has to repeat types of the user's, and with them
//! the errors in them. So generated code makes each repeated error equal to the first. For each rule there is a case in
//! `tests/ui/trait_errors`:
//!
//! - The user's type keeps its tokens and their spans in each place. If the type does not exist, there is one error
//!   (`reply_misspelt_inside`).
//! - For a type that does not exist, rustc suggests to declare a type parameter, and shows where: after the
//!   token before the generics. For an `impl`, that token is `impl`. So generated code puts `impl` at the function's
//!   name ([`ident_at`]), and both suggestions are equal (`state_misspelt_inside`).
//! - Inside of `f::<…>` rustc suggests something else. So generated code uses an [`alias`] of the type there, which is
//!   declared at the function's name. The alias of a message also makes the help for a hidden lifetime (`Order` for
//!   `Order<'_>`) the one for the function (`request_with_hidden_lifetime`).
//! - A trait that a type must have is named with the same tokens in each place, up to the names of
//!   lifetimes, and covers the type from its first token to its last
//!   ([`Library::item`]). The trait is one of the library that implies all bounds. So
//!   there is one error instead of one for each bound, and the trait's `on_unimplemented` says what to write
//!   (`request_without_decode`).
//! - A bound on the implementation ([`Library::bound`]) is one error at the type, and
//!   rustc assumes the bound when it checks the rest. The bound has the user's hygiene, so the error does not mention
//!   the macro (`state_of_rc`). Without type parameters, rustc would also report each trait that the bound implies, so
//!   the bound is `for<'tcs> Type: State`, which rustc does not check, and a constant checks it once. A type with a
//!   lifetime has no bound: rustc would take the bound as the only proof that a reference is `Send`, and then require
//!   all references to have that very lifetime.
//! - A future that is not `Send` is reported where it becomes the argument of the library's `send`, if that
//!   call has one span and one context. Without `send`, rustc would report it at an `async` block with the calls of all
//!   functions (`operation_future_not_send`).
//! - A block in a type, such as `[u8; { … }]`, is evaluated at each place of the type. So constants name the type
//!   through the protocol's type (`delimiter_too_long`).
//! - rustc reports a lint only at the user's spans, so generated code with the macro's spans causes no lint
//!   (`ui/pass/lints`).

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{Path, Type, spanned::Spanned as _, token};

/// Returns the macro's hygiene at the first token of `tokens`.
pub(crate) fn start_of(tokens: &(impl ToTokens + ?Sized)) -> Span {
    Span::mixed_site().located_at(tokens.span())
}

/// Returns the macro's hygiene at a name. It is that of `start_of`, which is many times slower.
pub(crate) fn place_of(name: &Ident) -> Span {
    Span::mixed_site().located_at(name.span())
}

/// Returns the macro's hygiene at the last token of `tokens`.
pub(crate) fn end_of(tokens: &(impl ToTokens + ?Sized)) -> Span {
    // `Spanned::span` would join all tokens. On stable compilers, the result is only the first token.
    let last = tokens.to_token_stream().into_iter().last();
    Span::mixed_site().located_at(last.map_or_else(Span::call_site, |token| token.span()))
}

/// Returns a word at a name in the user's code, with the user's hygiene.
pub(crate) fn ident_at(name: &Ident, word: &str) -> Ident {
    Ident::new(word, name.span())
}

/// Declares another name for a type without parameters and lifetimes, which is in the signature of the item
/// `item_name`. Returns the declaration, and the name, placed so that an error about the name covers the type.
pub(crate) fn alias(item_name: &Ident, alias: &str, ty: &Type) -> (TokenStream, TokenStream) {
    // The alias is declared at the item's name, so that rustc makes the same suggestion for the type here and there.
    let declared = ident_at(item_name, alias);
    let (first, start) = (ty.span(), start_of(ty));
    let used = Ident::new(alias, first);
    // An error covers a path up to its last token, which here is the empty `<>` at the end of the type.
    let brackets = quote_spanned!(first.located_at(end_of(ty))=> <>);
    let declaration = quote_spanned!(start=> type #declared = #ty;);
    (declaration, quote_spanned!(start=> #used #brackets))
}

/// The path of the library: `::tcs`, unless the option `crate` says otherwise.
#[derive(Default)]
pub(crate) struct Library(pub(crate) Option<Path>);

/// The path of the module of the library that expansions use, or of an item in this module.
///
/// `to_tokens` writes token after token. A stored stream of tokens would cost a call into the compiler at each use.
pub(crate) struct LibraryPath<'a> {
    library: Option<&'a Path>,
    span: Span,
    item: Option<Ident>,
}

impl Library {
    /// Returns the module that expansions use; tokens that the user did not write are at `span`.
    pub(crate) const fn module(&self, span: Span) -> LibraryPath<'_> {
        LibraryPath {
            library: self.0.as_ref(),
            span,
            item: None,
        }
    }

    /// Returns an item of that module, placed so that an error about the item covers all of `written`.
    pub(crate) fn item(&self, item: &str, written: &(impl ToTokens + ?Sized)) -> LibraryPath<'_> {
        self.path(item, start_of(written), end_of(written))
    }

    /// Returns `ty: item,`, placed so that an error about this bound covers the type and does not mention the macro.
    pub(crate) fn bound(&self, ty: &impl ToTokens, item: &str) -> TokenStream {
        let span = ty.span();
        let path = self.path(item, span, span.located_at(end_of(ty)));
        quote_spanned!(span=> #ty: #path,)
    }

    fn path(&self, item: &str, start: Span, end: Span) -> LibraryPath<'_> {
        // rustc underlines a path from its first token to its last.
        let item = Some(Ident::new(item, end));
        let library = self.0.as_ref();
        LibraryPath {
            library,
            span: start,
            item,
        }
    }
}

impl ToTokens for LibraryPath<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let separator = token::PathSep {
            spans: [self.span; 2],
        };
        match self.library {
            Some(path) if self.item.is_some() => {
                tokens.extend(respan(path.to_token_stream(), self.span));
            }
            Some(path) => path.to_tokens(tokens),
            None => {
                separator.to_tokens(tokens);
                Ident::new("tcs", self.span).to_tokens(tokens);
            }
        }
        separator.to_tokens(tokens);
        Ident::new("__private", self.span).to_tokens(tokens);
        if let Some(item) = &self.item {
            separator.to_tokens(tokens);
            item.to_tokens(tokens);
        }
    }
}

/// Moves every token to `span`, with its own hygiene.
fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        // A path in the option `crate` has the user's names, which the macro's hygiene would not find.
        token.set_span(token.span().located_at(span));
        token
    });
    moved.collect()
}
