//! A module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Error, Item, Lit, Result, Token, Visibility, braced,
    parse::{ParseStream, discouraged::Speculative as _},
    parse_quote, token,
    visit_mut::VisitMut as _,
};

use super::Function;
use crate::{
    errors::Errors,
    syntax::{IntoModule, at_item, with_marks},
};

/// A module as it was written.
pub(crate) struct Module {
    /// The attributes before the module.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) keyword: Token![mod],
    pub(crate) ident: Ident,
    /// The attributes at the beginning of the module.
    pub(crate) inner: Vec<Attribute>,
    pub(crate) items: Vec<ModuleItem>,
}

/// An item of a module.
pub(crate) enum ModuleItem {
    /// A `pub` function.
    Operation(Function),
    /// A function that is not `pub`.
    PrivateFunction(Function),
    /// Anything else, and what does not parse.
    Other(Item),
}

impl Module {
    pub(super) fn parse(input: ParseStream<'_>, errors: &mut Errors) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let keyword = input.parse()?;
        let ident: Ident = input.parse()?;
        if !input.peek(token::Brace) {
            let help = "the functions must be in this file: write `mod name { … }`";
            return Err(Error::new(ident.span(), help));
        }
        let content;
        braced!(content in input);
        let inner = content.call(Attribute::parse_inner)?;
        let mut items = Vec::new();
        while !content.is_empty() {
            items.push(ModuleItem::parse(&content, errors));
        }
        Ok(Self {
            attrs,
            vis,
            keyword,
            ident,
            inner,
            items,
        })
    }

    /// Returns the functions that are operations.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Function> + Clone {
        self.items.iter().filter_map(|item| match item {
            ModuleItem::Operation(function) => Some(function),
            _ => None,
        })
    }

    /// Returns the names of all functions.
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &Ident> {
        self.items.iter().filter_map(|item| match item {
            ModuleItem::Operation(function) | ModuleItem::PrivateFunction(function) => {
                Some(&function.sig.ident)
            }
            ModuleItem::Other(_) => None,
        })
    }

    /// Returns the items that stay at a client: the types, and the private functions that these or `named` name.
    pub(crate) fn items_at_client(&self, named: &impl ToTokens) -> TokenStream {
        let (mut kept, mut private) = (TokenStream::new(), Vec::new());
        for item in &self.items {
            match item {
                ModuleItem::Operation(_) => {}
                ModuleItem::PrivateFunction(function) => private.push(function),
                ModuleItem::Other(item) => item.to_tokens(&mut kept),
            }
        }
        // A function that stays may name another one.
        while let Some(position) = private.iter().position(|function| {
            let is_named = |tokens| mentions(tokens, &function.sig.ident, false);
            is_named(kept.clone()) || is_named(named.to_token_stream())
        }) {
            private.remove(position).to_tokens(&mut kept);
        }
        kept
    }

    /// Returns the visibility of the module, as an item inside of the module writes it.
    pub(crate) fn vis_inside(&self) -> Visibility {
        let mut vis = self.vis.clone();
        match &mut vis {
            Visibility::Inherited => vis = parse_quote!(pub(super)),
            Visibility::Restricted(vis) => {
                // `pub(super)` outside is `pub(in super::super)` inside.
                IntoModule.visit_path_mut(&mut vis.path);
                vis.in_token = Some(<Token![in]>::default());
            }
            Visibility::Public(_) => {}
        }
        vis
    }
}

impl ModuleItem {
    /// Parses an item. One that is incomplete, as an editor has it, is reported and skipped, so that
    /// it does not take the other items with it.
    fn parse(input: ParseStream<'_>, errors: &mut Errors) -> Self {
        // A fork: what an item that fails has taken would be missing from the tokens that are skipped.
        let attempt = input.fork();
        let parsed = if Function::is_next(&attempt) {
            Function::parse(&attempt, errors).map(|function| {
                function.map(|function| match function.vis {
                    Visibility::Public(_) => Self::Operation(function),
                    _ => Self::PrivateFunction(function),
                })
            })
        } else {
            attempt.parse().map(|item| Some(Self::Other(item)))
        };
        let Some(item) = errors.ok(parsed).flatten() else {
            return Self::Other(Item::Verbatim(skip_item(input)));
        };
        input.advance_to(&attempt);
        item
    }
}

/// Skips an item that does not parse: to its body, its `;`, or where the next item seems to begin.
fn skip_item(input: ParseStream<'_>) -> TokenStream {
    let mut skipped = TokenStream::new();
    while let Ok(token) = input.parse::<TokenTree>() {
        let is_end = match &token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        skipped.extend([token]);
        if is_end || at_item(input) {
            break;
        }
    }
    skipped
}

/// Returns the last name of a path, without generic arguments.
fn path_end(path: &str) -> Option<&str> {
    path.split("::<").next()?.rsplit("::").next()
}

/// Returns `true` if tokens mention a function. If `is_attribute`, they are those of an attribute, whose texts may
/// be paths, as in `#[serde(default = "function")]`.
fn mentions(tokens: TokenStream, name: &Ident, is_attribute: bool) -> bool {
    with_marks(tokens).into_iter().any(|(token, marks)| {
        let is_attribute = is_attribute || marks[1] == '#';
        match (token, marks) {
            (TokenTree::Group(group), _) => mentions(group.stream(), name, is_attribute),
            // A field or a method, but not the end of a range, as in `0..count()`.
            (TokenTree::Ident(_), [before, '.', ..]) if before != '.' => false,
            // A field, a variable or a parameter, but not the start of a path.
            (TokenTree::Ident(_), [.., ':', after]) if after != ':' => false,
            (TokenTree::Ident(word), _) => word == *name,
            (TokenTree::Literal(literal), _) if is_attribute => match Lit::new(literal) {
                // Not parsed, because rustc would report any text that is not tokens, such as "isn't" in documentation.
                Lit::Str(text) => path_end(&text.value()).is_some_and(|end| name == end),
                _ => false,
            },
            _ => false,
        }
    })
}
