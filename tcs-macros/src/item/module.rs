//! A module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, Error, Item, Result, Token, Visibility, braced,
    parse::{ParseStream, discouraged::Speculative as _},
    parse_quote, token,
    visit_mut::VisitMut as _,
};

use super::Function;
use crate::{
    errors::Errors,
    syntax::{IntoModule, at_item},
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
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Function> {
        self.items.iter().filter_map(|item| match item {
            ModuleItem::Operation(function) => Some(function),
            _ => None,
        })
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
            Function::parse(&attempt, errors).map(|function| match function.vis {
                Visibility::Public(_) => Self::Operation(function),
                _ => Self::PrivateFunction(function),
            })
        } else {
            attempt.parse().map(Self::Other)
        };
        match parsed {
            Ok(item) => {
                input.advance_to(&attempt);
                item
            }
            Err(error) => {
                errors.push(error);
                Self::Other(Item::Verbatim(skip_item(input)))
            }
        }
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
