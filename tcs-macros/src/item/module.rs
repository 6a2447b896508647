//! A module under an attribute: its functions are parsed, everything else stays as it is.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute as Attr, Error, Item, ItemUse, Result, Token, UseTree, Visibility, braced,
    parse::{Parse, ParseStream, Parser as _, discouraged::Speculative as _},
    token,
};

use super::function::Function;
use crate::{
    args::{Args, Attribute},
    errors::Errors,
    words::is_one_of,
};

/// What is generated in the module, by name.
pub(crate) const GENERATED: &[&str] = &["Client", "Contract", "Protocol", "Reply", "Request"];

/// A module as it was written.
pub(crate) struct Module {
    attrs: Vec<Attr>,
    vis: Visibility,
    keyword: Token![mod],
    pub(crate) ident: Ident,
    inner: Vec<Attr>,
    items: Vec<Part>,
    /// What is wrong with those that do not parse, which are kept as they are.
    pub(crate) wrong: Vec<Error>,
}

/// What stands in the module.
enum Part {
    /// `pub`, in the words of the module.
    Operation(Function),
    /// A function that is not.
    Helper(Function),
    Other(Item),
}

impl Parse for Module {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attr::parse_outer)?;
        let vis = input.parse()?;
        let keyword = input.parse()?;
        let ident: Ident = input.parse()?;
        if !input.peek(token::Brace) {
            let cure = "the functions stand in this file: write `mod name { … }`";
            return Err(Error::new(ident.span(), cure));
        }
        let content;
        braced!(content in input);
        let inner = content.call(Attr::parse_inner)?;
        let (mut items, mut wrong) = (Vec::new(), Vec::new());
        while !content.is_empty() {
            let attempt = content.fork();
            items.push(match attempt.parse() {
                Ok(part) => {
                    content.advance_to(&attempt);
                    part
                }
                Err(error) => {
                    wrong.push(error);
                    Part::Other(Item::Verbatim(skip(&content)?))
                }
            });
        }
        Ok(Self {
            attrs,
            vis,
            keyword,
            ident,
            inner,
            items,
            wrong,
        })
    }
}

/// Skips what is not an item, as an editor has it while it is typed: to its body, its `;`, or to where
/// the next item seems to begin.
fn skip(input: ParseStream<'_>) -> Result<TokenStream> {
    let mut skipped = TokenStream::new();
    loop {
        let token = input.parse::<TokenTree>()?;
        let is_end = match &token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        skipped.extend([token]);
        if is_end || input.is_empty() || input.peek(Token![pub]) || input.peek(Token![#]) {
            return Ok(skipped);
        }
    }
}

impl Parse for Part {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.fork().parse::<Function>().is_err() {
            return input.parse().map(Self::Other);
        }
        let function: Function = input.parse()?;
        Ok(match function.vis {
            Visibility::Public(_) => Self::Operation(function),
            _ => Self::Helper(function),
        })
    }
}

impl Module {
    /// Returns whether the item is a module.
    pub(crate) fn is_one(item: &TokenStream) -> bool {
        let read = |input: ParseStream<'_>| {
            input.call(Attr::parse_outer)?;
            input.parse::<Visibility>()?;
            let is_module = input.peek(Token![mod]);
            input.parse::<TokenStream>()?;
            Ok(is_module)
        };
        read.parse2(item.clone()).unwrap_or_default()
    }

    /// Returns the functions that are operations.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Function> {
        self.items.iter().filter_map(|item| match item {
            Part::Operation(function) => Some(function),
            _ => None,
        })
    }

    /// Returns the visibility of the module, as an item in it has it.
    ///
    /// What the server alone has needs not be more public: its session and its states may be private.
    pub(crate) fn vis_inside(&self) -> TokenStream {
        match &self.vis {
            Visibility::Inherited => quote!(pub(super)),
            Visibility::Restricted(restricted) if restricted.path.is_ident("super") => {
                quote!(pub(in super::super))
            }
            Visibility::Restricted(restricted) if restricted.path.is_ident("self") => {
                quote!(pub(super))
            }
            other => other.to_token_stream(),
        }
    }

    /// Returns whether an item has a name that is generated, and reports it.
    pub(crate) fn clashes(&self, errors: &mut Errors) -> bool {
        let mut names = Vec::new();
        for item in &self.items {
            if let Part::Other(item) = item {
                names_of(item, &mut names);
            }
        }
        names.retain(|name| is_one_of(name, GENERATED));
        for name in &names {
            let message = format_args!("`{name}` is generated here: give this another name");
            errors.at(name, message);
        }
        !names.is_empty()
    }

    /// Returns the module as it was written, or without its functions, and with what is generated.
    pub(crate) fn with(
        &self,
        attribute: Attribute,
        args: &Args,
        generated: &TokenStream,
    ) -> TokenStream {
        let Self {
            attrs,
            vis,
            keyword,
            ident,
            inner,
            items,
            ..
        } = self;
        let kept = items.iter().map(|item| match (item, attribute) {
            (Part::Operation(function), Attribute::Server) => {
                let function = function.kept(args);
                quote! {
                    #[allow(private_interfaces, unreachable_pub, reason = "the messages say so")]
                    #function
                }
            }
            (Part::Helper(function), Attribute::Server) => function.as_written(),
            (Part::Operation(_) | Part::Helper(_), Attribute::Client) => TokenStream::new(),
            (Part::Other(item), _) => item.to_token_stream(),
        });
        let allowed = (attribute == Attribute::Client).then(|| {
            quote! {
                #[allow(dead_code, unused_imports, reason = "the functions are left out")]
            }
        });
        quote! {
            #(#attrs)*
            #allowed
            #vis #keyword #ident {
                #(#inner)*
                #(#kept)*
                #generated
            }
        }
    }
}

/// Collects the names of types that an item brings.
fn names_of<'i>(item: &'i Item, names: &mut Vec<&'i Ident>) {
    match item {
        Item::Enum(item) => names.push(&item.ident),
        Item::Mod(item) => names.push(&item.ident),
        Item::Struct(item) => names.push(&item.ident),
        Item::Trait(item) => names.push(&item.ident),
        Item::Type(item) => names.push(&item.ident),
        Item::Union(item) => names.push(&item.ident),
        Item::Use(ItemUse { tree, .. }) => imported(tree, names),
        _ => {}
    }
}

fn imported<'i>(tree: &'i UseTree, names: &mut Vec<&'i Ident>) {
    match tree {
        UseTree::Path(path) => imported(&path.tree, names),
        UseTree::Name(name) => names.push(&name.ident),
        UseTree::Rename(rename) => names.push(&rename.rename),
        UseTree::Group(group) => group.items.iter().for_each(|tree| imported(tree, names)),
        UseTree::Glob(_) => {}
    }
}
