//! A module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, Error, Item, ItemEnum, ItemMod, ItemStruct, ItemTrait, ItemType, ItemUnion, Result,
    Token, Visibility, braced,
    parse::{ParseStream, discouraged::Speculative as _},
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
    /// The names of types that are refused, because the generated types have them.
    pub(crate) refused: Vec<Ident>,
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
        let mut module = Self {
            attrs,
            vis,
            keyword,
            ident,
            inner: content.call(Attribute::parse_inner)?,
            items: Vec::new(),
            refused: Vec::new(),
        };
        while !content.is_empty() {
            let item = ModuleItem::parse(&content, errors);
            match item.generated_name() {
                Some(name) => {
                    let help = "is the generated type here: rename this one, or declare it outside";
                    errors.at(name, format_args!("`{name}` {help}"));
                    module.refused.push(name.clone());
                }
                None => module.items.push(item),
            }
        }
        Ok(module)
    }

    /// Adds the operation of the option `describe` at the end, as if the user had written it.
    pub(crate) fn add_description(&mut self, option: &Ident, errors: &mut Errors) {
        if let Some(other) = self.function_names().find(|name| *name == option) {
            let message = "the option `describe` adds an operation of this name: rename this one";
            errors.at(other, message);
        } else {
            let function = Function::description(option);
            self.items.push(ModuleItem::Operation(function));
        }
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

    /// Returns the name of a type that has the name of a generated one.
    fn generated_name(&self) -> Option<&Ident> {
        match self {
            Self::Other(
                Item::Enum(ItemEnum { ident, .. })
                | Item::Mod(ItemMod { ident, .. })
                | Item::Struct(ItemStruct { ident, .. })
                | Item::Trait(ItemTrait { ident, .. })
                | Item::Type(ItemType { ident, .. })
                | Item::Union(ItemUnion { ident, .. }),
            ) => is_one_of(ident, GENERATED).then_some(ident),
            _ => None,
        }
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
