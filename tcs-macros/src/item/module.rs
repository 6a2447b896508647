//! A module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::format_ident;
use syn::{
    Attribute, Error, Item, Result, Token, Visibility, braced,
    parse::{ParseStream, Parser as _, discouraged::Speculative as _},
    parse_quote, token,
    visit_mut::VisitMut as _,
};

use super::Function;
use crate::{
    errors::Errors,
    syntax::{IntoModule, at_item, is_one_of},
};

/// The names of the types that are generated in a module.
pub(crate) const GENERATED: &[&str] = &["Client", "Contract", "Protocol", "Reply", "Request"];

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
    /// Any other item, or tokens that do not parse.
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
        let clashing = find_clashing(content.fork().parse()?);
        let items = if clashing.is_empty() {
            parse_items(&content, errors)
        } else {
            let help = "is the generated type here: rename this one, or declare it outside";
            for name in &clashing {
                errors.at(name, format_args!("`{name}` {help}"));
            }
            // Under another name, the type causes no further error.
            let renamed = renamed(content.parse()?, &clashing);
            (|input: ParseStream<'_>| Ok(parse_items(input, errors))).parse2(renamed)?
        };
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

fn parse_items(input: ParseStream<'_>, errors: &mut Errors) -> Vec<ModuleItem> {
    let mut items = Vec::new();
    while !input.is_empty() {
        items.push(ModuleItem::parse(input, errors));
    }
    items
}

/// Returns the types in a module that have the names of generated types.
fn find_clashing(body: TokenStream) -> Vec<Ident> {
    let tokens: Vec<_> = body.into_iter().collect();
    let declared = tokens.windows(2).filter_map(|pair| match pair {
        [TokenTree::Ident(keyword), TokenTree::Ident(name)]
            if is_one_of(keyword, &["enum", "struct", "trait", "type", "union"]) =>
        {
            Some(name.clone())
        }
        _ => None,
    });
    declared.filter(|name| is_one_of(name, GENERATED)).collect()
}

fn renamed(tokens: TokenStream, names: &[Ident]) -> TokenStream {
    let renamed = tokens.into_iter().map(|token| match token {
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), renamed(group.stream(), names));
            inner.set_span(group.span());
            inner.into()
        }
        TokenTree::Ident(word) if names.contains(&word) => {
            format_ident!("__{word}", span = word.span()).into()
        }
        token => token,
    });
    renamed.collect()
}

impl ModuleItem {
    /// Parses an item. Reports and skips an incomplete item, such as in an editor, so that the other items are kept.
    fn parse(input: ParseStream<'_>, errors: &mut Errors) -> Self {
        // The item is parsed on a fork, so that all tokens of an item that fails can be skipped.
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

/// Skips an item that does not parse, up to the end of its body, its `;`, or the place where the next item seems to
/// begin.
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
